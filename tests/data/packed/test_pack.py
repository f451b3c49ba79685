import json
import os
import pickle
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from equipoise.data import Images, indices, open_images, pack
from equipoise.data.decode import Pixels
from equipoise.data.framing import parse_framing
from equipoise.data.packed.workers import prepare_all
from equipoise.data.sources import Contents
from equipoise.errors import UsageError

Saver = Callable[..., Path]
Packs = Callable[[], list[str]]


class ProgressCallback(list[tuple[int, int]]):
    def __call__(self, done: int, total: int) -> None:
        self.append((done, total))


def test_images_are_what_they_say(folder: Path, cache: Path) -> None:
    images = open_images(folder, 8)
    assert len(images) == 5
    assert images.shape == (3, 8, 8)
    assert images.path.is_relative_to(cache)
    stored = np.load(images.path, mmap_mode="r")
    assert (stored.shape, stored.dtype) == ((5, 3, 8, 8), np.uint8)
    assert isinstance(images.pixels, np.memmap)
    about = json.loads(images.path.with_name("about.json").read_text())
    assert about["source"] == str(folder)
    assert about["shape"] == [5, 3, 8, 8]
    assert about["sizes"] == {"smallest": [20, 30], "median": [22, 28], "largest": [24, 26]}


def test_a_batch_is_a_copy(folder: Path) -> None:
    images = open_images(folder, 8)
    batch = images.batch(np.array([4, 0, 4]))
    assert batch.dtype == torch.uint8
    np.testing.assert_array_equal(batch.numpy(), images.pixels[[4, 0, 4]])
    batch.zero_()
    assert images.pixels.any()
    assert images.batch([]).shape == (0, 3, 8, 8)
    with pytest.raises(IndexError):
        images.batch([5])


def test_pickled_images_are_mapped_again(folder: Path) -> None:
    images = open_images(folder, 64)
    data = pickle.dumps(images)
    assert len(data) < 1000
    assert pickle.loads(data).fingerprint == images.fingerprint


def test_chunks_are_all_images_in_their_order(folder: Path) -> None:
    images = open_images(folder, 8)
    assert [len(chunk) for chunk in images.chunks(2)] == [2, 2, 1]
    np.testing.assert_array_equal(torch.cat(list(images.chunks(2))), images.pixels)
    part = images.split(0.5)[0]
    np.testing.assert_array_equal(torch.cat(list(part.chunks())), part.pixels)
    assert list(images.split(0)[1].chunks()) == []


def test_images_of_one_size_are_packed_as_they_are(save: Saver, packs: Packs) -> None:
    for index in range(3):
        folder = save(f"{index}.png", size=(20, 12), seed=index).parent
    (folder / "broken.png").write_text("broken")
    assert open_images(folder, 1).shape == (3, 1, 1)
    images = open_images(folder, None)
    assert images.shape == (3, 12, 20)
    np.testing.assert_array_equal(images.pixels[1], np.asarray(Image.open(folder / "1.png")).transpose(2, 0, 1))
    assert images.fingerprint == open_images(folder, "20x12").fingerprint
    assert open_images(folder, None).path == images.path
    save("3.png", size=(20, 13))
    with pytest.raises(UsageError, match=r"are of 2 sizes, 20x12, 20x13: give one by --resolution"):
        open_images(folder, None)
    (folder / "x").mkdir()
    (folder / "x" / "1.png").write_text("broken")
    with pytest.raises(UsageError, match="none of the 1 images"):
        open_images(folder / "x", None)


@pytest.mark.parametrize("name", ["out.npy", "out.NPZ"])
def test_what_is_packed_by_hand_is_data_again(tmp_path: Path, name: str) -> None:
    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).integers(0, 256, (9, 3, 12, 10), np.uint8), y=np.arange(9))
    images = pack(tmp_path / "a.npz", "8x6", tmp_path / name)
    again = open_images(tmp_path / name, None)
    assert again.shape == (3, 6, 8)
    np.testing.assert_array_equal(again.pixels, images.pixels)
    assert (again.labels is None) == (name == "out.npy")
    if again.labels is not None:
        assert again.labels.tolist() == list(range(9))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a.npz", "cache", name])


