"""What is said where other programs keep cores busy that a run's threads wait for."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from equipoise import TrainConfig, train
from equipoise.networks import MLPAutoencoder
from equipoise.training import contention
from equipoise.training.contention import BackgroundLoad, fewer_threads

SPIN = "import time\nend = time.monotonic() + 120\nwhile time.monotonic() < end: pass"


@pytest.fixture
def busy_machine() -> Iterator[None]:
    """As many programs as there are cores, which do nothing but compute."""
    programs = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(os.cpu_count() or 1)]
    yield
    for program in programs:
        program.kill()
        program.wait()


@pytest.mark.parametrize(
    ("busy", "threads", "cores", "fewer"),
    [
        (0.0, 2, 2, None),
        (0.4, 2, 2, None),
        (0.7, 2, 2, 1),
        (2.0, 2, 2, 1),
        (2.0, 1, 2, None),
        (3.0, 8, 16, None),
        (10.0, 8, 16, 6),
        (99.0, 8, 16, 1),
    ],
)
def test_fewer_threads_are_advised_where_fewer_cores_are_free(
    busy: float, threads: int, cores: int, fewer: int | None
) -> None:
    assert fewer_threads(busy, threads, cores) == fewer


def test_the_load_is_that_of_other_processes(busy_machine: None) -> None:
    load = BackgroundLoad()
    time.sleep(1)
    busy = load.busy_cores()
    assert busy is None or busy > 0.5


@pytest.mark.long  # and every core busy meanwhile
def test_a_run_on_a_busy_machine_says_so_once(
    busy_machine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contention, "SECONDS", 0.2)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)  # also where there is one core
    try:
        config = TrainConfig(data="grid25", network=MLPAutoencoder(width=8), images=16 * 40, batch=16, log_every=16)
        run = train(config, tmp_path / "run", quiet=True)
    finally:
        torch.set_num_threads(threads)
    said = [event for event in run.rows("events.jsonl") if event["kind"] == "contention"]
    assert len(said) == 1
    assert "OMP_NUM_THREADS=1 equipoise resume" in said[0]["message"]
