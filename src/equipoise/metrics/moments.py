"""Count, mean and scatter of feature vectors, from which FID is computed."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Self

import torch
from torch import Tensor

from equipoise.metrics.base import check_finite

BLOCK = 4096  # vectors in float64 at once


@dataclass(frozen=True)
class Moments:
    """Count, mean and scatter of a set of feature vectors; those of two sets merge into those of their union.

    Attributes:
        count: number of vectors.
        mean: (K,) float64.
        scatter: (K, K) float64, the sum of (x - mean)(x - mean)^T; the covariance is scatter / (count - 1).
    """

    count: int
    mean: Tensor
    scatter: Tensor

    @classmethod
    def from_vectors(cls, vectors: Tensor) -> "Moments":
        """Moments of (N, K) vectors, N >= 1.

        Raises:
            UsageError: a vector is not finite.
        """
        check_finite(vectors)
        blocks = []
        for block in torch.split(vectors, BLOCK):
            rows = block.double()
            mean = rows.mean(dim=0)
            centred = rows - mean  # E x x^T - m m^T would cancel where the mean is large beside the deviation
            blocks.append(cls(len(rows), mean, centred.T @ centred))
        return reduce(cls.merge, blocks)

    def merge(self, other: Self) -> "Moments":
        """Moments of the union of both sets (Chan, Golub and LeVeque, 1983)."""
        count = self.count + other.count
        shift = other.mean - self.mean
        scatter = self.scatter + other.scatter
        scatter.addr_(shift, shift, alpha=self.count * other.count / count)
        return Moments(count, self.mean + shift * (other.count / count), scatter)

    def tensors(self) -> dict[str, Tensor]:
        """Moments as named tensors, to store or to send to another process."""
        return {"count": torch.tensor(self.count), "mean": self.mean, "scatter": self.scatter}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Moments":
        """Moments from what `tensors()` returned."""
        return cls(int(tensors["count"]), tensors["mean"], tensors["scatter"])