def test_packing_by_hand_replaces_nothing(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_text("precious")
    with pytest.raises(UsageError, match=r"a\.npy is there already: remove it, or choose another name"):
        pack(folder, 8, tmp_path / "a.npy")
    assert (tmp_path / "a.npy").read_text() == "precious"
    with pytest.raises(UsageError, match=r"as \.npy, or with their labels as \.npz, not as a\.png"):
        pack(folder, 8, tmp_path / "a.png")
    with pytest.raises(UsageError, match=r"cannot write .*b\.npy: .*; choose another place"):
        pack(folder, 8, tmp_path / "a.npy" / "b.npy")
    pack(folder, 8, tmp_path / "new" / "b.npy")
    assert (tmp_path / "new" / "b.npy").is_file()
    assert pack(folder, 8).fingerprint == open_images(folder, 8).fingerprint


def test_batches_leave_no_memory_behind(tmp_path: Path) -> None:
    """Read 100 MB at random: mapped, they would all count as resident."""
    np.save(tmp_path / "a.npy", np.zeros((8192, 3, 64, 64), np.uint8))
    images = open_images(tmp_path / "a.npy", 64)
    before = resident()
    for start in range(0, len(images), 64):
        images.batch(indices(len(images), 64, 0, start))
    assert resident() - before < 2**24


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_the_second_time_nothing_is_packed(folder: Path) -> None:
    first, second = ProgressCallback(), ProgressCallback()
    images = open_images(folder, 8, progress=first)
    assert first[-1] == (5, 5)
    again = open_images(folder, 8, progress=second)
    assert second == []
    assert (again.path, again.fingerprint) == (images.path, images.fingerprint)


@pytest.mark.parametrize(
    "options",
    [
        {"resolution": 9},
        {"channels": 1},
        {"channels": 3},
        {"fit": "pad"},
        {"fit": "stretch"},
        {"background": "black"},
        {"crop": 9},
    ],
)
def test_every_option_is_packed_apart(folder: Path, cache: Path, options: dict[str, Any], packs: Packs) -> None:
    usual: dict[str, Any] = {"resolution": 8}
    assert open_images(folder, **usual).path != open_images(folder, **(usual | options)).path
    assert len(packs()) == 2


def test_changed_folders_are_packed_anew(folder: Path, save: Saver) -> None:
    seen = [open_images(folder, 8).fingerprint]
    save("0.png", size=(20, 30), seed=99)  # the same size in pixels
    seen.append(open_images(folder, 8).fingerprint)
    save("new.png", seed=5)
    seen.append(open_images(folder, 8).fingerprint)
    (folder / "new.png").rename(folder / "0new.png")
    seen.append(open_images(folder, 8).fingerprint)
    (folder / "0.png").unlink()
    seen.append(open_images(folder, 8).fingerprint)
    assert len(set(seen)) == 5


def test_changed_files_are_packed_anew_and_copies_are_not(tmp_path: Path, cache: Path, packs: Packs) -> None:
    path, stat = tmp_path / "a.npy", None
    for value in (1, 2):
        np.save(path, np.full((2, 8, 8), value, np.uint8))
        if stat is not None:
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # content counts, not dates
        stat = path.stat()
        assert open_images(path, 8).pixels[0, 0, 0, 0] == value
    path.rename(tmp_path / "b.npy")
    open_images(tmp_path / "b.npy", 8)
    assert len(packs()) == 2


def test_the_fingerprint_is_of_what_training_sees(folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    one = open_images(folder, 8)
    folder.rename(moved)
    assert open_images(moved, 8).fingerprint == one.fingerprint
    assert open_images(moved, 9).fingerprint != one.fingerprint
    pixels, labels = np.zeros((4, 8, 8), np.uint8), np.arange(4)
    seen = set()
    for name, arrays in enumerate([{"x": pixels}, {"x": pixels, "y": labels}, {"x": pixels, "y": labels[::-1]}]):
        np.savez(tmp_path / f"{name}.npz", **arrays)
        seen.add(open_images(tmp_path / f"{name}.npz", 8).fingerprint)
    assert len(seen) == 3


def test_one_colour_among_grays_makes_all_rgb(tmp_path: Path, save: Saver) -> None:
    for index in range(4):
        save(f"{index}.png", mode="L", size=(8, 8), seed=index)
    folder = save("4.png", size=(8, 8)).parent
    images = open_images(folder, 8)
    assert images.shape == (3, 8, 8)
    np.testing.assert_array_equal(images.pixels, open_images(folder, 8, channels=3).pixels)
    assert images.fingerprint == open_images(folder, 8, channels=3).fingerprint
    assert sorted(path.name for path in images.path.parent.iterdir()) == ["about.json", "digests.npy", "images.npy"]
    (folder / "4.png").unlink()
    assert open_images(folder, 8).shape == (1, 8, 8)


def test_many_images_keep_their_order(tmp_path: Path) -> None:
    values = np.arange(1000, dtype=np.uint16).view(np.uint8).reshape(1000, 1, 2).repeat(2, 1)
    np.save(tmp_path / "a.npy", values)
    progress = ProgressCallback()
    np.testing.assert_array_equal(open_images(tmp_path / "a.npy", 2, progress=progress).pixels[:, 0], values)
    assert [done for done, _ in progress] == sorted({done for done, _ in progress})
    assert progress[-1] == (1000, 1000)


@pytest.mark.parametrize("damage", ["truncated", "no note", "half a note", "empty", "no labels", "another array"])
def test_a_damaged_pack_is_packed_again(tmp_path: Path, cache: Path, damage: str, packs: Packs) -> None:
    np.savez(tmp_path / "a.npz", x=np.full((3, 8, 8), 7, np.uint8), y=np.arange(3))
    images = open_images(tmp_path / "a.npz", 8)
    inside, fingerprint = images.path.parent, images.fingerprint
    match damage:
        case "truncated":
            os.truncate(images.path, images.path.stat().st_size - 1)
        case "no note":
            (inside / "about.json").unlink()
        case "half a note":
            os.truncate(inside / "about.json", 40)
        case "empty":
            for path in inside.iterdir():
                path.unlink()
        case "another array":
            images.path.unlink()
            np.save(images.path, np.zeros((3, 1, 8, 9), np.uint8))
        case "no labels":
            (inside / "labels.npy").unlink()
    again = open_images(tmp_path / "a.npz", 8)
    assert again.fingerprint == fingerprint
    assert (again.pixels == 7).all()
    assert packs() == [inside.name]


def test_a_cache_that_may_only_be_read_is_enough_to_open(folder: Path, cache: Path) -> None:
    images = open_images(folder, 8)
    for path in (cache / "images").glob("*.lock"):
        path.unlink()
    opened = open_images(folder, 8)
    assert opened.fingerprint == images.fingerprint
    assert not list((cache / "images").glob("*.lock"))  # a hit writes nothing


def test_memory_stays_flat() -> None:
    read: list[int] = []
    contents = Contents(names=[""] * 200, read=lambda index: read.append(index) or np.zeros((8, 8), np.uint8))
    done: list[int] = []
    ahead: list[int] = []

    def append(pixels: Pixels) -> None:
        done.append(1)
        ahead.append(len(read) - len(done))

    prepare_all(contents, parse_framing(8, None, "crop", "white"), append, chunk_bytes=64, workers=2)
    assert len(done) == 200
    assert max(ahead) <= 7


def test_images_are_typed(folder: Path) -> None:
    assert isinstance(open_images(str(folder), 8), Images)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"\x93NUMPY"])
