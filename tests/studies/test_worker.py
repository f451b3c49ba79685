"""The process of a trial, as a study starts it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from equipoise import Run, TrainConfig
from equipoise.config.presets import PRESETS
from equipoise.networks import DCGAN
from equipoise.studies import budget


def test_a_budget_is_of_training_alone(small: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A score at the end, of the longer of both short runs alone, would be taken for slowness of its steps."""
    monkeypatch.setattr(budget, "MEASURED", 200)  # long enough to be scored
    train, scored = budget.train, []

    def note(config: TrainConfig, out: Path, **words: Any) -> Run:
        run = train(config, out, **words)
        scored.append(run.closing_score())
        return run

    monkeypatch.setattr(budget, "train", note)
    assert budget.images_in(small, 1.0) % small.batch == 0
    assert scored == [None, None]


def test_a_worker_ends_well_while_its_input_is_open() -> None:
    """A study keeps it open until the end; a thread of the worker waits there."""
    config = PRESETS["gan"]["default"].with_changes(resolution=16, network=DCGAN(width=4))
    job = json.dumps({"config": config.to_dict(), "seconds": 1.0, "threads": 1})
    command = [sys.executable, "-m", "equipoise.studies.worker"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdin is not None
        worker.stdin.write(f"{job}\n")
        worker.stdin.flush()
        code = worker.wait(timeout=120)
        assert worker.stdout is not None
        assert worker.stderr is not None
        printed, errors = worker.stdout.read(), worker.stderr.read()
    assert (code, errors) == (0, "")
    assert int(printed.split()[-1]) >= config.batch
