import errno
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equipoise.data import cache, open_images
from equipoise.data.cache import (
    LOCKED_BY_THEN,
    atomic_file,
    atomic_folder,
    cache_folder,
    file_digest,
    locked,
    remove_abandoned,
    remove_leftovers,
    require_room,
)
from equipoise.data.packed import pack as packing
from equipoise.errors import UsageError

Packs = Callable[[], list[str]]
fork = multiprocessing.get_context("fork")


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


def test_a_killed_packing_leaves_nothing_that_is_used(many: Path, cache: Path, packs: Packs) -> None:
    for _ in range(2):
        kill(slow_packing(many, cache))
        (left,) = packs()  # the second child removed what the first one left
        assert left.endswith(".partial")
    images = open_images(many, 8)
    np.testing.assert_array_equal(images.pixels[:, 0], np.load(many))
    assert packs() == [images.path.parent.name]


def test_who_waits_for_a_packing_takes_over_when_it_dies(many: Path, cache: Path, packs: Packs) -> None:
    first = slow_packing(many, cache)
    second = fork.Process(target=open_images, args=(many, 8))
    second.start()
    second.join(0.3)
    assert second.exitcode is None  # it waits
    kill(first)
    second.join()
    assert second.exitcode == 0
    assert packs() == [open_images(many, 8).path.parent.name]


def test_an_interrupted_packing_leaves_nothing(many: Path, cache: Path, packs: Packs) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_images(many, 8, progress=stop)
    assert packs() == []


def report(queue: Any, many: Path, begin: Any) -> None:
    progress: list[int] = []
    begin.wait()
    images = open_images(many, 8, progress=lambda done, total: (slowly(done, total), progress.append(done)))
    queue.put((images.fingerprint, int(images.pixels.sum(dtype=np.int64)), len(progress) > 0))


@pytest.mark.parametrize("locks", [True, False])
def test_two_processes_pack_at_once(
    many: Path, cache: Path, locks: bool, monkeypatch: pytest.MonkeyPatch, packs: Packs
) -> None:
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
    assert len(packs()) == 1


def test_a_living_packing_is_not_swept(cache: Path) -> None:
    (cache / "alive.1234.partial").mkdir(parents=True)
    (cache / "dead.1234.partial").mkdir()
    with locked(cache / "alive.lock"):
        remove_abandoned(cache)
    assert [path.name for path in cache.glob("*.partial")] == ["alive.1234.partial"]


def test_a_full_disk_is_said_and_leaves_nothing(
    many: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, packs: Packs
) -> None:
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, old[1]))
    try:
        with pytest.raises(
            UsageError, match=r"cannot write to the cache folder .*cache: File too large; .*EQUIPOISE_CACHE"
        ):
            open_images(many, 8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert packs() == []
    monkeypatch.setattr(packing, "require_room", lambda folder, size: require_room(folder, size * 10**12))
    with pytest.raises(
        UsageError, match=r"the images take .* GB, .*cache folder .*cache there are .* GB: .*--resolution"
    ):
        open_images(many, 8)
    assert packs() == []


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def half(path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    for fill in (half, lambda path: path.write_bytes(b"whole")):
        with suppress(KeyboardInterrupt), atomic_file(tmp_path / "a.npy") as partial:
            fill(partial)
        assert [path.read_bytes() for path in tmp_path.iterdir()] == ([] if fill is half else [b"whole"])


def test_a_cache_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write to the cache folder .*file: (Not a directory|File exists)"):
        open_images("digits", 8, cache=tmp_path / "file")


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


def test_digests_of_large_files_are_noted_until_they_change(tmp_path: Path) -> None:
    digest = partial(file_digest, min_noted_bytes=1)
    path, notes = tmp_path / "a", tmp_path / "notes"
    path.write_bytes(b"one")
    stat = path.stat()
    first = digest(path, notes)
    (note,) = notes.iterdir()
    note.write_text(note.read_text().replace(first, "0" * 64))
    assert digest(path, notes) == "0" * 64
    path.write_bytes(b"two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert digest(path, notes) not in (first, "0" * 64)
    note.write_text("{broken")
    assert len(digest(path, notes)) == 64


def hold(final: Path, writing: Any) -> None:
    """Begin to write a file or a folder, and never end."""
    with writing(final):
        time.sleep(600)


@pytest.mark.parametrize(("writing", "end"), [(atomic_file, ".tmp"), (atomic_folder, ".partial")])
def test_what_a_killed_writer_left_is_removed_and_no_living_one_disturbed(
    tmp_path: Path, writing: Any, end: str
) -> None:
    final, others = tmp_path / "[a]*", [tmp_path / f".other.0123abcd{end}", tmp_path / f".[a]*.mine{end}"]
    for other in others:
        other.touch()
    child = fork.Process(target=hold, args=(final, writing))
    child.start()
    deadline = time.monotonic() + 20
    while not (begun := [path for path in tmp_path.glob(f"*[[]a[]]*{end}") if path not in others]):
        assert time.monotonic() < deadline
    time.sleep(0.2)
    old = time.time() - 2 * LOCKED_BY_THEN
    for path in (*begun, *others):
        os.utime(path, (old, old))
    remove_leftovers(tmp_path, final.name)
    assert begun[0].exists(), "its writer lives"
    kill(child)
    remove_leftovers(tmp_path, final.name)
    assert sorted(tmp_path.iterdir()) == sorted(others)


@pytest.mark.parametrize("writing", [atomic_file, atomic_folder])
def test_whenever_it_is_interrupted_nothing_is_left_or_all_is_there(tmp_path: Path, writing: Any) -> None:
    final = tmp_path / "final"
    for step in range(1, 5_000):
        countdown = step

        def trace(frame: Any, event: str, _argument: Any) -> Any:
            nonlocal countdown
            frame.f_trace_opcodes = frame.f_code.co_filename == cache.__file__  # elsewhere from line to line
            countdown -= event in {"line", "opcode"}  # in between, the interpreter heeds no signal
            if not countdown:
                raise KeyboardInterrupt
            return trace

        try:
            sys.settrace(trace)
            with writing(final) as partial:
                (partial / "content" if partial.is_dir() else partial).write_text("whole")
            sys.settrace(None)
            break
        except KeyboardInterrupt:
            pass
        assert [path.name for path in tmp_path.iterdir()] in ([], ["final"]), f"at step {step}"
        if final.exists():
            assert (final / "content" if final.is_dir() else final).read_text() == "whole"
            shutil.rmtree(final) if final.is_dir() else final.unlink()
    assert step > 100
    assert final.exists()


def test_packing_again_removes_what_a_killed_one_left_beside_its_file(many: Path, tmp_path: Path) -> None:
    left = tmp_path / ".out.npy.0123abcd.tmp"
    left.touch()
    os.utime(left, (0, 0))
    packing.pack(many, 8, tmp_path / "out.npy")
    assert (tmp_path / "out.npy").exists()
    assert not left.exists()
