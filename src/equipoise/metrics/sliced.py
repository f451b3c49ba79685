"""Sliced Wasserstein distance between sets of vectors, and between the patches of two sets of images.

Rabin et al. (2011), "Wasserstein barycenter and its application to texture mixing"; of images' patches, Karras et al.
(2018), arXiv:1710.10196.
"""

import numpy as np
import torch
from torch import Tensor

from equipoise.metrics.base import MetricResult, require
from equipoise.metrics.metric import Metric, MetricInputs
from equipoise.metrics.pyramid import SMALLEST
from equipoise.randomness import keyed_generator

DIRECTIONS_AT_ONCE = 64  # projected and sorted


def wasserstein_1d(a: Tensor, b: Tensor) -> Tensor:
    """Exact Wasserstein-1 distance between the values in each column of (N, D) and (M, D); (D,) float64.

    It is the area between the two quantile functions, which are steps of width 1/N and 1/M: for equal counts, the mean
    difference of the sorted values.
    """
    a, b = _sorted(a), _sorted(b)
    if a.shape == b.shape:
        return (a - b).abs().mean(dim=1)
    n, m = a.shape[1], b.shape[1]
    # Where either function steps, in units of 1/NM: whole numbers, so that equal places are found equal.
    ends = torch.unique(torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]))
    widths = ends.diff(prepend=ends.new_zeros(1)).double() / (n * m)
    starts = ends - 1  # the last unit of each interval, which lies inside of it
    return torch.as_tensor((a[:, starts // m] - b[:, starts // n]).abs() @ widths)


def _sorted(values: Tensor) -> Tensor:
    """The columns of (N, D), each sorted, as (D, N) float64; by numpy, which takes a seventh of the time of torch."""
    return torch.from_numpy(np.sort(values.detach().cpu().double().T.numpy(), axis=1))


def sliced_wasserstein(a: Tensor, b: Tensor, *, directions: int = 512, seed: int = 0) -> float:
    """Mean Wasserstein-1 distance between two sets of vectors as seen along random directions (Rabin et al., 2011).

    Args:
        a: (N, K) vectors, one or more.
        b: (M, K) vectors, one or more.
        directions: number of them, drawn evenly from the unit sphere.
        seed: of the directions.
    """
    axes = torch.randn(directions, a.shape[1], generator=keyed_generator(seed, "directions"), dtype=torch.float64)
    axes = torch.nn.functional.normalize(axes, dim=1)
    parts = [wasserstein_1d(_project(a, part), _project(b, part)) for part in torch.split(axes, DIRECTIONS_AT_ONCE)]
    return torch.cat(parts).mean().item()


def _project(vectors: Tensor, axes: Tensor) -> Tensor:
    """(N, directions) float64, without a float64 copy of all the vectors."""
    return torch.cat([rows.double() @ axes.T for rows in torch.split(vectors, 8192)])


def patch_distances(
    a: tuple[Tensor, ...], b: tuple[Tensor, ...], *, directions: int = 512, seed: int = 0
) -> list[float]:
    """Sliced Wasserstein distance between the patches of two sets of images, at every level of their pyramids.

    Patches are first normalised to mean 0 and deviation 1 in every channel, over each set by itself (Karras et al.,
    2018, arXiv:1710.10196, section 5). Papers print these figures times 1,000.

    Args:
        a: for each level, finest first, patches (N, C, 7, 7), as `pyramid.patches` cuts them.
        b: those of the other set, (M, C, 7, 7).
        directions: number of them.
        seed: of the directions.

    Returns:
        One distance a level; their mean is the score.

    Raises:
        UsageError: a set has no patch.
    """
    assert len(a) == len(b) > 0, "images of one size"  # noqa: S101
    require("sliced-wasserstein", 1, len(a[0]), len(b[0]))
    return [
        sliced_wasserstein(_standardise(x), _standardise(y), directions=directions, seed=seed)
        for x, y in zip(a, b, strict=True)
    ]


def _standardise(patches: Tensor) -> Tensor:
    """(N, C, 7, 7) -> (N, C * 49); a channel without any variation becomes 0."""
    values = patches.transpose(0, 1).flatten(1).double()
    mean, deviation = values.mean(dim=1), values.std(dim=1, correction=0)
    scale = torch.where(deviation > 0, 1 / deviation, 0.0)
    shape = (1, -1, 1, 1)
    return ((patches.double() - mean.view(shape)) * scale.view(shape)).flatten(1)


def _compute(inputs: MetricInputs) -> MetricResult:
    samples, reference = inputs.patches
    levels = patch_distances(reference, samples, seed=inputs.seed)
    return {"value": sum(levels) / len(levels)} | {f"level {n}": distance for n, distance in enumerate(levels)}


SLICED_WASSERSTEIN = Metric(
    compute=_compute,
    needs=frozenset({"patches"}),
    better="lower",
    ideal=0.0,
    minimum_side=SMALLEST,
    description="distance of the patches' distributions, at every scale",
)
