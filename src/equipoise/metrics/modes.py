"""Which modes of the data the samples reach, and in which proportions."""

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.metrics.base import check_finite, require
from equipoise.metrics.inception import entropy

LEAST = 0.1  # a mode is covered by a tenth of the samples that it should have


@dataclass(frozen=True)
class Modes:
    """How samples spread over modes.

    Attributes:
        covered: modes that get a tenth or more of the clear samples which the reference has there.
        of: modes in which the reference has clear ones.
        clear: share of clear samples: those that a classifier is sure of, or that lie within 3 sigma of a centre.
        histogram: (T,) float64, each mode's share of all samples; sums to 1.
        kl: Kullback-Leibler divergence of the samples' histogram from the reference's, in nats; 0 if equal, infinite if
            the samples have a mode that the reference has not.
        js: Jensen-Shannon divergence between the two, in nats, from 0 to ln 2.
    """

    covered: int
    of: int
    clear: float
    histogram: Tensor
    kl: float
    js: float


def class_modes(probabilities: Tensor, references: Tensor, *, sure: float = 0.9) -> Modes:
    """Modes that are the classes of a classifier, which has judged the samples.

    Args:
        probabilities: (N, T) of the samples, each row summing to 1.
        references: (M, T) of real images, best as judged by the same classifier; labels as one-hot rows serve too.
        sure: the probability of its class above which an image is clear.

    Raises:
        UsageError: a set is empty, or a probability is not finite.
    """
    require("modes", 1, len(probabilities), len(references))
    check_finite(probabilities)
    check_finite(references)
    return _modes(_shares(probabilities, sure), _shares(references, sure))


def _shares(probabilities: Tensor, sure: float) -> tuple[Tensor, Tensor]:
    best = probabilities.max(dim=1)
    return _histograms(best.indices, best.values > sure, probabilities.shape[1])


def _histograms(mode: Tensor, clear: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Each mode's share of all samples, and of those its clear ones' share; (count,) each."""
    everything, sure = (torch.bincount(part, minlength=count).double() / len(mode) for part in (mode, mode[clear]))
    return everything, sure


def _modes(samples: tuple[Tensor, Tensor], references: tuple[Tensor, Tensor]) -> Modes:
    """From the shares that `_histograms` gives of each."""
    (histogram, reached), (expected, due) = samples, references
    present = due > 0
    return Modes(
        covered=int((present & (reached >= LEAST * due)).sum()),
        of=int(present.sum()),
        clear=reached.sum().item(),
        histogram=histogram,
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
        sigma: their deviation along each axis.

    Raises:
        UsageError: there is no sample, or one is not finite.
    """
    require("modes", 1, len(samples))
    check_finite(samples)
    points, centres = samples.double(), centres.double()
    near = torch.cdist(points, centres).min(dim=1)
    clear = near.values <= 3 * sigma
    even = torch.full((len(centres),), 1 / len(centres), dtype=torch.float64)
    modes = _modes(_histograms(near.indices, clear, len(centres)), (even, even))
    spread = _deviation_within(points[clear], near.indices[clear], len(centres)) / (sigma * _kept(centres.shape[1]))
    return ToyModes(**vars(modes), spread=spread)


def _deviation_within(points: Tensor, mode: Tensor, count: int) -> float:
    """Pooled standard deviation along an axis of points about their modes' means; 0 where none has company."""
    sizes = torch.bincount(mode, minlength=count).clamp(min=1)
    means = torch.zeros(count, points.shape[1], dtype=points.dtype).index_add_(0, mode, points) / sizes[:, None]
    freedom = len(points) - len(torch.unique(mode))
    squares = (points - means[mode]).square().sum() / max(1, freedom * points.shape[1])
    return float(squares.sqrt())


def _kept(dimensions: int) -> float:
    """What cutting a Gaussian at 3 sigma leaves of its deviation along an axis: 0.974 in 2-D."""
    half = torch.tensor(dimensions / 2, dtype=torch.float64)
    reach = torch.tensor(4.5, dtype=torch.float64)  # 3² / 2
    return float((torch.special.gammainc(half + 1, reach) / torch.special.gammainc(half, reach)).sqrt())
