"""Count, mean and scatter of feature vectors, from which FID is computed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
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
        centred: (count, K) float64, x - mean, in place of the scatter where that would have more numbers: pixels of
            64x64 in colour would take 1.2 GB, and hours to factor, however few they are.
    """

    count: int
    mean: Tensor
    scatter: Tensor | None = None
    centred: Tensor | None = None

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
            blocks.append(cls._of_centred(mean, centred))
        return reduce(cls.merge, blocks)

    @classmethod
    def _of_centred(cls, mean: Tensor, centred: Tensor) -> "Moments":
        few = len(centred) <= len(mean)
        return cls(len(centred), mean, None if few else centred.T @ centred, centred if few else None)

    def merge(self, other: Self) -> "Moments":
        """Moments of the union of both sets (Chan, Golub and LeVeque, 1983)."""
        count = self.count + other.count
        shift = other.mean - self.mean
        mean = self.mean + shift * (other.count / count)
        if self.centred is not None and other.centred is not None:
            both = torch.cat([self.centred + (self.mean - mean), other.centred + (other.mean - mean)])
            return self._of_centred(mean, both)
        scatter = self._scatter() + other._scatter()
        scatter.addr_(shift, shift, alpha=self.count * other.count / count)
        return Moments(count, mean, scatter)

    @cached_property
    def covariance_factor(self) -> Tensor:
        """L, (K, R), with L L^T the covariance; of two vectors or more, and computed once."""
        if self.centred is not None:
            return self.centred.T / math.sqrt(self.count - 1)
        values, vectors = torch.linalg.eigh(self._scatter() / (self.count - 1))
        # Cholesky needs full rank. Eigenvalues below K times the machine's precision, relative to the largest, are
        # rounding (the same threshold as numpy.linalg.matrix_rank), and their directions are dropped.
        significant = values > values[-1] * len(values) * torch.finfo(values.dtype).eps
        return torch.as_tensor(vectors[:, significant] * values[significant].sqrt())

    def _scatter(self) -> Tensor:
        if self.scatter is not None:
            return self.scatter
        assert self.centred is not None, "one of the two is there"  # noqa: S101
        return self.centred.T @ self.centred

    def tensors(self) -> dict[str, Tensor]:
        """Moments as named tensors, to store or to send to another process."""
        either = {"scatter": self.scatter, "centred": self.centred}
        return {
            "count": torch.tensor(self.count),
            "mean": self.mean,
            **{name: tensor for name, tensor in either.items() if tensor is not None},
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Moments":
        """Moments from what `tensors()` returned."""
        return cls(int(tensors["count"]), tensors["mean"], tensors.get("scatter"), tensors.get("centred"))
