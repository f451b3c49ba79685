"""The picture of a toy, looked at pixel by pixel, and what it says."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from equipoise.data import TOYS
from equipoise.objectives import LSGAN, OBJECTIVES
from equipoise.players import DiscriminatorOutput
from equipoise.views.toy_scatter import SIDE, lattice, realness_score, scatter, toy_measures, toy_scatter

NONE = torch.zeros(0, 2)


def pixels(*points: Tensor, **how: object) -> NDArray[np.int64]:
    return np.asarray(scatter(*points, extent=2.0, **how)).astype(int)  # type: ignore[arg-type]


def at(picture: NDArray[np.int64], x: float, y: float) -> NDArray[np.int64]:
    """The pixel at a point of the plane; y goes up."""
    return picture[int((2 - y) / 4 * SIDE), int((x + 2) / 4 * SIDE)]


def test_points_lie_where_they_should_and_in_their_own_colours() -> None:
    picture = pixels(torch.tensor([[1.0, 1.5]] * 9), torch.tensor([[-1.0, 0.5]] * 9))
    assert picture.shape == (SIDE, SIDE, 3)
    red, green, blue = at(picture, 1.0, 1.5)
    assert red > green + 60 > blue + 60
    assert at(picture, -1.0, 0.5).max() < 100
    assert at(picture, 1.0, -1.5).min() == 255
    assert (picture.min(axis=2) < 255).mean() < 0.001


def test_the_landscape_is_lightest_where_points_look_real() -> None:
    picture = pixels(NONE, NONE, score=lambda points: points[:, 0] + 2 * points[:, 1])
    light = [at(picture, x, y).sum() for x, y in [(-1.5, -1.5), (1.5, -1.5), (-1.5, 1.5), (1.5, 1.5)]]
    assert light == sorted(light)
    assert len(set(light)) == 4


def test_no_landscape_where_all_scores_are_equal_or_not_finite() -> None:
    for value in (3.0, float("nan"), float("inf")):
        assert pixels(NONE, NONE, score=lambda points, value=value: torch.full((len(points),), value)).min() == 255


def test_the_lattice_runs_along_x_first() -> None:
    assert lattice(1.0, 3).tolist()[:4] == [[-1, -1], [0, -1], [1, -1], [-1, 0]]


class Radius(nn.Module):
    """A discriminator whose score is the distance from the origin."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, images: Tensor) -> DiscriminatorOutput:
        assert not self.training
        assert images.shape[1:] == (2, 1, 1)
        return DiscriminatorOutput(self.weight * images.flatten(1).norm(dim=1))


def test_energies_are_turned_over_and_the_mode_put_back() -> None:
    discriminator, points = Radius(), torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    assert realness_score(discriminator, OBJECTIVES["wgan"]())(points).tolist() == [5, 1]
    assert realness_score(discriminator, OBJECTIVES["began"]())(points).tolist() == [-5, -1]
    for relu in (True, False):  # a loss is low where data lie, whether it may be negative or not
        assert realness_score(discriminator, LSGAN(relu=relu))(points).tolist() == [-5, -1]
    assert discriminator.training


def test_measures_of_perfect_absent_and_lost_points() -> None:
    grid, roll = TOYS["grid25"], TOYS["swissroll"]
    perfect = toy_measures(grid, grid.held_out(5000))
    assert list(perfect) == ["modes", "in_modes", "spread"]
    assert (perfect["modes"], abs(perfect["in_modes"] - 0.989) < 0.006, abs(perfect["spread"] - 1) < 0.03) == (
        25,
        True,
        True,
    )
    assert toy_measures(grid, torch.full((30, 2), 9.0))["in_modes"] == 0
    on_it = toy_measures(roll, roll.held_out(5000))
    assert list(on_it) == ["in_modes"]
    assert on_it["in_modes"] > 0.99
    assert toy_measures(grid, torch.full((30, 2), torch.nan)) == {}


def test_a_toy_with_points_that_are_not_finite_can_still_be_drawn() -> None:
    assert toy_scatter(TOYS["ring8"], torch.full((30, 2), torch.nan)).size == (SIDE, SIDE)
