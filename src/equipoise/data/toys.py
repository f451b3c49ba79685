"""Toys: distributions of points in the plane, which show at a glance how an objective behaves.

They are those of Gulrajani et al. (2017), arXiv:1704.00028, in their scales (`gan_toy.py` of
igul222/improved_wgan_training), each about one deviation wide. A point is an image of one pixel: x and y are its
channels. Points never repeat: the one at position p of a run is a function of (seed, p), and nothing is stored.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from equipoise.data.feed import FeedBatch
from equipoise.data.order import HELD_OUT_POINTS, POINTS, uniforms

Points = NDArray[np.float64]

SHAPE = (2, 1, 1)  # (C, H, W) of a point
CURVE_CENTRES = 1200  # centres along the swiss roll, a third of its sigma apart


@dataclass(frozen=True)
class Toy:
    """A mixture of Gaussians of one sigma in the plane, endless: a `Feed`.

    Attributes:
        name: in TOYS.
        centres: (T, 2) of the Gaussians; of a curve, points along it, so near to each other that they look like one.
        sigma: their standard deviation along each axis.
        modal: whether the centres are modes that can be counted; these are then the classes, too.
        place: maps (N,) from U[0, 1) to (N, 2), the centres of the points' Gaussians.
    """

    name: str
    centres: Points = field(repr=False, compare=False)
    sigma: float
    modal: bool
    place: Callable[[Points], Points] = field(repr=False, compare=False)

    shape = SHAPE
    count = None

    @property
    def fingerprint(self) -> str:
        """Name of the distribution: a change in how points are drawn needs another number here."""
        return f"toy-{self.name}-1"

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """No point is ever skipped."""
        return []

    @property
    def notes(self) -> list[str]:
        """There is nothing to say of points."""
        return []

    @property
    def classes(self) -> int:
        """Number of modes; a curve has none."""
        return len(self.centres) if self.modal else 0

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Coordinates of each mode."""
        return tuple(f"{x:.2f},{y:.2f}" for x, y in self.centres) if self.modal else None

    @property
    def extent(self) -> float:
        """Half the side of a square about the origin in which practically all points lie, with a margin."""
        return float(np.abs(self.centres).max() * 1.15 + 3 * self.sigma)

    def draw(
        self, batch: int, seed: int, images_seen: int, rank: int = 0, size: int = 1, readers: int | None = None
    ) -> FeedBatch:
        """Share of process `rank` of `size` in the batch that comes after `images_seen` points: see `Feed`."""
        assert batch % size == 0 and 0 <= rank < size  # noqa: S101, PT018
        share = batch // size
        return self._points(uniforms(share, seed, images_seen + rank * share, POINTS))

    def held_out(self, count: int, seed: int = 0) -> Tensor:
        """Points (count, 2) float32 that no run trains on: those come from another stream of random numbers."""
        return self._points(uniforms(count, seed, 0, HELD_OUT_POINTS)).images.flatten(1)

    def density(self, points: Tensor) -> Tensor:
        """Probability density at points (N, 2), per unit of area; (N,) float64."""
        distances = torch.cdist(points.double(), torch.from_numpy(self.centres)) / self.sigma
        return torch.as_tensor((-distances.square() / 2).exp().mean(dim=1) / (2 * math.pi * self.sigma**2))

    def close(self) -> None:
        """Nothing to do: nothing runs in the background."""

    def _points(self, numbers: Points) -> FeedBatch:
        """Points from numbers (N, 4) of U[0, 1): the first places the centre, the next two the point around it."""
        # Gaussians by Box and Muller (1958), not by a library, so that a seed gives the same points for ever.
        # log1p(-u) is the logarithm of 1 - u, which is never 0.
        radius = self.sigma * np.sqrt(-2 * np.log1p(-numbers[:, 1]))
        angle = 2 * math.pi * numbers[:, 2]
        points = self.place(numbers[:, 0]) + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        labels = torch.from_numpy((numbers[:, 0] * len(self.centres)).astype(np.int64)) if self.modal else None
        return FeedBatch(torch.from_numpy(points.astype(np.float32)).view(-1, *SHAPE), labels)


def _mixture(name: str, centres: Points, sigma: float) -> Toy:
    """Mixture of Gaussians in which every centre is equally likely."""
    return Toy(name, centres, sigma, modal=True, place=lambda u: centres[(u * len(centres)).astype(np.int64)])


def _ring() -> Points:
    """Centres: eight on a circle of radius 2, then divided by 1.414."""
    angles = np.arange(8) * (math.pi / 4)
    return 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1) / 1.414


def _grid() -> Points:
    """Centres: five times five, 2 apart, then divided by 2.828."""
    steps = 2 * np.arange(-2, 3) / 2.828
    return np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=2).reshape(25, 2)


def _roll(u: Points) -> Points:
    """Spiral t (cos t, sin t) with t from 1.5 pi to 4.5 pi, as in scikit-learn's make_swiss_roll, over 7.5."""
    t = 1.5 * math.pi * (1 + 2 * u)
    return np.asarray(t[:, None] * np.stack([np.cos(t), np.sin(t)], axis=1) / 7.5)


TOYS: Mapping[str, Toy] = {
    toy.name: toy
    for toy in (
        _mixture("ring8", _ring(), 0.02 / 1.414),
        _mixture("grid25", _grid(), 0.05 / 2.828),
        Toy("swissroll", _roll((np.arange(CURVE_CENTRES) + 0.5) / CURVE_CENTRES), 0.25 / 7.5, modal=False, place=_roll),
    )
}
"""The toys by name, as `--data` takes them."""
NO_IMAGES = "{} is a toy, of points and not of images: `equipoise train` and `evaluate` know it"
