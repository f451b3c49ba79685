"""Kernel inception distance, and the maximum mean discrepancy that it is an average of."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from equipoise.metrics.base import Estimate, check_finite, require
from equipoise.randomness import keyed_generator

ROWS = 2048  # a block of the kernel's matrix is (ROWS, ROWS) float64, 32 MiB

Kernel = Callable[[Tensor, Tensor], Tensor]
"""(n, K) and (m, K) float64 vectors to their kernel values, (n, m)."""


def cubic(x: Tensor, y: Tensor) -> Tensor:
    """KID's polynomial kernel, (x·y / K + 1)³."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def gaussian(bandwidth: float) -> Kernel:
    """The kernel exp(-|x - y|² / (2 bandwidth²))."""

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (-(torch.cdist(x, y) / bandwidth).square() / 2).exp()

    return kernel


def squared_mmd(a: Tensor, b: Tensor, kernel: Kernel = cubic) -> float:
    """Unbiased estimate of the squared maximum mean discrepancy (Gretton et al., 2012), over all pairs.

    Args:
        a: (N, K) vectors, two or more.
        b: (M, K) vectors, two or more.
        kernel: of the discrepancy.

    Returns:
        An estimate whose mean is 0 for equal distributions, so that it can be below 0.
    """
    return _within(a, kernel) + _within(b, kernel) - 2 * _between(a, b, kernel) / (len(a) * len(b))


def _within(x: Tensor, kernel: Kernel) -> float:
    """The mean kernel value of two different vectors."""
    own = math.fsum(kernel(rows, rows).trace().item() for rows in map(Tensor.double, torch.split(x, 64)))
    return (_between(x, x, kernel) - own) / (len(x) * (len(x) - 1))


def _between(x: Tensor, y: Tensor, kernel: Kernel) -> float:
    """The sum of all kernel values, with a bounded block of them in memory."""
    return math.fsum(
        kernel(rows, columns).sum().item()
        for rows in map(Tensor.double, torch.split(x, ROWS))
        for columns in map(Tensor.double, torch.split(y, ROWS))
    )


def kernel_distance(
    a: Tensor, b: Tensor, *, subsets: int = 100, subset_size: int | None = None, seed: int = 0
) -> Estimate:
    """Kernel inception distance (Bińkowski et al., 2018, arXiv:1801.01401): the mean over random subsets.

    Args:
        a: (N, K) vectors.
        b: (M, K) vectors.
        subsets: how many pairs of subsets.
        subset_size: images in each, drawn without replacement; by default 1,000 as published, or half of the smaller
            set where that is less, so that the subsets differ and their spread means something.
        seed: of the draws.

    Returns:
        The mean, which can be a little below 0, and the spread over the subsets.

    Raises:
        UsageError: a set has fewer images than a subset, or a subset fewer than two; a vector is not finite.
    """
    size = subset_size or max(2, min(1000, len(a) // 2, len(b) // 2))
    require("kid", max(2, size), len(a), len(b))
    check_finite(a)
    check_finite(b)

    def subset(vectors: Tensor, generator: torch.Generator) -> Tensor:
        return vectors[torch.randperm(len(vectors), generator=generator)[:size]]

    draws = (keyed_generator(seed, "kid", number) for number in range(subsets))
    return Estimate.of(torch.tensor([squared_mmd(subset(a, g), subset(b, g)) for g in draws], dtype=torch.float64))
