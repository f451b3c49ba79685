"""Whoever watches a training run may leave: a pipe's reader, a terminal, an ssh session."""

import fcntl
import os
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from equipoise import Run, TrainConfig
from equipoise.config.train_config import write_yaml

TRAIN = [sys.executable, "-m", "equipoise", "train", "--config", "run.yaml", "--out", "run"]


def place(folder: Path, config: TrainConfig) -> Path:
    (folder / "run.yaml").write_text(write_yaml(config, {}))
    return folder / "run"


def wait_for_metrics(process: "subprocess.Popen[bytes]", run: Path) -> None:
    deadline = time.monotonic() + 120
    while not (run / "metrics.jsonl").exists() or len(Run.open(run).rows()) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_pipe_whose_reader_leaves(small: TrainConfig, tmp_path: Path) -> None:
    """As `train … 2>&1 | head -1` does: it trains on without its display, to its end."""
    run = place(tmp_path, small)
    process = subprocess.Popen(
        TRAIN,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )
    assert process.stdout
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=120) == 0
    assert int(Run.open(run).checkpoints()[-1].stem) == small.images
    assert (run / "report.html").exists()


@pytest.mark.parametrize("ignored", [False, True], ids=["hung-up", "nohup"])
def test_a_terminal_that_is_closed(small: TrainConfig, tmp_path: Path, *, ignored: bool) -> None:
    """SIGHUP leaves a checkpoint as SIGTERM does, although nothing can be shown any more; unless `nohup` was asked."""
    run = place(tmp_path, small.with_changes(images=320 if ignored else 10_000_000))
    ours, theirs = os.openpty()

    def take_terminal() -> None:
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
        if ignored:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    process = subprocess.Popen(
        TRAIN,
        cwd=tmp_path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=take_terminal,  # noqa: PLW1509
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    wait_for_metrics(process, run)
    os.close(ours)
    assert process.wait(timeout=120) == (0 if ignored else 129)
    assert int(Run.open(run).checkpoints()[-1].stem) >= 64
    assert not list(run.rglob(".*.tmp"))
