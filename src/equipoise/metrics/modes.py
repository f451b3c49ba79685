"""Modes of the data that the samples reach, and in which proportions: of images the classes, of toys the Gaussians."""

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.metrics.base import MetricResult, check_finite, require
from equipoise.metrics.inception import entropy
from equipoise.metrics.metric import Metric, MetricInputs

MIN_SHARE = 0.1  # a mode is covered by a tenth of the samples that it should have
MAX_CLASSES = 100  # of an extractor, up to which they are taken for the modes of the data


@dataclass(frozen=True)
class Modes:
    """How samples spread over modes.

    Attributes:
        covered: number of modes with a tenth or more of the clear samples that the reference has there.
        total: number of modes in which the reference has clear ones.
        clear: share of clear samples: those that a classifier is sure of, or that lie within 3 sigma of a centre.
        histogram: (T,) float64, each mode's share of all samples; sums to 1.
        kl: Kullback-Leibler divergence of the samples' histogram from the reference's, in nats; 0 if equal, infinite if
            the samples have a mode that the reference has not.
        js: Jensen-Shannon divergence between the two, in nats, from 0 to ln 2.
    """

    covered: int
    total: int
    clear: float
    histogram: Tensor
    kl: float
    js: float

    def result(self) -> MetricResult:
        """Number of covered modes, and the details."""
        return {"value": self.covered, "of": self.total, "clear": self.clear, "kl": self.kl, "js": self.js}


def class_modes(probabilities: Tensor, references: Tensor, *, sure: float = 0.9) -> Modes:
    """Modes that are the classes of a classifier.

    Args:
        probabilities: (N, T) of the samples, each row summing to 1.
        references: (M, T) of real images, best from the same classifier; labels as one-hot rows serve too.
        sure: probability of its class above which an image is clear.

    Raises:
        UsageError: a set is empty, or a probability is not finite.
    """
    require("modes", 1, len(probabilities), len(references))
    check_finite(probabilities)
    check_finite(references)
    count = probabilities.shape[1]
    samples, reference = (
        _histograms(best.indices, best.values > sure, count)
        for best in (probabilities.max(dim=1), references.max(dim=1))
    )
    return _compare(samples, reference)


def _histograms(mode: Tensor, clear: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Share of all samples that have each mode, and that have it clearly; (count,) each."""
    all_shares, clear_shares = (
        torch.bincount(part, minlength=count).double() / len(mode) for part in (mode, mode[clear])
    )
    return all_shares, clear_shares


def _compare(samples: tuple[Tensor, Tensor], reference: tuple[Tensor, Tensor]) -> Modes:
    """Modes from the histograms of both sets."""
    (histogram, clear), (expected, expected_clear) = samples, reference
    present = expected_clear > 0
    return Modes(
        covered=int((present & (clear >= MIN_SHARE * expected_clear)).sum()),
        total=int(present.sum()),
        clear=clear.sum().item(),
        histogram=histogram,
        # xlogy(0, 0) is 0, so that modes which neither has add nothing; rounding could leave a divergence below 0
        kl=max(0.0, (torch.xlogy(histogram, histogram) - torch.xlogy(histogram, expected)).sum().item()),
        js=max(0.0, (entropy((histogram + expected) / 2) - (entropy(histogram) + entropy(expected)) / 2).item()),
    )


@dataclass(frozen=True)
class ToyModes(Modes):
    """Modes that are Gaussians of one sigma.

    Attributes:
        spread: deviation within modes over that of the Gaussians, both of what lies within 3 sigma; 1 is ideal.
    """

    spread: float


def toy_modes(samples: Tensor, centres: Tensor, sigma: float) -> ToyModes:
    """Modes of a mixture of equal isotropic Gaussians, such as the ring of 8 and the grid of 25.

    A sample belongs to the nearest centre, and is clear within 3 sigma of it: 98.9% of true samples in 2-D.

    Args:
        samples: (N, D).
        centres: (T, D) of the Gaussians.
        sigma: standard deviation along each axis.

    Raises:
        UsageError: there is no sample, or one is not finite.
    """
    require("modes", 1, len(samples))
    check_finite(samples)
    points, centres = samples.double(), centres.double()
    near = torch.cdist(points, centres).min(dim=1)
    clear = near.values <= 3 * sigma
    uniform = torch.full((len(centres),), 1 / len(centres), dtype=torch.float64)
    modes = _compare(_histograms(near.indices, clear, len(centres)), (uniform, uniform))
    deviation = _deviation_within(points[clear], near.indices[clear], len(centres))
    return ToyModes(**vars(modes), spread=deviation / (sigma * _truncated_deviation(centres.shape[1])))


def _deviation_within(points: Tensor, mode: Tensor, count: int) -> float:
    """Pooled standard deviation along an axis of points about their modes' means; 0 where each is alone in its mode."""
    sizes = torch.bincount(mode, minlength=count).clamp(min=1)
    means = torch.zeros(count, points.shape[1], dtype=points.dtype).index_add_(0, mode, points) / sizes[:, None]
    freedom = len(points) - len(torch.unique(mode))  # one mean was estimated for each mode that has points
    squares = (points - means[mode]).square().sum() / max(1, freedom * points.shape[1])
    return float(squares.sqrt())


def _truncated_deviation(dimensions: int) -> float:
    """Standard deviation along an axis of a unit Gaussian that is cut off at 3 sigma: 0.974 in 2-D.

    The squared radius is chi-square distributed, and its mean below 9, over the dimensions, is a ratio of incomplete
    gamma functions.
    """
    half = torch.tensor(dimensions / 2, dtype=torch.float64)
    reach = torch.tensor(4.5, dtype=torch.float64)  # 3² / 2
    return float((torch.special.gammainc(half + 1, reach) / torch.special.gammainc(half, reach)).sqrt())


def _compute(inputs: MetricInputs) -> MetricResult:
    samples, reference = inputs.probabilities
    return class_modes(samples, reference).result()


MODES = Metric(
    compute=_compute,
    needs=frozenset({"probabilities"}),
    better="higher",
    ideal=None,
    by_default=lambda available: (available.classes or 0) <= MAX_CLASSES,  # ImageNet's classes are not the data's
    description="classes, or modes, of the real data that the samples reach",
)
