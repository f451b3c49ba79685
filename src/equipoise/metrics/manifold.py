"""Precision, recall, density and coverage: how two sets of images lie in each other's neighbourhoods."""

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.metrics.base import check_finite, require
from equipoise.metrics.distances import distance_blocks


@dataclass(frozen=True)
class ManifoldScores:
    """What share of which set lies near which other.

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
    references: Tensor, samples: Tensor, *, precision_k: int = 3, coverage_k: int = 5
) -> ManifoldScores:
    """Improved precision and recall, density and coverage, exactly: every pair of images is compared.

    The ball of an image reaches to the k-th nearest other image of its own set. Precision and recall as in
    Kynkäänniemi et al. (2019, arXiv:1904.06991), density and coverage as in Naeem et al. (2020,
    arXiv:2002.09797), each with its paper's k.

    Args:
        references: (N, K) vectors.
        samples: (M, K) vectors.
        precision_k: neighbours that make a ball, for precision and recall.
        coverage_k: likewise for density and coverage.

    Raises:
        UsageError: a set has no k-th neighbour; a vector is not finite.
    """
    require("precision, recall, density and coverage", max(precision_k, coverage_k) + 1, len(references), len(samples))
    check_finite(references)
    check_finite(samples)
    near, wide = _squared_radii(references, (precision_k, coverage_k))
    (own,) = _squared_radii(samples, (precision_k,))
    precise = torch.zeros(len(samples), dtype=torch.bool)
    recalled, covered, inside = 0, 0, 0
    for rows, distances in distance_blocks(references, samples):
        precise |= (distances <= near[rows, None]).any(dim=0)
        recalled += int((distances <= own).any(dim=1).sum())
        within = distances <= wide[rows, None]
        inside += int(within.sum())
        covered += int(within.any(dim=1).sum())
    return ManifoldScores(
        precision=precise.double().mean().item(),
        recall=recalled / len(references),
        density=inside / (coverage_k * len(samples)),
        coverage=covered / len(references),
    )


def _squared_radii(vectors: Tensor, ks: tuple[int, ...]) -> list[Tensor]:
    """For each k the squared distance from every vector to its k-th nearest other one, (N,)."""
    nearest = [
        distances.topk(max(ks) + 1, dim=1, largest=False).values  # the first is the vector itself
        for _, distances in distance_blocks(vectors, vectors)
    ]
    return [torch.cat(nearest)[:, k] for k in ks]
