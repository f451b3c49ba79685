"""What is refused before anything is measured."""

import pytest
import torch

from equipoise.bench.benchmark import Case, measure
from equipoise.devices import SingleProcess
from equipoise.errors import UsageError


def test_sizes_are_refused_before_such_images_are_made() -> None:
    """Of which there would be more than any memory holds."""
    with pytest.raises(UsageError, match="needs a width and height that divide by"):
        measure(Case("began", 8191, 2, 100_000, "fp32"), SingleProcess(torch.device("cpu")), limit=1)
