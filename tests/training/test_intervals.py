"""What is logged, drawn, scored and saved, and how often, leaves training as it is: the same weights, to the bit."""

from pathlib import Path
from typing import Any

import pytest
import torch

import equipoise
from equipoise import TrainConfig
from equipoise.networks import DCGAN, MLP, Autoencoder
from equipoise.objectives import GAN, MAGAN
from equipoise.runs.checkpoint import load

pytestmark = pytest.mark.usefixtures("no_report")

RUNS: dict[str, dict[str, Any]] = {
    "learning rate that is halved": {
        "network": Autoencoder(width=4, latent=4),
        "lr": 2e-4,
        "lr_ratio": 2.0,
        "lr_window": 24,
        "lr_patience": 1,
        "prior": "uniform",
    },
    "until converged": {
        "network": Autoencoder(width=4, latent=4, residual=100),
        "lr_window": 24,
        "lr_patience": 1,
        "lr": 4e-3,
        "lr_floor": 2e-3,
        "until_converged": True,
        "images": 2_000,
    },
    "BatchNorm, spectral norm, several steps of D": {
        "objective": GAN(),
        "network": DCGAN(width=4, latent=4, spectral=True),
        "n_critic": 2,
    },
    "margin": {"objective": MAGAN(), "network": Autoencoder(width=4, latent=4)},
    "toy with its landscape": {"objective": GAN(), "network": MLP(width=8, latent=2, spectral=True), "data": "ring8"},
}
INTERVALS = [
    {"log_every": 8, "sample_every": 16, "checkpoint_every": 24, "score_every": 80, "keep_every": 40, "keep": 1},
    {"log_every": 100, "sample_every": 10_000, "checkpoint_every": 10_000},
    {"log_every": 10_000, "sample_every": 40, "checkpoint_every": 56},
]


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.long if name in {"until converged", "margin"} else ()) for name in RUNS],
)
def test_they_leave_training_as_it_is(name: str, tmp_path: Path) -> None:
    settings = {"images": 160, "batch": 8, "resolution": 16, "ema": 50, "warmup": 16, "score_count": 20} | RUNS[name]
    ended = []
    for number, intervals in enumerate(INTERVALS):
        given = {key: value for key, value in intervals.items() if key != "score_every" or "data" not in settings}
        config = TrainConfig(**settings, **given, precision="fp32", device="cpu")
        run = equipoise.train(config, tmp_path / str(number), quiet=True)
        tensors, facts = load(run.checkpoints()[-1])
        assert "data" in settings or any("clusters" in row for row in run.rows()), "samples were looked at"
        ended.append((tensors, {name: fact for name, fact in facts.items() if name != "config"}))  # of its intervals
    (tensors, facts), *others = ended
    for other, known in others:
        assert known == facts
        assert other.keys() == tensors.keys()
        assert [key for key, tensor in tensors.items() if not torch.equal(other[key], tensor)] == []
    if "lr_window" in settings:
        assert facts["plateau"]["factor"] < 1
    assert (facts["images"] < settings["images"]) == bool(settings.get("until_converged"))
