"""Fréchet inception distance (FID), of Heusel et al. (2017), arXiv:1706.08500."""

import torch
from torch import Tensor

from equipoise.metrics.base import MetricResult, require
from equipoise.metrics.metric import Metric, MetricInputs
from equipoise.metrics.moments import Moments

IMAGES_PER_FEATURE = 10  # from which on the bias of FID is small


def frechet_distance(a: Moments, b: Moments) -> float:
    """Squared Fréchet distance between the Gaussians with two sets' moments: FID, where the features are Inception's.

    |m_a - m_b|² + tr S_a + tr S_b - 2 tr (S_a S_b)^{1/2} (Dowson and Landau, 1982; Heusel et al., 2017,
    arXiv:1706.08500). With S = L L^T the last trace is the sum of the singular values of L_a^T L_b. Other
    implementations take the matrix root of S_a S_b, which is singular for fewer images than features, and whose tiny
    eigenvalues come out negative or complex; here no root is taken of a value that is nothing but rounding.

    Returns:
        0 or more; 0 for equal sets.

    Raises:
        UsageError: a set has fewer than two images.
    """
    require("fid", 2, a.count, b.count)
    cross = torch.linalg.svdvals(_covariance_factor(a).T @ _covariance_factor(b)).sum()
    traces = sum(moments.scatter.trace() / (moments.count - 1) for moments in (a, b))
    return max(0.0, float((a.mean - b.mean).square().sum() + traces - 2 * cross))


def _covariance_factor(moments: Moments) -> Tensor:
    """L, (K, rank), with L L^T the covariance."""
    values, vectors = torch.linalg.eigh(moments.scatter / (moments.count - 1))
    # Cholesky needs full rank. Eigenvalues below K times the machine's precision, relative to the largest, are rounding
    # (the same threshold as numpy.linalg.matrix_rank), and their directions are dropped.
    significant = values > values[-1] * len(values) * torch.finfo(values.dtype).eps
    return torch.as_tensor(vectors[:, significant] * values[significant].sqrt())


def _is_biased(inputs: MetricInputs) -> bool:
    samples, reference = inputs.moments
    return min(samples.count, reference.count) < IMAGES_PER_FEATURE * len(reference.mean)


def _compute(inputs: MetricInputs) -> MetricResult:
    samples, reference = inputs.moments
    return {"value": frechet_distance(reference, samples)} | ({"biased": 1.0} if _is_biased(inputs) else {})


def _caveat(inputs: MetricInputs) -> str | None:
    features = len(inputs.moments[1].mean)
    return (
        f"fid is too high with fewer than {IMAGES_PER_FEATURE * features:,} images of each set "
        f"({IMAGES_PER_FEATURE} times {features} features): trust kid"
        if _is_biased(inputs)
        else None
    )


FID = Metric(
    compute=_compute,
    needs=frozenset({"moments"}),
    better="lower",
    ideal=0.0,
    minimum=100,
    caveat=_caveat,
    description="distance of the features' means and covariances, too high for few",
)
