"""Scores of points: against scipy, closed forms, and points made to be wrong in one way."""

import math

import pytest
import scipy.spatial.distance
import scipy.stats
import torch
from torch import Tensor

from equipoise.errors import UsageError
from equipoise.metrics import POINT_METRICS, Truth, median_distance, point_figures, point_scores

CENTRES = torch.tensor([[x, y] for x in (-1.0, 1.0) for y in (-1.0, 1.0)], dtype=torch.float64)
TRUTH = Truth(CENTRES, 0.05, modal=True)


def points(count: int, seed: int, modes: int = 4, sigma: float = 0.05) -> Tensor:
    noise = torch.randn(count, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return CENTRES[torch.arange(count) % modes] + sigma * noise


def test_the_median_distance_equals_scipy() -> None:
    some = points(61, 0)[:, :2] * torch.tensor([1.0, 3.0])
    distances = sorted(scipy.spatial.distance.pdist(some.numpy()))
    assert len(distances) % 2 == 0  # the lower one of the two in the middle
    assert median_distance(some) == pytest.approx(distances[len(distances) // 2 - 1], rel=1e-12)


def test_mmd_and_wasserstein_are_those_of_their_definitions() -> None:
    a, b = points(40, 1), points(30, 2, modes=3)
    ours = point_scores(a, b, TRUTH)
    width = median_distance(b)

    def k(x: Tensor, y: Tensor) -> Tensor:
        return (-((x[:, None] - y[None]) ** 2).sum(2) / (2 * width**2)).exp()

    within = [(k(v, v).sum() - len(v)) / (len(v) * (len(v) - 1)) for v in (a, b)]
    assert ours["mmd"]["value"] == pytest.approx(float(sum(within) - 2 * k(a, b).mean()), abs=1e-12)
    axes = [scipy.stats.wasserstein_distance(a[:, d].numpy(), b[:, d].numpy()) for d in range(2)]
    assert [ours["wasserstein"][f"axis {d}"] for d in range(2)] == pytest.approx(axes, rel=1e-12)
    assert ours["wasserstein"]["value"] == pytest.approx(sum(axes) / 2, rel=1e-12)


def test_new_points_of_the_data_are_ideal() -> None:
    ours = point_scores(points(1000, 3), points(1000, 4), TRUTH)
    assert list(ours) == list(POINT_METRICS)
    assert (ours["modes"]["value"], ours["modes"]["of"]) == (4, 4)
    assert ours["in-modes"]["value"] == pytest.approx(1 - math.exp(-4.5), abs=0.006)
    assert ours["spread"]["value"] == pytest.approx(1, abs=0.03)
    assert abs(ours["mmd"]["value"]) < 1e-3
    assert ours["wasserstein"]["value"] < 0.06


def test_each_fault_is_seen_by_its_score() -> None:
    right = point_scores(points(1000, 3), points(1000, 4), TRUTH)
    dropped = point_scores(points(1000, 3, modes=2), points(1000, 4), TRUTH)
    narrow = point_scores(points(1000, 3, sigma=0.01), points(1000, 4), TRUTH)
    wide = point_scores(points(1000, 3, sigma=0.15), points(1000, 4), TRUTH)
    assert dropped["modes"]["value"] == 2
    assert dropped["mmd"]["value"] > 100 * abs(right["mmd"]["value"])
    assert dropped["wasserstein"]["axis 0"] == pytest.approx(1, abs=0.05)  # half of the points lie 2 too far left
    assert narrow["spread"]["value"] == pytest.approx(0.2, abs=0.02)
    assert wide["in-modes"]["value"] == pytest.approx(1 - math.exp(-0.5), abs=0.03)


def test_a_curve_has_no_modes_to_count() -> None:
    assert list(point_figures(points(50, 0), Truth(CENTRES, 0.05, modal=False))) == ["in-modes"]


def test_refuses_too_few_and_nan() -> None:
    with pytest.raises(UsageError, match="mmd needs 20 points or more, not 19"):
        point_scores(points(19, 0), points(30, 0), TRUTH)
    assert list(point_scores(points(19, 0), points(30, 0), TRUTH, ["in-modes"])) == ["in-modes"]
    with pytest.raises(UsageError, match="NaN"):
        point_scores(points(30, 0) * torch.nan, points(30, 0), TRUTH)
