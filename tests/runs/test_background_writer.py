"""Checkpoints written beside training."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from equipoise import Run, TrainConfig
from equipoise.runs import checkpoint
from equipoise.runs.background_writer import BackgroundWriter
from equipoise.runs.files import WriteError


@pytest.fixture
def run(small: TrainConfig, tmp_path: Path) -> Run:
    run = Run.create(tmp_path / "run", small)
    run.rewind(-1)
    return run


def test_training_goes_on_while_a_checkpoint_is_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What moves meanwhile is not in it."""
    disk = threading.Event()
    fsync = checkpoint.os.fsync

    def slow(descriptor: int) -> None:
        assert disk.wait(30)
        fsync(descriptor)

    monkeypatch.setattr(checkpoint.os, "fsync", slow)
    weights = torch.ones(3, dtype=torch.float64)
    with BackgroundWriter(run) as writer:
        writer.save(16, {"weights": weights}, {})
        assert not run.checkpoints()
        weights.mul_(2)
        disk.set()
        writer.wait()
        tensors, facts = checkpoint.load(run.checkpoints()[-1])
        assert torch.equal(tensors["weights"], torch.ones(3, dtype=torch.float64))
        assert facts["images"] == 16


def test_the_last_is_on_the_disk_when_the_context_ends(run: Run) -> None:
    with BackgroundWriter(run) as writer:
        for images in (16, 32):
            writer.save(images, {"weights": torch.full((2,), images)}, {})
    assert [int(path.stem) for path in run.checkpoints()] == [16, 32]
    assert checkpoint.load(run.checkpoints()[-1])[0]["weights"].tolist() == [32, 32]


def test_what_the_disk_refuses_is_told_at_the_next_chance(run: Run) -> None:
    shutil.rmtree(run.path / "checkpoints")
    with BackgroundWriter(run) as writer:
        writer.save(16, {"weights": torch.ones(3)}, {})
        with pytest.raises(WriteError, match="cannot write"):
            writer.wait()
        with pytest.raises(WriteError, match="cannot write"):
            writer.save(32, {"weights": torch.ones(3)}, {})


THREADS = """
import os, sys, time
import torch
from equipoise import Run, TrainConfig
from equipoise.runs.background_writer import BackgroundWriter

def threads():
    return len(os.listdir("/proc/self/task"))

run = Run.create(sys.argv[1], TrainConfig(data="digits"))
run.rewind(-1)
weights = torch.rand(1_000, 1_000) + 1  # by this thread and its helper
before = threads()
with BackgroundWriter(run) as writer:
    writer.save(16, {"weights": weights}, {})
    writer.wait()
    for _ in range(100):
        if threads() == before:
            break
        time.sleep(0.1)
    print(torch.get_num_threads(), threads() - before, len(run.checkpoints()))
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads by /proc")
def test_no_thread_outlasts_a_checkpoint(tmp_path: Path) -> None:
    """Neither the writer's nor its helpers by OpenMP, beside which those of training would sleep between operations."""
    command = [sys.executable, "-c", THREADS, str(tmp_path / "run")]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "2"}, capture_output=True, text=True)
    assert done.stdout.split() == ["2", "0", "1"], done
