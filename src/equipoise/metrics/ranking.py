"""How well a score tells two kinds apart: the area under the ROC curve, with an interval."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Interval(NamedTuple):
    """A value, and the ends of an interval around it."""

    value: float
    low: float
    high: float


def auroc(normal: ArrayLike, odd: ArrayLike) -> float:
    """Probability that a random odd one scores higher than a random normal one, ties counting half; in [0, 1].

    The area under the ROC curve (Hanley and McNeil 1982), from scores (N,) and (M,), the higher the odder.
    """
    ordered, others = np.sort(np.asarray(normal, np.float64)), np.asarray(odd, np.float64)
    below = np.searchsorted(ordered, others, "left") + np.searchsorted(ordered, others, "right")
    return float(below.mean() / (2 * len(ordered)))


def auroc_interval(
    normal: NDArray[np.float64], odd: NDArray[np.float64], *, share: float = 0.95, draws: int = 2_000, seed: int = 0
) -> Interval:
    """`auroc` with its percentile bootstrap interval: both kinds are drawn anew, each from its own scores."""
    generator = np.random.default_rng(seed)
    values = [auroc(generator.choice(normal, len(normal)), generator.choice(odd, len(odd))) for _ in range(draws)]
    low, high = np.quantile(values, [(1 - share) / 2, (1 + share) / 2])
    return Interval(auroc(normal, odd), float(low), float(high))
