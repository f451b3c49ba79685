"""Paths through latents: identities of great circles."""

import math

import pytest
import torch
from torch import Tensor

from equipoise.latents.paths import lerp, path, slerp

T = torch.linspace(0, 1, 7, dtype=torch.float64)


def vectors(count: int, size: int = 5, seed: int = 0) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_great_circle_between_orthogonal_unit_vectors_is_cosine_and_sine() -> None:
    a, b = torch.eye(3, dtype=torch.float64)[:2]
    expected = (T * math.pi / 2).cos()[:, None] * a + (T * math.pi / 2).sin()[:, None] * b
    torch.testing.assert_close(slerp(a, b, T), expected, rtol=0, atol=1e-15)


def test_angles_and_lengths_change_evenly() -> None:
    a, b = vectors(2)
    way = slerp(a, b, T)
    torch.testing.assert_close(way.norm(dim=1), a.norm() + T * (b.norm() - a.norm()))
    directions = way / way.norm(dim=1, keepdim=True)
    angles = (directions[1:] * directions[:-1]).sum(dim=1).acos()
    torch.testing.assert_close(angles, angles[:1].expand(6))
    torch.testing.assert_close(angles.sum(), (a @ b / (a.norm() * b.norm())).acos())
    torch.testing.assert_close(slerp(b, a, T), way.flip(0))


def test_normal_latents_keep_their_length_on_a_circle_and_not_on_a_line() -> None:
    a, b = vectors(2, 512)
    middle = torch.tensor([0.5], dtype=torch.float64)
    assert slerp(a, b, middle).norm().item() == pytest.approx(math.sqrt(512), rel=0.05)
    assert lerp(a, b, middle).norm().item() == pytest.approx(math.sqrt(512 / 2), rel=0.05)


@pytest.mark.parametrize("factor", [1.0, 2.0, -1.0, 0.0])
def test_parallel_vectors_are_joined_by_a_line(factor: float) -> None:
    a = vectors(1)[0]
    torch.testing.assert_close(slerp(a, factor * a, T), lerp(a, factor * a, T))
    assert slerp(a, factor * a, T).isfinite().all()


@pytest.mark.parametrize("spherical", [False, True])
def test_a_path_passes_through_its_points_and_a_loop_ends_where_it_began(spherical: bool) -> None:
    points = vectors(4)
    open_path = path(points, 5, spherical=spherical)
    loop = path(points, 5, spherical=spherical, loop=True)
    assert open_path.shape == (3, 5, 5)
    assert loop.shape == (4, 5, 5)
    torch.testing.assert_close(open_path[:, 0], points[:-1])
    torch.testing.assert_close(open_path[:, -1], points[1:])
    torch.testing.assert_close(loop[:3], open_path)
    torch.testing.assert_close(loop[-1, -1], points[0])
