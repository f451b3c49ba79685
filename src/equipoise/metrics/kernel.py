"""Kernel inception distance (KID), of Bińkowski et al. (2018), arXiv:1801.01401, and the maximum mean discrepancy."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from equipoise.metrics.base import Estimate, MetricResult, check_finite, require
from equipoise.metrics.distances import distance_blocks
from equipoise.metrics.metric import Metric, MetricInputs
from equipoise.randomness import keyed_generator

BLOCK = 2048  # vectors: a block of the kernel's matrix is (BLOCK, BLOCK) float64, 32 MiB

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


def squared_mmd(a: Tensor, b: Tensor, kernel: Kernel = cubic, *, block: int = BLOCK) -> float:
    """Unbiased estimate of the squared maximum mean discrepancy over all pairs.

    Gretton et al. (2012), "A kernel two-sample test", equation 3. Leaving out the pairs of a vector with itself makes
    it unbiased at any number of vectors, where the biased estimate is too high by about 1/N.

    Args:
        a: (N, K) vectors, two or more.
        b: (M, K) vectors, two or more.
        kernel: of the discrepancy.
        block: number of vectors along each side of the part of the kernel's matrix that is in memory at once.

    Returns:
        An estimate whose mean is 0 for equal distributions, so that it can be below 0.
    """

    def kernel_sum(x: Tensor, y: Tensor) -> float:
        """The sum of all kernel values; the blocks' own sums are added without rounding, by fsum."""
        return math.fsum(
            kernel(rows, columns).sum().item()
            for rows in map(Tensor.double, torch.split(x, block))
            for columns in map(Tensor.double, torch.split(y, block))
        )

    def mean_within(x: Tensor) -> float:
        """The mean kernel value of two different vectors: the sum less its diagonal, of which no matrix is made."""
        diagonal = math.fsum(kernel(rows, rows).trace().item() for rows in map(Tensor.double, torch.split(x, 64)))
        return (kernel_sum(x, x) - diagonal) / (len(x) * (len(x) - 1))

    return mean_within(a) + mean_within(b) - 2 * kernel_sum(a, b) / (len(a) * len(b))


def clip_distance(a: Tensor, b: Tensor, *, bandwidth: float = 10.0, scale: float = 1000.0) -> float:
    """CMMD (Jayasumana et al., 2024, arXiv:2401.09603), where the features are embeddings by CLIP ViT-L/14@336px.

    The squared maximum mean discrepancy of the vectors, brought to unit length, with the Gaussian kernel, times 1,000.
    As in the authors' code it is the estimate that counts the pairs of a vector with itself (Gretton et al., 2012,
    equation 5), which is too high by (1 - E k) / N for each set.

    Args:
        a: (N, K) vectors.
        b: (M, K) vectors.
        bandwidth: σ of the kernel exp(-|x - y|² / 2σ²).
        scale: by which the discrepancy is multiplied, to be read more easily.

    Returns:
        0 or more.

    Raises:
        UsageError: a set is empty, or a vector is not finite.
    """
    require("cmmd", 1, len(a), len(b))
    check_finite(a)
    check_finite(b)
    sets = [torch.nn.functional.normalize(x.double(), dim=1) for x in (a, b)]

    # distance_blocks sets what may be rounding to 0, as that of a vector and itself is
    def mean_gap(x: Tensor, y: Tensor) -> float:
        """The mean of 1 - k(x, y) over all pairs. Of a kernel that is nearly 1 everywhere, 1 - k keeps the digits."""
        blocks = [
            -torch.expm1(-distances / (2 * bandwidth**2)).sum()
            for _, distances in distance_blocks(x, y, max_distances=BLOCK**2)
        ]
        return math.fsum(block.item() for block in blocks) / (len(x) * len(y))

    x, y = sets
    return max(0.0, scale * (2 * mean_gap(x, y) - mean_gap(x, x) - mean_gap(y, y)))


def kernel_distance(
    a: Tensor, b: Tensor, *, subsets: int = 100, subset_size: int | None = None, seed: int = 0
) -> Estimate:
    """Kernel inception distance (Bińkowski et al., 2018, arXiv:1801.01401): the mean over random subsets.

    Args:
        a: (N, K) vectors.
        b: (M, K) vectors.
        subsets: number of pairs of subsets.
        subset_size: number of images in each, drawn without replacement; by default 1,000 as published, or half of the
            smaller set where that is less, so that the subsets differ and their spread means something.
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
    values = []
    for number in range(subsets):
        generator = keyed_generator(seed, "kid", number)  # from which a is drawn first, then b
        subset_a, subset_b = (x[torch.randperm(len(x), generator=generator)[:size]] for x in (a, b))
        values.append(squared_mmd(subset_a, subset_b))
    return Estimate.from_parts(torch.tensor(values, dtype=torch.float64))


def _compute(inputs: MetricInputs) -> MetricResult:
    samples, reference = inputs.vectors
    return kernel_distance(reference, samples, seed=inputs.seed).result()


KID = Metric(
    compute=_compute,
    needs=frozenset({"vectors"}),
    better="lower",
    ideal=0.0,
    description="distance of the features' distributions, unbiased at any number",
)


def _compute_gaussian(inputs: MetricInputs) -> MetricResult:
    samples, reference = inputs.vectors
    return {"value": clip_distance(reference, samples)}


CMMD = Metric(
    compute=_compute_gaussian,
    needs=frozenset({"vectors"}),
    extractor="clip-vitl14-336",
    better="lower",
    ideal=0.0,
    description="distance of the distributions of CLIP's embeddings, times 1,000",
)
GAUSSIAN_MMD = Metric(
    compute=_compute_gaussian,
    needs=frozenset({"vectors"}),
    by_default=lambda _: False,  # of features that are not CLIP's nobody has published it
    better="lower",
    ideal=0.0,
    description="what cmmd is of CLIP's embeddings, of any features, times 1,000",
)
