"""One run, one writer: the second is refused, and no death of the first leaves anything locked."""

import errno
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from equipoise import Run, TrainConfig, UsageError
from equipoise.runs.lock import LOCK, locked_if_free, sole_writer


@contextmanager
def held_elsewhere(folder: Path) -> Iterator[int]:
    """Another process that holds the run, and is killed without warning at the end."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with sole_writer(folder):
            os.write(writer, b"held")
            signal.pause()
    assert os.read(reader, 4) == b"held"
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)


def test_the_second_writer_is_refused_and_told_who_is_the_first(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path) as first:
        for _ in range(2):
            with pytest.raises(UsageError, match=rf"is being written by process {first} on .*: wait until it ends"):
                sole_writer(tmp_path, timeout=0.1).__enter__()
    with sole_writer(tmp_path):  # killed, and nothing is left locked
        assert (tmp_path / LOCK).read_text().startswith(f"process {os.getpid()} on ")


def test_a_lock_that_is_a_link_holds_too(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    (tmp_path / LOCK).symlink_to(tmp_path / "elsewhere")
    with held_elsewhere(tmp_path), pytest.raises(UsageError, match="is being written by"):
        sole_writer(tmp_path, timeout=0.1).__enter__()


def test_a_holder_that_is_just_dying_is_waited_for(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path) as first:
        killer = os.fork()
        if killer == 0:
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            signal.signal(signal.SIGALRM, lambda *_: os.kill(first, signal.SIGTERM))
            signal.pause()
            os._exit(0)
        with sole_writer(tmp_path):
            pass
        os.waitpid(killer, 0)


def test_two_new_runs_in_one_folder_become_one(
    small: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("equipoise.runs.run.sole_writer", partial(sole_writer, timeout=0.1))
    folder = tmp_path / "run"
    folder.mkdir()
    with held_elsewhere(folder), pytest.raises(UsageError, match="is being written by process"):
        Run.create(folder, small)
    assert [path.name for path in folder.iterdir()] == [LOCK]
    Run.create(folder, small)
    with pytest.raises(UsageError, match="already holds a run"):
        Run.create(folder, small.with_changes(seed=1))
    assert Run.open(folder).config == small


def test_a_run_that_died_before_it_began_is_no_obstacle(small: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text("process 1 on here")
    (tmp_path / ".config.yaml.0123abcd.tmp").write_text("objective: be")
    Run.create(tmp_path, small)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.yaml.mine").write_text("")
    with pytest.raises(UsageError, match="is not empty"):
        Run.create(tmp_path / "other", small)
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["config.yaml.mine"]


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_where_there_are_no_locks_nothing_is_held_and_nothing_left(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", refuse)
    with sole_writer(tmp_path, timeout=0.1), sole_writer(tmp_path, timeout=0.1):
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]


def test_a_pipe_in_place_of_the_lock_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / LOCK)
    with pytest.raises(UsageError, match="is there and is no file: move it away"), sole_writer(tmp_path):
        pass


def test_looking_whether_a_run_is_free_leaves_no_trace(tmp_path: Path) -> None:
    with locked_if_free(tmp_path) as free:
        assert free
    assert not (tmp_path / LOCK).exists()
    with held_elsewhere(tmp_path) as first:
        with locked_if_free(tmp_path) as free:
            assert free is False
        written = (tmp_path / LOCK).read_text()
        assert written.startswith(f"process {first} on ")
    os.utime(tmp_path / LOCK, (1, 1))
    with locked_if_free(tmp_path) as free:
        assert free
        with pytest.raises(UsageError, match="is being written by"), sole_writer(tmp_path, timeout=0.1):
            pass
    assert ((tmp_path / LOCK).read_text(), (tmp_path / LOCK).stat().st_mtime) == (written, 1)


def test_looking_whether_a_run_is_free_lets_it_be_deleted(tmp_path: Path) -> None:
    """A lock file made by who looks, after its deletion, would leave a folder that is not empty."""
    run, ended = tmp_path / "run", threading.Event()

    def look() -> None:
        while not ended.is_set():
            with locked_if_free(run):
                pass

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(2000):  # of which some fifty failed before
            run.mkdir()
            (run / LOCK).touch()
            time.sleep(2e-4)
            shutil.rmtree(run)
    finally:
        ended.set()
        looking.join()


def test_whether_a_run_is_free_is_unknown_where_its_lock_is_no_file(tmp_path: Path) -> None:
    (tmp_path / LOCK).mkdir()
    with locked_if_free(tmp_path) as free:
        assert free is None
