"""What every metric shares: a value with its spread, and a plain refusal of what it cannot be computed from."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.errors import UsageError


@dataclass(frozen=True)
class Estimate:
    """A score that is a mean over `count` parts: subsets, splits or pairs of images.

    Attributes:
        value: the mean.
        spread: the standard deviation over the parts (divided by `count`, as the published scores are).
        count: how many parts.
    """

    value: float
    spread: float
    count: int

    @classmethod
    def of(cls, parts: Tensor) -> "Estimate":
        """The estimate from its parts, (count,)."""
        return cls(parts.mean().item(), parts.std(correction=0).item(), len(parts))

    @property
    def error(self) -> float:
        """The standard error of the value, were the parts independent; infinite for one part."""
        return self.spread / math.sqrt(self.count - 1) if self.count > 1 else math.inf


def require(metric: str, needed: int, *had: int) -> None:
    """Refuse sets of `had` images, if one of them is smaller than `needed`.

    Raises:
        UsageError: one is.
    """
    if min(had) < needed:
        raise UsageError(f"{metric} needs {needed} images or more, not {min(had)}: give more, or leave {metric} out")


def check_finite(rows: Tensor) -> None:
    """Refuse features, (n, ...), of which some are NaN or infinite.

    Raises:
        UsageError: some are.
    """
    if not torch.isfinite(rows.sum()):  # a sum can overflow where no term is infinite, so this is only the first look
        bad = int((~torch.isfinite(rows.flatten(1))).any(dim=1).sum())
        if bad:
            raise UsageError(f"the features of {bad} of {len(rows)} images are NaN or infinite: use another extractor")
