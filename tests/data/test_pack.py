import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from equipoise.data import Images, open_images

Saver = Callable[..., Path]
Packs = Callable[[], list[str]]


class Progress(list[tuple[int, int]]):
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


def test_the_second_time_nothing_is_packed(folder: Path) -> None:
    first, second = Progress(), Progress()
    images = open_images(folder, 8, progress=first)
    assert first[-1] == (5, 5)
    again = open_images(folder, 8, progress=second)
    assert second == []
    assert (again.path, again.fingerprint) == (images.path, images.fingerprint)


@pytest.mark.parametrize(
    "options",
    [{"resolution": 9}, {"channels": 1}, {"channels": 3}, {"fit": "pad"}, {"fit": "stretch"}, {"background": "black"}],
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
    assert sorted(path.name for path in images.path.parent.iterdir()) == ["about.json", "images.npy"]
    (folder / "4.png").unlink()
    assert open_images(folder, 8).shape == (1, 8, 8)


def test_many_images_keep_their_order(tmp_path: Path) -> None:
    values = np.arange(1000, dtype=np.uint16).view(np.uint8).reshape(1000, 1, 2).repeat(2, 1)
    np.save(tmp_path / "a.npy", values)
    progress = Progress()
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


def test_memory_stays_flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    monkeypatch.setattr("equipoise.data.workers.CHUNK_BYTES", 64)
    monkeypatch.setattr("equipoise.data.workers._cores", lambda: 2)
    real = Image.fromarray
    monkeypatch.setattr(Image, "fromarray", lambda values: opened.append(1) or real(values))
    np.save(tmp_path / "a.npy", np.zeros((200, 8, 8), np.uint8))
    ahead: list[int] = []
    open_images(tmp_path / "a.npy", 8, progress=lambda done, total: ahead.append(len(opened) - done))
    assert max(ahead) <= 7


def test_images_are_typed(folder: Path) -> None:
    assert isinstance(open_images(str(folder), 8), Images)
