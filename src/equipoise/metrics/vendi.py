"""Vendi score, of Friedman and Dieng (2022), arXiv:2210.02410: the effective number of different images."""

import torch
from torch import Tensor

from equipoise.metrics.base import MetricResult, check_finite, require
from equipoise.metrics.inception import entropy
from equipoise.metrics.metric import Metric, MetricInputs
from equipoise.randomness import keyed_generator


def vendi_score(vectors: Tensor) -> float:
    """Vendi score exp(-Σ λ log λ), with λ the eigenvalues of S / n and S the cosine similarities of all pairs.

    Friedman and Dieng (2022, arXiv:2210.02410), equations 1 and 3. Of n vectors in fewer dimensions, the eigenvalues
    that are not 0 are those of the (K, K) matrix of second moments, which is smaller (their section 3.2).

    Args:
        vectors: (n, K) features; one that is 0 is like nothing, not even itself.

    Returns:
        From 1, all alike, to the smaller of n and K, all at right angles.

    Raises:
        UsageError: there is no vector, or one is not finite.
    """
    require("vendi", 1, len(vectors))
    check_finite(vectors)
    x = torch.nn.functional.normalize(vectors.double(), dim=1)
    second_moments = (x.T @ x if x.shape[1] < len(x) else x @ x.T) / len(x)
    return float(entropy(torch.linalg.eigvalsh(second_moments).clamp_min(0.0)).exp())


def _compute(inputs: MetricInputs) -> MetricResult:
    # As many of each, since the score grows with their number; at random, as stored images may lie class by class.
    count = min(map(len, inputs.vectors))
    samples, reference = (
        vendi_score(x[torch.randperm(len(x), generator=keyed_generator(inputs.seed, "vendi"))[:count]])
        for x in inputs.vectors
    )
    return {"value": samples, "real": reference}


VENDI = Metric(
    compute=_compute,
    needs=frozenset({"vectors"}),
    better="reference",
    ideal=None,
    description="effective number of different images, of as many samples as real ones",
)
