"""Intrinsic dimension of data: how many numbers tell its points apart locally, however many they are written in."""

import torch
from torch import Tensor

from equipoise.metrics.distances import distance_blocks

KEPT = 0.9  # of the ratios, the smallest: the largest are of outliers, and move the estimate the most
FEWEST = 20  # points that tell anything


def intrinsic_dimension(vectors: Tensor) -> float | None:
    """Intrinsic dimension by the distances to each point's two nearest neighbours (TwoNN).

    On a d-dimensional manifold that is sampled evenly at the scale of these distances, their ratio mu = r2 / r1 follows
    a Pareto law, P(mu > x) = x^-d (Facco, d'Errico, Rodriguez and Laio 2017, doi:10.1038/s41598-017-11873-y). d is its
    maximum-likelihood estimate with the largest 1 - KEPT of the ratios censored. Many dimensions are underestimated
    where there are few points.

    Args:
        vectors: (N, K). Copies of a point count once.

    Returns:
        The dimension, above 0; None of fewer than FEWEST different points, or where all distances are alike.
    """
    unique = torch.unique(vectors.double(), dim=0)
    if len(unique) < FEWEST:
        return None
    unique = unique - unique.mean(dim=0)  # distances cancel the less, the smaller the vectors are
    squares = torch.cat([block.topk(3, largest=False).values for _, block in distance_blocks(unique, unique)])
    squares = squares[squares[:, 1] > 0]  # the first is the point itself; nearer than rounding tells is a copy, too
    logs = (squares[:, 2] / squares[:, 1]).log().sort().values / 2
    kept = int(KEPT * len(logs))
    if kept < FEWEST * KEPT or not logs[kept - 1] > 0:
        return None
    return kept / float(logs[:kept].sum() + (len(logs) - kept) * logs[kept - 1])
