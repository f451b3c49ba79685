"""The process of a trial, as a study starts it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from equipoise import TrainConfig, UsageError
from equipoise.config.presets import PRESETS
from equipoise.data import Feed
from equipoise.networks import DCGAN
from equipoise.studies import lengths, speed
from equipoise.studies.plan import Study
from equipoise.studies.trials import Cell, read_progress
from equipoise.studies.worker import Heartbeat, job_line
from equipoise.training.signals import Stop
from equipoise.training.state import TrainState


@pytest.mark.long  # every study on a budget of time does so too
def test_a_worker_ends_well_while_its_input_is_open() -> None:
    """A study keeps it open until the end; a thread of the worker waits there."""
    config = PRESETS["gan"]["default"].with_changes(resolution=16, network=DCGAN(width=4))
    job = json.dumps({"config": config.to_dict(), "threads": 1})
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
    assert float(printed) > 0


def test_the_speed_is_that_of_the_shortest_timing(small: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock on which a step takes 10 ms, and thrice that until the machine has done with something else."""
    now, configs = 0.0, []

    def step_of(train_state: TrainState, feed: Feed, *_: object, **__: object) -> Callable[[], None]:
        assert feed.shape == (1, 16, 16), "the data of the configuration"
        configs.append(train_state.config)

        def step() -> None:
            nonlocal now
            now += 0.01 if now > 3.0 else 0.03

        return step

    monkeypatch.setattr(speed, "equipoise_step", step_of)
    assert speed.seconds_per_step(small, lambda: now) == pytest.approx(0.01)
    assert configs == [small.with_changes(lr=speed.STILL)], "what would diverge is measured as it is before"


def test_arms_are_measured_in_turn(small: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the shortest times, on a machine that is half as fast for the first half of the measurement."""
    plan = Study.from_dict({"arms": {arm: {"objective": "gan"} for arm in "abc"}, "budget": "60s"})
    configs = {Cell(arm, "digits"): small for arm in plan.arms}
    asked: list[str] = []

    def timed(name: str, _place: Path, config: TrainConfig, *_: object) -> float:
        assert config is small
        asked.append(name)
        return {"a": 0.01, "b": 0.02, "c": 0.04}[name[0]] * (2 if len(asked) <= 4 else 1)

    monkeypatch.setattr(lengths, "time_step", timed)
    found = lengths.measured_lengths(plan, tmp_path, configs, Stop(), quiet=True)
    assert found == {arm: {"digits": steps * small.batch} for arm, steps in (("a", 6000), ("b", 3000), ("c", 1500))}
    assert asked == [f"{arm} on digits" for arm in "abc" * lengths.ROUNDS]
    assert lengths.measured_lengths(plan, tmp_path, configs, Stop(), quiet=True) == found
    assert len(asked) == 3 * lengths.ROUNDS, "what is known is not measured again"


def test_what_cannot_be_measured_is_told_by_its_name(small: TrainConfig, tmp_path: Path) -> None:
    config = small.with_changes(data=str(tmp_path / "gone"))
    with pytest.raises(UsageError, match=r"^the speed of wild on photos cannot be measured: [^:]*gone"):
        lengths.time_step("wild on photos", tmp_path / "speed-0", config, 1, Stop())


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
