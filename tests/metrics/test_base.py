"""A mean with its spread, and refusals."""

import math

import numpy as np
import pytest
import torch

from equipoise.errors import UsageError
from equipoise.metrics import Estimate
from equipoise.metrics.base import check_finite, require


def test_mean_spread_and_standard_error() -> None:
    parts = [1.0, 2.0, 4.0, 8.0]
    ours = Estimate.from_parts(torch.tensor(parts, dtype=torch.float64))
    assert (ours.value, ours.spread, ours.count) == (np.mean(parts), pytest.approx(np.std(parts)), 4)
    assert ours.error == pytest.approx(np.std(parts, ddof=1) / 2)
    assert Estimate.from_parts(torch.ones(1)) == Estimate(1, 0, 1)
    assert Estimate(1, 0, 1).error == math.inf


def test_refuses_what_is_too_few() -> None:
    require("kid", 5, 5, 7)
    with pytest.raises(UsageError, match="kid needs 8 images or more, not 5: give more, or leave kid out"):
        require("kid", 8, 9, 5)


def test_refuses_what_is_not_finite_only() -> None:
    check_finite(torch.zeros(0, 3))
    check_finite(torch.full((4, 3), torch.finfo(torch.float32).max))  # whose sum overflows
    for value in (torch.nan, torch.inf, -torch.inf):
        rows = torch.zeros(4, 3, 2)
        rows[2, 1, 0] = value
        with pytest.raises(UsageError, match="1 of 4 images"):
            check_finite(rows)
