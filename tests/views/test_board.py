"""TensorBoard's files, whose order is that of their names."""

import errno
import os
import threading
import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from equipoise.views.board import open_board


def shown(folder: Path) -> list[int]:
    board = EventAccumulator(str(folder), {"scalars": 0})
    board.Reload()
    return [event.step for event in board.Scalars("energy")]


@pytest.mark.parametrize("jump", [-86_400, 0, 3600])
def test_a_clock_that_jumps_loses_no_curve(jump: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_800_000_000.0
    monkeypatch.setattr(time, "time", lambda: now)
    for start in (0, 20, 10, 30):  # the third goes back to a checkpoint
        board = open_board(tmp_path, purge_step=start)
        for step in range(start, start + 20):
            board.add_scalar("energy", 1.0, step)
        board.close()
        now += jump
    assert shown(tmp_path) == list(range(50))
    assert len(list(tmp_path.iterdir())) == 4


def test_a_full_disk_is_told_once_and_without_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By whoever flushes, and not by TensorBoard's thread too."""
    untold: list[object] = []
    monkeypatch.setattr(threading, "excepthook", untold.append)
    board = open_board(tmp_path, purge_step=0)
    writer = board.file_writer.event_writer._async_writer

    def refuse(_: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writer._writer, "write", refuse)
    writer._byte_queue.put(b"event")
    writer._worker.join()
    with pytest.raises(OSError, match="No space left"):
        board.flush()
    assert not untold
