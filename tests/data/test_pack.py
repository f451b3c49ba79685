import errno
import json
import multiprocessing
import os
import pickle
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from equipoise.data import Images, open_images, pack
from equipoise.data.cache import cache_folder, digest, locked, require_room, sweep
from equipoise.errors import UsageError

Saver = Callable[..., Path]
fork = multiprocessing.get_context("fork")


def packed_folders(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "images").iterdir() if path.suffix != ".lock")


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
def test_every_option_is_packed_apart(folder: Path, cache: Path, options: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"resolution": 8}
    assert open_images(folder, **usual).path != open_images(folder, **(usual | options)).path
    assert len(packed_folders(cache)) == 2


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


def test_changed_files_are_packed_anew_and_copies_are_not(tmp_path: Path, cache: Path) -> None:
    path, stat = tmp_path / "a.npy", None
    for value in (1, 2):
        np.save(path, np.full((2, 8, 8), value, np.uint8))
        if stat is not None:
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # content counts, not dates
        stat = path.stat()
        assert open_images(path, 8).pixels[0, 0, 0, 0] == value
    path.rename(tmp_path / "b.npy")
    open_images(tmp_path / "b.npy", 8)
    assert len(packed_folders(cache)) == 2


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
def test_a_damaged_pack_is_packed_again(tmp_path: Path, cache: Path, damage: str) -> None:
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
    assert packed_folders(cache) == [inside.name]


def slowly(done: int, total: int) -> None:
    time.sleep(0.05)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    np.save(tmp_path / "many.npy", np.random.default_rng(0).integers(0, 256, (1500, 8, 8), dtype=np.uint8))
    return tmp_path / "many.npy"


def slow_packing(many: Path, cache: Path) -> Any:
    """Start a packing, and come back when it is midway."""
    child = fork.Process(target=open_images, args=(many, 8), kwargs={"progress": slowly})
    child.start()
    deadline = time.monotonic() + 20
    while not list(cache.glob("images/*.partial/images.npy")) and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.2)
    return child


def kill(child: Any) -> None:
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert child.exitcode == -signal.SIGKILL


def test_a_killed_packing_leaves_nothing_that_is_used(many: Path, cache: Path) -> None:
    for _ in range(2):
        kill(slow_packing(many, cache))
        (left,) = packed_folders(cache)  # the second child removed what the first one left
        assert left.endswith(".partial")
    images = open_images(many, 8)
    np.testing.assert_array_equal(images.pixels[:, 0], np.load(many))
    assert packed_folders(cache) == [images.path.parent.name]


def test_who_waits_for_a_packing_takes_over_when_it_dies(many: Path, cache: Path) -> None:
    first = slow_packing(many, cache)
    second = fork.Process(target=open_images, args=(many, 8))
    second.start()
    second.join(0.3)
    assert second.exitcode is None  # it waits
    kill(first)
    second.join()
    assert second.exitcode == 0
    assert packed_folders(cache) == [open_images(many, 8).path.parent.name]


def test_an_interrupted_packing_leaves_nothing(many: Path, cache: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_images(many, 8, progress=stop)
    assert packed_folders(cache) == []


def report(queue: Any, many: Path, begin: Any) -> None:
    progress = Progress()
    begin.wait()
    images = open_images(many, 8, progress=lambda done, total: (slowly(done, total), progress(done, total)))
    queue.put((images.fingerprint, int(images.pixels.sum(dtype=np.int64)), len(progress) > 0))


@pytest.mark.parametrize("locks", [True, False])
def test_two_processes_pack_at_once(many: Path, cache: Path, locks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not locks:  # as on a file system that has none

        def refuse(*_: object) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr("fcntl.flock", refuse)
    queue, begin = fork.Queue(), fork.Event()
    children = [fork.Process(target=report, args=(queue, many, begin)) for _ in range(2)]
    for child in children:
        child.start()
    begin.set()
    one, other = queue.get(timeout=30), queue.get(timeout=30)
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert one[:2] == other[:2]
    assert one[1] == np.load(many).sum(dtype=np.int64)
    assert [one[2], other[2]].count(True) == (1 if locks else 2)  # with locks one packs and the other waits
    assert len(packed_folders(cache)) == 1


def test_a_living_packing_is_not_swept(cache: Path) -> None:
    (cache / "alive.1234.partial").mkdir(parents=True)
    (cache / "dead.1234.partial").mkdir()
    with locked(cache / "alive.lock"):
        sweep(cache)
    assert [path.name for path in cache.glob("*.partial")] == ["alive.1234.partial"]


def test_a_full_disk_is_said_and_leaves_nothing(many: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, old[1]))
    try:
        with pytest.raises(
            UsageError, match=r"cannot write to the cache folder .*cache: File too large; .*EQUIPOISE_CACHE"
        ):
            open_images(many, 8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert packed_folders(cache) == []
    monkeypatch.setattr(pack, "require_room", lambda folder, size: require_room(folder, size * 10**12))
    with pytest.raises(UsageError, match=r"cache/images/.*GiB free of the .* GiB needed"):
        open_images(many, 8)
    assert packed_folders(cache) == []


def test_a_cache_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write to the cache folder .*file: (Not a directory|File exists)"):
        open_images("digits", 8, cache=tmp_path / "file")


def test_a_cache_that_may_only_be_read_is_enough_to_open(folder: Path, cache: Path) -> None:
    images = open_images(folder, 8)
    for path in (cache / "images").glob("*.lock"):
        path.unlink()
    opened = open_images(folder, 8)
    assert opened.fingerprint == images.fingerprint
    assert not list((cache / "images").glob("*.lock"))  # a hit writes nothing


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EQUIPOISE_CACHE", "/e")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    monkeypatch.setenv("HOME", "/h")
    assert cache_folder(tmp_path) == tmp_path
    assert cache_folder() == Path("/e")
    monkeypatch.delenv("EQUIPOISE_CACHE")
    assert cache_folder() == Path("/x/equipoise")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == Path("/h/.cache/equipoise")
    monkeypatch.setenv("EQUIPOISE_CACHE", "~nosuchuser/x")
    with pytest.raises(UsageError, match="set EQUIPOISE_CACHE"):
        cache_folder()


def test_digests_of_large_files_are_remembered_until_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("equipoise.data.cache.REMEMBERED", 1)
    path, memory = tmp_path / "a", tmp_path / "memory"
    path.write_bytes(b"one")
    stat = path.stat()
    first = digest(path, memory)
    (note,) = memory.iterdir()
    note.write_text(note.read_text().replace(first, "remembered"))
    assert digest(path, memory) == "remembered"
    path.write_bytes(b"two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert digest(path, memory) not in (first, "remembered")
    note.write_text("{broken")
    assert len(digest(path, memory)) == 64


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
