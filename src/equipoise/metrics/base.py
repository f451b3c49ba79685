"""What every metric file uses: a mean with its spread, the result's type, and refusals of unusable input."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.errors import UsageError

MetricResult = dict[str, float]
"""A metric's `value`, and its details by name, such as `spread` and `real`."""


@dataclass(frozen=True)
class Estimate:
    """Mean over `count` parts: subsets, splits or pairs of images.

    Attributes:
        value: the mean.
        spread: standard deviation over the parts (divided by `count`, as the published scores are).
        count: number of parts.
    """

    value: float
    spread: float
    count: int

    @classmethod
    def from_parts(cls, parts: Tensor) -> "Estimate":
        """Estimate from the values of its parts, (count,)."""
        return cls(parts.mean().item(), parts.std(correction=0).item(), len(parts))

    @property
    def error(self) -> float:
        """Standard error of the value, were the parts independent; infinite for one part."""
        return self.spread / math.sqrt(self.count - 1) if self.count > 1 else math.inf

    def result(self) -> MetricResult:
        """Value and spread, as metrics report them."""
        return {"value": self.value, "spread": self.spread}


def require(metric: str, minimum: int, *counts: int, of: str = "images") -> None:
    """Refuse sets of `counts` images, or of something else, if one of them is smaller than `minimum`.

    Raises:
        UsageError: a set is too small.
    """
    if min(counts) < minimum:
        raise UsageError(f"{metric} needs {minimum} {of} or more, not {min(counts)}: give more, or leave {metric} out")


def check_finite(rows: Tensor) -> None:
    """Refuse features, (n, ...), of which some are NaN or infinite.

    Raises:
        UsageError: some are.
    """
    # One sum is much cheaper than a mask as large as the features. It can overflow where no term is infinite, so it
    # only decides whether to look closer.
    if not torch.isfinite(rows.sum()):
        bad = int((~torch.isfinite(rows.flatten(1))).any(dim=1).sum())
        if bad:
            raise UsageError(f"the features of {bad} of {len(rows)} images are NaN or infinite: use another extractor")
