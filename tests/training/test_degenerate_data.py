"""Data and batches for which a mean distance, a share or a comparison is not defined."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import equipoise
from equipoise import BEGAN, Autoencoder, Run, TrainConfig
from equipoise.objectives import EBGAN, OBJECTIVES

pytestmark = pytest.mark.usefixtures("no_report")

Pixels = NDArray[np.uint8]
RNG = np.random.default_rng(0)


def one_pixel(count: int) -> Pixels:
    images = np.zeros((count, 16, 16), np.uint8)
    images[0, 4:6, 4:6] = 9
    return images


DEGENERATE: dict[str, Callable[[int], Pixels]] = {
    "black": lambda count: np.zeros((count, 16, 16), np.uint8),
    "equal": lambda count: np.repeat(RNG.integers(0, 256, (1, 16, 16), np.uint8), count, 0),
    "one-pixel": one_pixel,
    "random": lambda count: RNG.integers(0, 256, (count, 16, 16), np.uint8),
}


def finite(value: object) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def saved(folder: Path, name: str, count: int) -> Path:
    np.save(folder / f"{name}.npy", DEGENERATE[name](count))
    return folder / f"{name}.npy"


@pytest.mark.parametrize("objective", ["began", pytest.param("gan", marks=pytest.mark.long)])
@pytest.mark.parametrize("name", ["black", pytest.param("equal", marks=pytest.mark.long), "one-pixel"])
def test_images_that_hardly_differ_train(objective: str, name: str, small: TrainConfig, tmp_path: Path) -> None:
    network = Autoencoder(width=4, latent=8) if objective == "began" else "dcgan"
    config = TrainConfig(
        objective=OBJECTIVES[objective](),
        network=network,
        data=str(saved(tmp_path, name, 60)),
        **{key: getattr(small, key) for key in ("resolution", "log_every", "precision", "device")},
        images=48,
        held_out=0,
        batch=16,
        sample_every=16,
    )
    run = equipoise.train(config, tmp_path / "run", quiet=True)
    run = equipoise.resume(run.path, images=64, quiet=True)
    for row in run.rows():
        assert all(finite(value) for value in row.values()), row
        assert name == "one-pixel" or "diversity" not in row, "nothing to compare it with"
    said = [json.loads(line)["message"] for line in (run.path / "events.jsonl").read_text().splitlines()]
    assert any("the images are all equal" in message for message in said) == (name != "one-pixel")


@pytest.mark.parametrize(
    ("images", "reference"),
    [
        pytest.param(images, reference, marks=[] if reference in (images, "random") else pytest.mark.long)
        for images in DEGENERATE
        for reference in DEGENERATE
    ],
)
def test_every_metric_is_defined_for_images_that_hardly_differ(images: str, reference: str, tmp_path: Path) -> None:
    for features in ("pixels", "digits"):
        scores = equipoise.evaluate(
            str(saved(tmp_path, images, 110)),
            str(saved(tmp_path, reference, 110)),
            features=features,
            device="cpu",
            quiet=True,
        )
        for name, figures in scores.figures.items():
            kept = {key: value for key, value in figures.items() if key != "kl"}  # infinite where a class is missing
            assert all(finite(value) for value in kept.values()), (features, name, figures)
        assert str(scores)


@pytest.mark.parametrize("objective", [BEGAN(pull=0.3), BEGAN.remedies(), EBGAN(pull=0.1)], ids=repr)
def test_a_single_image_is_compared_with_nothing(objective: BEGAN, small: TrainConfig, tmp_path: Path) -> None:
    """Terms over pairs of a batch are 0 where it has one image."""
    config = small.with_changes(objective=objective, batch=1, images=8, log_every=2, sample_every=8)
    run: Run = equipoise.train(config, tmp_path / "run", quiet=True)
    for row in run.rows():
        assert all(finite(value) for value in row.values()), row
        assert row.get("pulling_away", 0.0) == 0.0
        assert row.get("code_distance", 0.0) == 0.0
