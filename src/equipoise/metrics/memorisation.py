"""Memorisation: whether samples lie nearer to the training images than new images of the same kind do.

After Meehan, Chaudhuri and Dasgupta (2020), arXiv:2004.05675, and Alaa et al. (2022), arXiv:2102.08921.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from equipoise.metrics.base import MetricResult, check_finite, require
from equipoise.metrics.distances import MAX_DISTANCES, distance_blocks
from equipoise.metrics.metric import Metric, MetricInputs


@dataclass(frozen=True)
class Nearest:
    """For each of N queries the nearest vector of a base.

    Attributes:
        distances: (N,) float64, Euclidean.
        indices: (N,) int64, positions in the base; the first, where several are equally near.
    """

    distances: Tensor
    indices: Tensor

    def merge(self, later: "Nearest") -> "Nearest":
        """Nearest in two parts of a base; of equally near ones that of `self`, the earlier part."""
        nearer = later.distances < self.distances
        return Nearest(
            torch.where(nearer, later.distances, self.distances), torch.where(nearer, later.indices, self.indices)
        )


def nearest(queries: Tensor, base: Iterable[Tensor], first: int = 0, *, max_distances: int = MAX_DISTANCES) -> Nearest:
    """Nearest vector of each query in a base that is read in parts.

    Args:
        queries: (N, ...) features or pixels; the dimensions after the first are one vector.
        base: parts (n, ...) of the base in order, of any sizes.
        first: position of the base's first vector, where processes search a part each.
        max_distances: in memory at once.

    Raises:
        UsageError: a feature is not finite.
    """
    check_finite(queries)
    x = queries.flatten(1)
    result = Nearest(torch.full((len(x),), torch.inf, dtype=torch.float64), torch.full((len(x),), -1))
    for part in base:
        check_finite(part)
        y = part.flatten(1)
        blocks = distance_blocks(x, y, max_distances=max_distances)
        indices = torch.cat([distances.argmin(dim=1) for _, distances in blocks])
        # The blocks' distances suffice to find the nearest, but lose digits where it is very near: its own is computed
        # again, by the difference.
        pairs = zip(torch.split(x, 1024), torch.split(y[indices], 1024), strict=True)
        exact = torch.cat([(a.double() - b.double()).norm(dim=1) for a, b in pairs])
        result = result.merge(Nearest(exact, indices + first))
        first += len(part)
    return result


@dataclass(frozen=True)
class Memorisation:
    """How near samples lie to the training images, beside how near held-out images lie to them.

    Attributes:
        share: of samples that lie nearer than the nearest `tail` of M held-out images; if none is copied, in the mean
            (tail (M - 1) + 1) / (M + 1), which for 0.05 is 0.051 of 500 images and 0.067 of 50.
        nearer: chance that a sample lies nearer than a held-out image, ties counting half; 0.5 if none is copied.
    """

    share: float
    nearer: float


def memorisation(samples: Tensor, held_out: Tensor, *, tail: float = 0.05) -> Memorisation:
    """Compare distances to the nearest training image, of samples and of real images that were held out of training.

    `share` notices a few copies among many samples; `nearer` is the Mann-Whitney statistic of the test of Meehan,
    Chaudhuri and Dasgupta (2020, arXiv:2004.05675), and notices a whole set that is drawn to the training
    images. Samples of poor quality lie far from everything: values below the ideal are no sign of health.

    Args:
        samples: (N,) distances, as `nearest` finds them.
        held_out: (M,) distances.
        tail: share of held-out images below the threshold.

    Raises:
        UsageError: there is no sample, or fewer held-out images than make up a tail.
    """
    require("memorisation", 1, len(samples))
    require("memorisation on held-out images", round(1 / tail), len(held_out))
    ordered = held_out.double().sort().values
    # The rank tail (M + 1), below which a new image lies with a chance of `tail`, whatever M is (Weibull, 1939).
    threshold = float(np.quantile(ordered.numpy(), tail, method="weibull"))
    below = torch.searchsorted(ordered, samples.double(), right=False)
    up_to = torch.searchsorted(ordered, samples.double(), right=True)  # their mean counts ties by half
    return Memorisation(
        share=(samples < threshold).double().mean().item(),
        nearer=1 - (below + up_to).double().mean().item() / (2 * len(ordered)),
    )


def crowding(samples: Nearest, training: Tensor, *, max_distances: int = MAX_DISTANCES) -> Tensor:
    """For each sample its distance to the nearest training image over that image's own to the nearest other one.

    Args:
        samples: nearest training image of each of N samples, as `nearest` finds them.
        training: (L, K) vectors, two or more.
        max_distances: in memory at once.

    Returns:
        (N,) float64, 0 or more; 1 or less where a sample lies nearer to a training image than any other of these does.
        A duplicate among the training images is at distance 0 from its twin: a sample beside it has infinity, or 1 if
        it is a copy too.
    """
    found, places = torch.unique(samples.indices, return_inverse=True)
    own = training.flatten(1)
    gaps = []
    for rows, distances in distance_blocks(own[found], own, max_distances=max_distances):
        itself = found[rows, None]
        gaps.append(distances.scatter(1, itself, torch.inf).min(dim=1).values.sqrt())
    gap = torch.cat(gaps)[places]
    return torch.where((samples.distances == 0) & (gap == 0), 1.0, samples.distances / gap)


def _nearest_of_samples(inputs: MetricInputs) -> Nearest:
    return nearest(inputs.vectors[0], [inputs.training_vectors])


def _authenticity(inputs: MetricInputs) -> MetricResult:
    ratios = crowding(inputs.shared(_nearest_of_samples), inputs.training_vectors)
    held_out = crowding(nearest(inputs.vectors[1], [inputs.training_vectors]), inputs.training_vectors)
    # A copy of an image that the data have twice is as near as its twin: no new image, and so not authentic.
    return {"value": (ratios > 1).double().mean().item(), "real": (held_out > 1).double().mean().item()}


def _compute(inputs: MetricInputs) -> MetricResult:
    held_out = nearest(inputs.vectors[1], [inputs.training_vectors])
    result = memorisation(inputs.shared(_nearest_of_samples).distances, held_out.distances)
    return {"value": result.share, "nearer": result.nearer}


MEMORISATION = Metric(
    compute=_compute,
    needs=frozenset({"vectors"}),
    needs_training=True,
    better="lower",
    ideal=0.05,
    description="share of samples suspiciously near to a training image",
)
AUTHENTICITY = Metric(
    compute=_authenticity,
    needs=frozenset({"vectors"}),
    needs_training=True,
    better="reference",
    ideal=None,
    description="share of samples farther from a training image than its nearest neighbour is",
)
