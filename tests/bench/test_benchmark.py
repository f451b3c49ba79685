"""What is measured, and what is refused before."""

import pytest
import torch

from equipoise.bench.benchmark import Case, measure
from equipoise.devices import SingleProcess
from equipoise.errors import UsageError


def test_sizes_are_refused_before_such_images_are_made() -> None:
    """Of which there would be more than any memory holds."""
    with pytest.raises(UsageError, match="needs a width and height that divide by"):
        measure(Case("began", 8191, 2, 100_000, "fp32"), SingleProcess(torch.device("cpu")), limit=1)


def test_objectives_are_measured_at_their_published_settings() -> None:
    """By the defaults a critic takes one step for one of the generator."""
    assert Case("wgan-gp", 16, 4, 4).config("cpu").n_critic == 5
    assert Case("began", 16, 4, 4).config("cpu").network_name == "autoencoder"


@pytest.mark.long
def test_the_textbook_is_in_fp32_beside_any_precision() -> None:
    case = Case("gan", 16, 4, 4, "fp64", 1)
    assert measure(case, SingleProcess(torch.device("cpu")), limit=0.05, rounds=1)["ratio"] > 0
