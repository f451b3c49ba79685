"""The process of a trial, as a study starts it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from equipoise import Diverged, Run, TrainConfig, UsageError, train
from equipoise.config.changes import with_settings
from equipoise.config.presets import PRESETS
from equipoise.networks import DCGAN
from equipoise.studies import budget
from equipoise.studies.scheduler import measure
from equipoise.studies.trials import read_progress
from equipoise.studies.worker import Heartbeat, job_line


def test_a_budget_is_of_training_alone(small: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A score at the end, of the longer of both short runs alone, would be taken for slowness of its steps."""
    monkeypatch.setattr(budget, "MEASURED", 200)  # long enough to be scored
    monkeypatch.setattr(budget, "LEAST", 0.1)
    monkeypatch.setattr(budget, "PAIRS", 1)
    train, scored = budget.train, []

    def note(config: TrainConfig, out: Path, **words: Any) -> Run:
        run = train(config, out, **words)
        scored.append(run.closing_score())
        return run

    monkeypatch.setattr(budget, "train", note)
    assert budget.images_in(small, 1.0) % small.batch == 0
    assert len(scored) > 2
    assert not any(scored)


@pytest.mark.long  # every study on a budget of time does so too
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


def test_a_budget_is_measured_over_runs_long_enough(small: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock on which a step takes a millisecond, a run a fifth of a second, the first one more, and one two."""
    now, lengths = 0.0, []

    def run(config: TrainConfig, out: Path, **_: object) -> None:
        nonlocal now
        lengths.append(config.images // config.batch)
        disturbed = lengths.count(lengths[-1]) == 2 and lengths[-1] > 2_000
        now += 0.001 * lengths[-1] + 0.2 + (0.5 if len(lengths) == 1 else 0.0) + (2.0 if disturbed else 0.0)

    monkeypatch.setattr(budget, "train", run)
    assert budget.images_in(small, 60.0, lambda: now) == pytest.approx(60_000 * small.batch, rel=1e-3)
    long = [steps for steps in lengths if steps > budget.WARM_UP]
    assert 0.001 * (long[-1] - budget.WARM_UP) >= budget.LEAST > 0.001 * (long[0] - budget.WARM_UP)
    assert long.count(long[-1]) == budget.PAIRS


def test_the_speed_of_what_diverges_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a trial it is scored at its last good checkpoint; here it would stop all arms of the study."""
    monkeypatch.setattr(budget, "LEAST", 0.1)
    monkeypatch.setattr(budget, "PAIRS", 1)
    wild = {"network.width": 4, "resolution": 16, "lr": 1.0, "objective.lambda_k": 1.0, "objective.clip_k": False}
    config = with_settings(PRESETS["began"]["paper"], wild | {"device": "cpu"})
    with pytest.raises(Diverged):
        train(config.with_changes(images=640, log_every=64), tmp_path / "run", quiet=True)
    assert budget.images_in(config, 1.0) >= config.batch


def test_what_cannot_be_measured_is_told_by_its_name(small: TrainConfig, tmp_path: Path) -> None:
    config = small.with_changes(data=str(tmp_path / "gone")).to_dict()
    job = json.dumps({"config": config, "seconds": 1.0, "threads": 1}).encode() + b"\n"
    with pytest.raises(UsageError, match=r"^the speed of wild on photos cannot be measured: [^:]*gone"):
        measure("wild on photos", tmp_path / "speed-0", job, 1, lambda: False)


def test_the_pace_of_what_goes_on_is_counted_from_its_checkpoint(tmp_path: Path) -> None:
    """Not from the last line that was logged before a kill, which training goes through again."""
    run = tmp_path / "seed-0"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / f"{10_000:012d}.safetensors").touch()
    (run / "metrics.jsonl").write_text('{"images": 19000}\n')
    heartbeat = Heartbeat(run)
    heartbeat.cpu -= 10.0
    (run / "metrics.jsonl").write_text('{"images": 20000}\n')
    heartbeat.close()
    progress = read_progress(run)
    assert progress.seconds_per_image == pytest.approx(10.0 / 10_000, rel=0.2)


def test_a_folder_whose_name_is_no_text_is_named_to_the_worker(tmp_path: Path, small: TrainConfig) -> None:
    folder = tmp_path / "\udcff"
    assert json.loads(job_line(folder, small, {}, 1))["folder"] == str(folder)
