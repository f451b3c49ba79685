"""Whether the discriminator knows its images by heart."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from equipoise import TrainConfig, train
from equipoise.config.datasets import open_dataset
from equipoise.data import BUNDLED, Images
from equipoise.networks.dcgan import DCGANAutoencoder
from equipoise.objectives import OBJECTIVES
from equipoise.players import DiscriminatorOutput
from equipoise.training.overfitting import FEWEST, MOST, Overfitting

pytestmark = pytest.mark.usefixtures("no_report")

CPU = {"device": "cpu", "precision": "fp32", "compile": "never"}


class Brightness(nn.Module):
    """Scores an image by its brightness, in [0, 1]; of a batch that trains, something else."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.child = nn.Dropout()  # whose mode is to be as it was

    def forward(self, images: Tensor) -> DiscriminatorOutput:
        score = self.weight * (images.flatten(1).mean(dim=1) + 1) / 2
        return DiscriminatorOutput(score + 10 * self.training)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Images, Images]:
    """Random images, of which some hundreds are held out."""
    path = tmp_path_factory.mktemp("data") / "images.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (1500, 1, 8, 8), dtype=np.uint8))
    dataset = open_dataset(TrainConfig(data=str(path), held_out=0.3))
    return dataset.split("train"), dataset.split("held-out")


def brightness(images: Images) -> float:
    drawn = images.draw(min(MOST, len(images)), 0, 0).images.double()
    return drawn.mean().item() / 255


def test_it_is_the_quotient_of_mean_energies(parts: tuple[Images, Images]) -> None:
    training, held_out = parts
    assert len(held_out) > MOST
    compared = Overfitting.of(TrainConfig(**CPU), training, held_out)
    assert compared is not None
    discriminator = Brightness()
    measures = compared.measures(discriminator)
    assert brightness(held_out) != brightness(training)
    assert measures == {"held_out_energy": pytest.approx(brightness(held_out) / brightness(training), rel=1e-5)}
    assert all(module.training for module in discriminator.modules())
    discriminator.weight.data.zero_()
    assert compared.measures(discriminator) == {}


def test_where_it_says_nothing_it_is_not_measured(parts: tuple[Images, Images]) -> None:
    training, held_out = parts
    few = training.split(0.35)[1]
    assert 0 < len(few) < FEWEST
    assert Overfitting.of(TrainConfig(), training, few) is None
    assert Overfitting.of(TrainConfig(), training, None) is None
    assert Overfitting.of(TrainConfig(objective=OBJECTIVES["gan"]()), training, held_out) is None


def test_a_run_measures_it_with_its_samples(tmp_path: Path) -> None:
    settings = {"data": "digits", "resolution": 16, "images": 64, "batch": 32, "sample_every": 32}
    run = train(TrainConfig(**settings, **CPU), tmp_path / "run", quiet=True)
    sampled = [row for row in run.rows() if "diversity" in row]
    assert len(sampled) == 3
    assert all(math.isfinite(row["held_out_energy"]) for row in sampled)


@pytest.mark.long
@pytest.mark.parametrize("augment", [(), ("translation",)])
def test_few_images_are_learnt_by_heart_unless_they_are_translated(tmp_path: Path, augment: tuple[str, ...]) -> None:
    with np.load(BUNDLED["digits"]) as arrays:
        np.save(tmp_path / "few.npy", arrays["images"][np.random.default_rng(0).permutation(5000)[:300]])
    settings = {"data": str(tmp_path / "few.npy"), "held_out": 0.4, "resolution": 16, "augment": augment}
    network = DCGANAutoencoder(width=16)
    config = TrainConfig(network=network, images=12_000, batch=32, sample_every=12_000, **settings, **CPU)
    last = train(config, tmp_path / "run", quiet=True, closing_score=False).rows()[-1]["held_out_energy"]
    assert last < 1.1 if augment else last > 1.25
