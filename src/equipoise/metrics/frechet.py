"""Fréchet inception distance (FID), of Heusel et al. (2017), arXiv:1706.08500, and its limit for many samples."""

import torch
from torch import Tensor

from equipoise.metrics.base import MetricResult, require
from equipoise.metrics.metric import Metric, MetricInputs
from equipoise.metrics.moments import Moments
from equipoise.randomness import keyed_generator

IMAGES_PER_FEATURE = 10  # from which on the bias of FID is small
SIZES = 15  # numbers of samples from which FID is extrapolated, as published


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
    factors = a.covariance_factor, b.covariance_factor  # (K, N) of N vectors, where these are fewer than features
    cross = torch.linalg.svdvals(factors[0].T @ factors[1]).sum()
    traces = sum(factor.square().sum() for factor in factors)
    return max(0.0, float((a.mean - b.mean).square().sum() + traces - 2 * cross))


def extrapolated_distance(samples: Tensor, reference: Moments, *, sizes: int = SIZES, seed: int = 0) -> float:
    """FID∞: the Fréchet distance that infinitely many samples would have, from a line through FID_N over 1/N.

    Chong and Forsyth (2020, arXiv:1911.07023), section 4: FID_N is too high by about a constant over N, which
    depends on the generator. FID_N is taken of `sizes` random subsets, from a tenth of the samples to all; the ordinate
    at 1/N = 0 is FID∞. The bias by the reference's number of images remains, as it does there.

    Args:
        samples: (N, K) features.
        reference: moments of the real images, all of them in every FID_N.
        sizes: number of subsets.
        seed: of their draws.

    Returns:
        A value that may lie a little below 0.

    Raises:
        UsageError: there are fewer than 20 samples, or a feature is not finite.
    """
    require("fid-infinity", 20, len(samples))
    numbers = torch.linspace(len(samples) // 10, len(samples), sizes).long().tolist()
    distances = []
    for number in numbers:
        order = torch.randperm(len(samples), generator=keyed_generator(seed, "fid-infinity", number))
        distances.append(frechet_distance(reference, Moments.from_vectors(samples[order[:number]])))
    line = torch.tensor([[1.0, 1 / number] for number in numbers], dtype=torch.float64)
    return float(torch.linalg.lstsq(line, torch.tensor(distances, dtype=torch.float64)[:, None]).solution[0])


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


def _compute_extrapolated(inputs: MetricInputs) -> MetricResult:
    return {"value": extrapolated_distance(inputs.vectors[0], inputs.moments[1], seed=inputs.seed)}


def _caveat_extrapolated(inputs: MetricInputs) -> str | None:
    count, features = len(inputs.vectors[0]), len(inputs.moments[1].mean)
    return (
        f"fid-infinity is extrapolated from subsets of which some have fewer than {features} samples, as many as there "
        f"are features: FID is no line over 1/N there, so give {10 * features:,} samples or trust kid"
        if count < 10 * features
        else None
    )


FID_INFINITY = Metric(
    compute=_compute_extrapolated,
    needs=frozenset({"vectors", "moments"}),
    better="lower",
    ideal=0.0,
    minimum=100,
    by_default=lambda _: False,  # fifteen FIDs
    caveat=_caveat_extrapolated,
    description="fid that infinitely many samples would have",
)
