"""Runs that are driven into infinity and into collapse on purpose, and what becomes of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import equipoise
from equipoise import Autoencoder, Diverged, Run, TrainConfig
from equipoise.data import TOYS
from equipoise.objectives import BEGAN, OBJECTIVES
from equipoise.objectives.base import Batch, Loss, State
from equipoise.runs.checkpoint import load
from equipoise.runs.numbered import images_of
from equipoise.training import loop
from equipoise.training.health import last_good_images, sudden_collapse
from equipoise.training.state import TrainState

pytestmark = pytest.mark.usefixtures("no_report")


@pytest.fixture
def steep() -> TrainConfig:
    """Learning rates of 0.2 and more send these networks to infinity within a few steps; 0.1 does not."""
    return TrainConfig(
        objective=BEGAN(boundary="batch", pull=0.3),
        update="simultaneous",
        network=Autoencoder(width=4, latent=8),
        resolution=16,
        images=320,
        batch=8,
        log_every=16,
        sample_every=64,
        checkpoint_every=64,
        ema=100,
        warmup=0,
        lr=0.5,
        precision="fp32",
        device="cpu",
        on_divergence="rollback",
    )


def told(run: Run, kind: str) -> list[dict[str, Any]]:
    return [row for row in run.rows("events.jsonl") if row["kind"] == kind]


def assert_finite(run: Run) -> None:
    for path in run.checkpoints():
        assert all(tensor.isfinite().all() for tensor in load(path)[0].values()), path


def test_going_back_with_half_the_rate_leads_to_the_end(steep: TrainConfig, tmp_path: Path) -> None:
    run = equipoise.train(steep, tmp_path / "run", quiet=True)
    events = told(run, "rollback")
    cuts = load(run.checkpoints()[-1])[1]["cuts"]
    assert 1 <= cuts == len(events) <= 3
    for number, event in enumerate(events, 1):
        assert (
            f"went back to {event['images']:,} images with half the learning rate (time {number} of 3)"
            in event["message"]
        )
    rates = [row["lr"] for row in run.rows() if "lr" in row]
    assert rates[-1] == steep.lr * 0.5**cuts
    images = [row["images"] for row in run.rows() if "lr" in row]
    assert images == list(range(16, 321, 16)), "no line is lost or repeated"
    assert_finite(run)


def test_stop_leaves_the_last_good_checkpoint(steep: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(Diverged, match=r"stopped being finite before .* images: training has stopped"):
        equipoise.train(steep.with_changes(on_divergence="stop"), tmp_path / "run", quiet=True)
    run = Run.open(tmp_path / "run")
    assert told(run, "not-finite")
    assert not told(run, "rollback")
    assert_finite(run)


def test_after_three_times_it_stops(steep: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="after going back 3 times"):
        equipoise.train(steep.with_changes(lr_ratio=100, lr=1.0), tmp_path / "run", quiet=True)
    run = Run.open(tmp_path / "run")
    assert len(told(run, "rollback")) == 3
    assert len(told(run, "not-finite")) == 1
    assert_finite(run)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("instant", ["before", "after"])
def test_a_kill_around_going_back_changes_nothing(
    steep: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instant: str
) -> None:
    """The cut lives in the checkpoint: killed just before or after that is written, the end is the same."""
    whole = equipoise.train(steep, tmp_path / "whole", quiet=True)
    roll_back = loop.roll_back
    with monkeypatch.context() as patched:

        def dying(recorder: Any, problem: Any) -> None:
            if instant == "after":
                roll_back(recorder, problem)
            raise KilledError

        patched.setattr(loop, "roll_back", dying)
        with pytest.raises(KilledError):
            equipoise.train(steep, tmp_path / "run", quiet=True)
    run = equipoise.resume(tmp_path / "run", quiet=True)
    (ours, facts), (theirs, known) = (load(each.checkpoints()[-1]) for each in (run, whole))
    assert facts == known
    assert facts["cuts"] > 0
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
    assert (run.path / "metrics.jsonl").read_text() == (whole.path / "metrics.jsonl").read_text()


# Collapse


@dataclass(frozen=True, kw_only=True)
class Collapsing(BEGAN):
    """BEGAN whose generator, from step `start_at` to step `end_at`, is pushed to make all images alike."""

    start_at: int = 60
    end_at: int = 10**9

    def initial_state(self, steps_per_epoch: int) -> State:
        return super().initial_state(steps_per_epoch) | {"steps": torch.zeros(())}

    def adapt(self, state: State, seen: Any) -> State:
        return super().adapt(state, seen) | {"steps": state["steps"] + 1}

    def generator_loss(self, batch: Batch, state: State) -> Loss:
        loss = super().generator_loss(batch, state)
        pushing = ((state["steps"] >= self.start_at) & (state["steps"] < self.end_at)).float()
        return replace(loss, value=loss.value + 1e3 * pushing * batch.fake.images.var(0).mean())


@pytest.fixture
def collapsing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., TrainConfig]:
    monkeypatch.setitem(OBJECTIVES, "collapsing", Collapsing)

    def make(**settings: Any) -> TrainConfig:
        policy = settings.pop("on_divergence", "rollback")
        return TrainConfig(
            objective=Collapsing(**settings),
            network=Autoencoder(width=4, latent=8),
            resolution=16,
            images=2_000,
            batch=8,
            log_every=40,
            sample_every=40,
            checkpoint_every=80,
            keep=10,
            lr=5e-3,
            warmup=0,
            ema=8,
            precision="fp32",
            device="cpu",
            on_divergence=policy,
        )

    return make


def test_a_collapse_is_seen_within_two_samples(collapsing: Callable[..., TrainConfig], tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="the samples have become alike by .* images"):
        equipoise.train(collapsing(on_divergence="stop"), tmp_path / "run", quiet=True)
    run = Run.open(tmp_path / "run")
    seen = [(row["images"], row["diversity"]) for row in run.rows() if "diversity" in row]
    best = max(diversity for images, diversity in seen if images >= 200)
    first = next(images for images, diversity in seen if images >= 480 and diversity < 0.25 * best)
    assert seen[-1][0] == first + 40, "the next sample confirms it, and training stops"


def test_a_collapse_leaves_a_checkpoint_from_before_it(collapsing: Callable[..., TrainConfig], tmp_path: Path) -> None:
    """Also where checkpoints come so often that the last `keep` are all of collapsed images, as in studies."""
    config = collapsing(on_divergence="stop").with_changes(checkpoint_every=8, keep=2)
    with pytest.raises(Diverged):
        equipoise.train(config, tmp_path / "run", quiet=True)
    run = Run.open(tmp_path / "run")
    sampled = [row["images"] for row in run.rows() if "diversity" in row]
    assert images_of(run.checkpoints()[-1]) == sampled[-3], "before the two samples that show it"
    assert len(run.checkpoints()) <= 4


@pytest.mark.parametrize(("every", "keep"), [pytest.param(80, 10, marks=pytest.mark.long), (8, 2)])
def test_a_collapse_is_taken_back_three_times(
    collapsing: Callable[..., TrainConfig], tmp_path: Path, every: int, keep: int
) -> None:
    """To checkpoints from before it, each time with half the rate; here the push returns, so in the end it stops."""
    with pytest.raises(Diverged, match="after going back 3 times"):
        equipoise.train(collapsing().with_changes(checkpoint_every=every, keep=keep), tmp_path / "run", quiet=True)
    run = Run.open(tmp_path / "run")
    events = told(run, "rollback")
    assert [event["message"].partition("(")[2] for event in events] == [f"time {n} of 3)" for n in (1, 2, 3)]
    assert all("have become alike" in event["message"] for event in events)
    seen = {row["images"]: row["diversity"] for row in run.rows() if "diversity" in row}
    for event in events:
        later = [value for images, value in seen.items() if 200 <= images <= event["images"]]
        assert not later or later[-1] >= 0.25 * max(later), "it went back to where all was well"


def rows(*diversities: float) -> list[dict[str, float]]:
    return [{"images": 100 * number, "diversity": value} for number, value in enumerate(diversities)]


@pytest.mark.parametrize(
    ("diversities", "found"),
    [
        ((0.9, 0.9, 0.9, 0.1, 0.1), True),
        ((0.9, 0.9, 0.9, 0.1), False),  # one sample is none
        ((0.9, 0.9, 0.9, 0.1, 0.5), False),  # recovered
        ((0.9, 0.1, 0.1, 0.1, 0.1), False),  # in the first tenth it was still finding its shape
        ((0.1, 0.2, 0.2, 0.02, 0.02), False),  # it never had any diversity to lose
        ((0.1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3), False),  # slowly: `health` warns of that
        ((), False),
    ],
)
def test_what_is_a_sudden_collapse(small: TrainConfig, diversities: tuple[float, ...], found: bool) -> None:
    config = small.with_changes(images=1_000)
    bad = sudden_collapse(rows(*diversities), config)
    assert (bad is not None) == found
    if bad:
        assert last_good_images(rows(*diversities), config, bad) == 200
        assert "by 300 images, at 0.10 of the data's mean distance after 0.90" in bad.message


def test_toys_may_collapse(small: TrainConfig) -> None:
    ring = TrainConfig(objective=OBJECTIVES["gan"](), data=sorted(TOYS)[0], images=1_000)
    assert sudden_collapse(rows(0.9, 0.9, 0.9, 0.1, 0.1), ring) is None


@pytest.mark.parametrize("what", ["weight", "moment"])
def test_what_is_not_finite_is_never_saved(small: TrainConfig, tmp_path: Path, what: str) -> None:
    """Also where no loss has shown it yet: it came with the last step before a checkpoint."""
    finish_step = TrainState.finish_step

    def spoiled(train_state: TrainState, *results: Any) -> None:
        finish_step(train_state, *results)
        if train_state.images == 80:
            weight = next(iter(train_state.players.generator.parameters()))
            moments = train_state.optimizers.generator.state[weight]
            (weight.data if what == "weight" else moments["exp_avg_sq"]).view(-1)[0] = torch.inf

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(TrainState, "finish_step", spoiled)
        with pytest.raises(Diverged, match=f"the generator's.*{'weight' if what == 'weight' else 'gradient'}"):
            equipoise.train(small.with_changes(log_every=160), tmp_path / "run", quiet=True)
    run = Run.open(tmp_path / "run")
    assert [path.stem for path in run.checkpoints()] == [f"{0:012d}"]
    assert_finite(run)