@pytest.mark.parametrize("name", ["digests.npy", "labels.npy"])
def test_what_is_damaged_in_the_cache_is_packed_anew(tmp_path: Path, name: str, damage: bytes) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((3, 8, 8), np.uint8), labels=np.arange(3))
    packed = open_images(tmp_path / "a.npz", 8).path
    packed.with_name(name).write_bytes(damage)
    labels = open_images(tmp_path / "a.npz", 8).labels
    assert labels is not None
    assert labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize("side", [1, 3, 4])
def test_what_would_be_read_as_another_layout_is_not_packed(folder: Path, tmp_path: Path, side: int) -> None:
    with pytest.raises(UsageError, match=f"an array of images {side} wide would be read as one of channels"):
        pack(folder, side, tmp_path / "a.npy")
    assert not (tmp_path / "a.npy").exists()


def test_what_changes_while_it_is_packed_is_not_kept(tmp_path: Path, packs: Packs) -> None:
    """Else it would be found under the name of what had been there before."""
    np.save(tmp_path / "a.npy", np.zeros((300, 8, 8), np.uint8))

    def overwrite(done: int, total: int) -> None:
        with (tmp_path / "a.npy").open("r+b") as file:
            file.seek(128)  # behind the header
            file.write(bytes([7]) * 300 * 64)

    with pytest.raises(UsageError, match=r"a\.npy has changed while it was packed"):
        open_images(tmp_path / "a.npy", 8, progress=overwrite)
    assert packs() == []
    assert (open_images(tmp_path / "a.npy", 8).pixels == 7).all()
