"""The learning rate: a warm-up, a halving whenever the convergence measure stalls, a decay; and when to stop."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import linear_regression
from typing import Any

STALLED_SCORES, STALLED_SHARE = 5, 1 / 3  # without a lower KID, and of the images seen: scores scatter, runs are slow


@dataclass(frozen=True, kw_only=True)
class Plateau:
    """What the halving remembers; goes into the checkpoint. Optimisers keep their moments when the rate changes.

    Attributes:
        factor: what the learning rate is multiplied with, from 1 down.
        best: the lowest window mean of the measure so far.
        stalled: windows since `best`.
        converged: whether the measure has stalled at the lowest factor.
    """

    factor: float = 1.0
    best: float = math.inf
    stalled: int = 0
    converged: bool = False

    def observe(self, mean: float, *, patience: int, lowest: float) -> "Plateau":
        """Take in the `mean` of the measure over one window.

        After `patience` windows without a new best the factor is halved, down to `lowest`, and the count starts anew.
        """
        if mean < self.best:
            return replace(self, best=mean, stalled=0)
        if self.stalled + 1 < patience:
            return replace(self, stalled=self.stalled + 1)
        if self.factor <= lowest:
            return replace(self, stalled=0, converged=True)
        return replace(self, stalled=0, factor=max(self.factor / 2, lowest))

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, for the checkpoint; `Plateau(**numbers)` is the way back."""
        return asdict(self)


def warmup(images_seen: int, length: int) -> float:
    """The factor of a linear warm-up over `length` images, in (0, 1]."""
    return min(1.0, (images_seen + 1) / (length + 1))


def decay(images_seen: int, images: int, share: float) -> float:
    """The factor of a linear decay to 0 over the final `share` of a run of `images`, in [0, 1]."""
    return min(1.0, (images - images_seen) / (share * images)) if share else 1.0


def lowest_if_stalled(scores: Sequence[tuple[int, float]]) -> tuple[int, float] | None:
    """The lowest KID, if it is so old that no lower one is to be expected; else None.

    A first image that is gray all over can have a lower KID than the strokes that come of it for half of a run. So it
    is not enough that the lowest is old: a line through the later half of the scores must not fall either.

    Args:
        scores: images seen and KID, in the order of time; a score that is not finite is no score.
    """
    finite = [score for score in scores if math.isfinite(score[1])]
    if len(finite) < 2 * STALLED_SCORES:
        return None
    place = min(range(len(finite)), key=lambda place: finite[place][1])
    later, last, lowest = len(finite) - 1 - place, finite[-1][0], finite[place]
    falls = linear_regression(*zip(*finite[len(finite) // 2 :], strict=True)).slope < 0
    old = later >= STALLED_SCORES and last - lowest[0] >= STALLED_SHARE * last
    return lowest if old and not falls else None
