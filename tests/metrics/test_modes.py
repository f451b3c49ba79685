"""Modes covered and the divergence of their histogram, of classes and of toy mixtures."""

import math

import pytest
import scipy.spatial.distance
import scipy.stats
import torch
from torch import Tensor

from equipoise.errors import UsageError
from equipoise.metrics import class_modes, toy_modes


def classified(classes: list[int], sure: float = 0.97) -> Tensor:
    one_hot = torch.eye(4, dtype=torch.float64)[torch.tensor(classes, dtype=torch.long)]
    return one_hot * sure + (1 - one_hot) * (1 - sure) / 3


def ring(count: int, modes: int, seed: int = 0) -> Tensor:
    angles = (torch.arange(count) % modes) * (2 * math.pi / 8)
    noise = 0.02 * torch.randn(count, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.stack([angles.cos(), angles.sin()], dim=1).double() + noise


EVEN = torch.eye(4)  # references: labels serve
SKEWED = classified([0] * 40 + [1] * 30 + [2] * 20 + [3] * 10)

CENTRES = torch.stack(
    [torch.stack([(n * torch.tensor(math.pi / 4)).cos(), (n * torch.tensor(math.pi / 4)).sin()]) for n in range(8)]
)


def test_divergences_equal_scipy() -> None:
    samples = [0] * 10 + [1] * 20 + [2] * 30 + [3] * 40
    ours = class_modes(classified(samples), SKEWED)
    p, q = [0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]
    assert ours.histogram.tolist() == pytest.approx(p)
    assert ours.kl == pytest.approx(scipy.stats.entropy(p, q), rel=1e-12)
    assert ours.js == pytest.approx(scipy.spatial.distance.jensenshannon(p, q) ** 2, rel=1e-12)
    assert (ours.covered, ours.total, ours.clear) == (4, 4, 1)


def test_the_reference_itself_is_ideal() -> None:
    ours = class_modes(SKEWED, SKEWED)
    assert (ours.covered, ours.total, ours.kl, ours.js) == (4, 4, 0, 0)


def test_dropped_modes_are_counted_and_diverge() -> None:
    ours = [class_modes(classified([n % left for n in range(100)]), EVEN) for left in (4, 3, 2, 1)]
    assert [one.covered for one in ours] == [4, 3, 2, 1]
    assert [one.kl for one in ours] == pytest.approx([math.log(4 / left) for left in (4, 3, 2, 1)], abs=2e-3)
    assert [one.js for one in ours] == sorted(one.js for one in ours)


def test_a_mode_needs_a_tenth_of_its_share_in_clear_samples() -> None:
    def covered(hits: int, sure: float = 0.97) -> int:
        return class_modes(torch.cat([classified([0] * (400 - hits)), classified([3] * hits, sure)]), EVEN).covered

    assert [covered(hits) for hits in (0, 9, 10)] == [1, 1, 2]
    assert covered(100, sure=0.6) == 1


def test_unsure_samples_are_not_clear() -> None:
    ours = [class_modes(classified([0, 1, 2, 3], sure), EVEN).clear for sure in (0.95, 0.7)]
    assert ours == [1, 0]


def test_a_mode_that_the_reference_lacks() -> None:
    ours = class_modes(classified([0, 1, 2, 3]), EVEN[:3])
    assert (ours.covered, ours.total, ours.kl) == (3, 3, math.inf)
    assert 0 < ours.js < math.log(2)


def test_true_samples_of_a_ring_are_ideal() -> None:
    ours = toy_modes(ring(8000, 8), CENTRES, 0.02)
    assert (ours.covered, ours.total) == (8, 8)
    assert ours.clear == pytest.approx(1 - math.exp(-4.5), abs=0.005)
    assert ours.spread == pytest.approx(1, abs=0.02)
    assert ours.kl == pytest.approx(0, abs=0.01)


def test_toys_with_dropped_modes_noise_and_collapsed_modes() -> None:
    assert [toy_modes(ring(800, left), CENTRES, 0.02).covered for left in (8, 5, 1)] == [8, 5, 1]
    noise = torch.randn(800, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    noisy = [toy_modes(ring(800, 8) + level * noise, CENTRES, 0.02).clear for level in (0, 0.02, 0.1, 1)]
    assert noisy == sorted(noisy, reverse=True)
    points = toy_modes(CENTRES.repeat(10, 1) + 0.01, CENTRES, 0.02)
    assert (points.covered, points.clear) == (8, 1)
    assert points.spread == pytest.approx(0, abs=1e-9)
    nowhere = toy_modes(CENTRES * 9, CENTRES, 0.02)
    assert (nowhere.covered, nowhere.clear, nowhere.spread) == (0, 0, 0)


def test_refuses_nothing_and_nan() -> None:
    with pytest.raises(UsageError, match="modes needs 1 images or more, not 0"):
        class_modes(torch.zeros(0, 4), EVEN)
    with pytest.raises(UsageError, match="NaN"):
        toy_modes(ring(8, 8) * torch.nan, CENTRES, 0.02)
