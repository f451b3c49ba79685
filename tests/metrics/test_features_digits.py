"""The classifier that the package carries: its size, its data, and its accuracy, computed again."""

import numpy as np
import pytest
import torch
from safetensors import safe_open

from equipoise.data import open_images
from equipoise.metrics.features import load_extractor
from equipoise.metrics.features.digits import WEIGHTS


def facts() -> dict[str, str]:
    with safe_open(WEIGHTS, framework="numpy") as file:
        return dict(file.metadata())


def test_weights_are_below_a_megabyte() -> None:
    assert WEIGHTS.stat().st_size < 1_000_000


def test_weights_were_trained_on_what_split_gives() -> None:
    training, rest = open_images("digits", resolution=32).split(0.1)
    assert facts()["trained_on"] == training.fingerprint
    assert facts()["accuracy_of"] == f"{len(rest)} held-out digits"


@pytest.mark.parametrize("resolution", [32, 28, 64, 16])
def test_accuracy_on_held_out_digits(resolution: int) -> None:
    _, rest = open_images("digits", resolution=resolution).split(0.1)
    probabilities = load_extractor("digits", shape=rest.shape)(rest.batch(np.arange(len(rest)))).probabilities
    assert probabilities is not None
    accuracy = (probabilities.argmax(dim=1).numpy() == rest.labels).mean()
    assert accuracy >= (0.98 if resolution > 16 else 0.97)
    if resolution == 32:
        assert accuracy == pytest.approx(float(facts()["accuracy"]), abs=5e-4)


def test_noise_is_no_digit() -> None:
    noise = torch.randint(0, 256, (200, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    probabilities = load_extractor("digits", shape=(1, 32, 32))(noise).probabilities
    assert probabilities is not None
    assert (probabilities.max(dim=1).values > 0.9).double().mean() < 0.5
