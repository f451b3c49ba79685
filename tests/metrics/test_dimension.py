"""The intrinsic dimension, of points whose dimension is known."""

import pytest
import torch
from torch import Tensor

from equipoise.metrics.dimension import intrinsic_dimension


def uniform(count: int, dimension: int) -> Tensor:
    return torch.rand(count, dimension, generator=torch.Generator().manual_seed(dimension), dtype=torch.float64)


@pytest.mark.parametrize("dimension", [1, 2, 4])
def test_points_of_a_plane_have_its_dimension_wherever_it_lies(dimension: int) -> None:
    """The estimate scatters by d / sqrt(N): 2 % here, of which four are allowed; edges cost a little more in 4."""
    turned, _ = torch.linalg.qr(torch.randn(40, dimension, generator=torch.Generator().manual_seed(1)).double())
    points = uniform(2000, dimension) @ turned.T + 3
    assert intrinsic_dimension(points) == pytest.approx(dimension, rel=0.1)
    assert intrinsic_dimension(1000 * points) == pytest.approx(intrinsic_dimension(points), rel=1e-6)


def test_a_bent_sheet_has_two() -> None:
    angle, height = uniform(2000, 2).T
    roll = torch.stack([(3 + 9 * angle) * torch.cos(9 * angle), 9 * height, (3 + 9 * angle) * torch.sin(9 * angle)], 1)
    assert intrinsic_dimension(roll) == pytest.approx(2, rel=0.1)


def test_it_is_the_closed_form_of_pareto_ratios() -> None:
    """On a line of pairs, each point's ratio is known: its partner's distance, and the next pair's nearest point's."""
    gaps = torch.linspace(0.1, 0.4, 100, dtype=torch.float64)
    starts = torch.arange(100, dtype=torch.float64)
    line = torch.stack([starts, starts + gaps], 1).flatten()
    second = [[float(abs(point - other)) for other in line] for point in line]
    logs = sorted(torch.tensor([sorted(row)[2] / sorted(row)[1] for row in second], dtype=torch.float64).log().tolist())
    kept = int(0.9 * len(logs))
    expected = kept / (sum(logs[:kept]) + (len(logs) - kept) * logs[kept - 1])
    assert intrinsic_dimension(line[:, None]) == pytest.approx(expected, rel=1e-9)


def test_copies_count_once() -> None:
    points = uniform(500, 3)
    assert intrinsic_dimension(torch.cat([points, points[:200], points])) == intrinsic_dimension(points)


@pytest.mark.parametrize("points", [uniform(10, 3), torch.zeros(100, 3), torch.eye(50), torch.zeros(0, 3)])
def test_of_too_few_or_equally_far_points_there_is_none(points: Tensor) -> None:
    assert intrinsic_dimension(points) is None
