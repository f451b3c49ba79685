"""Precision, recall, density and coverage: how two sets of images lie in each other's neighbourhoods.

Kynkäänniemi et al. (2019), arXiv:1904.06991, and Naeem et al. (2020), arXiv:2002.09797.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.metrics.base import check_finite, require
from equipoise.metrics.distances import MAX_DISTANCES, distance_blocks
from equipoise.metrics.metric import Metric, MetricInputs


@dataclass(frozen=True)
class ManifoldScores:
    """Shares of samples and reference images that lie in each other's neighbourhoods.

    Attributes:
        precision: share of samples inside a reference image's ball, in [0, 1].
        recall: share of reference images inside a sample's ball, in [0, 1].
        density: reference balls that a sample lies in, on average, over k; 0 or more, 1 on average for equal sets.
        coverage: share of reference images with a sample inside their ball, in [0, 1].
    """

    precision: float
    recall: float
    density: float
    coverage: float


def manifold_scores(
    references: Tensor,
    samples: Tensor,
    *,
    precision_k: int = 3,
    coverage_k: int = 5,
    max_distances: int = MAX_DISTANCES,
) -> ManifoldScores:
    """Improved precision and recall, density and coverage, exactly: every pair of images is compared.

    The ball of an image reaches to the k-th nearest other image of its own set. Precision and recall as in
    Kynkäänniemi et al. (2019, arXiv:1904.06991), density and coverage as in Naeem et al. (2020,
    arXiv:2002.09797), each with its paper's k.

    Args:
        references: (N, K) vectors.
        samples: (M, K) vectors.
        precision_k: number of neighbours that make a ball, for precision and recall.
        coverage_k: likewise for density and coverage.
        max_distances: in memory at once.

    Raises:
        UsageError: a set has no k-th neighbour, or a vector is not finite.
    """
    require("precision, recall, density and coverage", max(precision_k, coverage_k) + 1, len(references), len(samples))
    check_finite(references)
    check_finite(samples)
    # All radii and distances stay squared, as both sides of every comparison: no root, and no rounding of one.
    precision_radii, coverage_radii = _squared_radii(references, (precision_k, coverage_k), max_distances)
    (sample_radii,) = _squared_radii(samples, (precision_k,), max_distances)
    precise = torch.zeros(len(samples), dtype=torch.bool)
    recalled, covered, inside = 0, 0, 0
    for rows, distances in distance_blocks(references, samples, max_distances=max_distances):
        precise |= (distances <= precision_radii[rows, None]).any(dim=0)
        recalled += int((distances <= sample_radii).any(dim=1).sum())
        within = distances <= coverage_radii[rows, None]
        inside += int(within.sum())
        covered += int(within.any(dim=1).sum())
    return ManifoldScores(
        precision=precise.double().mean().item(),
        recall=recalled / len(references),
        density=inside / (coverage_k * len(samples)),
        coverage=covered / len(references),
    )


def _squared_radii(vectors: Tensor, ks: tuple[int, ...], max_distances: int) -> list[Tensor]:
    """For each k the squared distance from every vector to its k-th nearest other one, (N,)."""
    nearest = [
        distances.topk(max(ks) + 1, dim=1, largest=False).values  # the first is the vector itself, at distance 0
        for _, distances in distance_blocks(vectors, vectors, max_distances=max_distances)
    ]
    return [torch.cat(nearest)[:, k] for k in ks]


def _scores(inputs: MetricInputs) -> ManifoldScores:
    samples, reference = inputs.vectors
    return manifold_scores(reference, samples)


# The four share one comparison of all pairs, which takes as long for one of them as for all.

PRECISION = Metric(
    compute=lambda inputs: {"value": inputs.shared(_scores).precision},
    needs=frozenset({"vectors"}),
    better="higher",
    ideal=1.0,
    description="share of samples that look real",
)
RECALL = Metric(
    compute=lambda inputs: {"value": inputs.shared(_scores).recall},
    needs=frozenset({"vectors"}),
    better="higher",
    ideal=1.0,
    description="share of real images that the samples could be mistaken for",
)
DENSITY = Metric(
    compute=lambda inputs: {"value": inputs.shared(_scores).density},
    needs=frozenset({"vectors"}),
    better="higher",
    ideal=1.0,
    description="how deep among real images the samples lie",
)
COVERAGE = Metric(
    compute=lambda inputs: {"value": inputs.shared(_scores).coverage},
    needs=frozenset({"vectors"}),
    better="higher",
    ideal=1.0,
    description="share of real images with a sample near by",
)
