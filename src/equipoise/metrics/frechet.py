"""Fréchet inception distance, and the moments that it is computed from."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Self

import torch
from torch import Tensor

from equipoise.metrics.base import check_finite, require

ROWS = 4096  # vectors in float64 at once


@dataclass(frozen=True)
class Moments:
    """Count, mean and scatter of a set of feature vectors; those of two sets merge into those of their union.

    Attributes:
        count: how many vectors.
        mean: (K,) float64.
        scatter: (K, K) float64, the sum of (x - mean)(x - mean)^T; the covariance is scatter / (count - 1).
    """

    count: int
    mean: Tensor
    scatter: Tensor

    @classmethod
    def of(cls, vectors: Tensor) -> "Moments":
        """Moments of (N, K) vectors, one or more.

        Raises:
            UsageError: a vector is not finite.
        """
        check_finite(vectors)
        return reduce(cls.merge, map(cls._of_block, torch.split(vectors, ROWS)))

    @classmethod
    def _of_block(cls, vectors: Tensor) -> "Moments":
        rows = vectors.double()
        mean = rows.mean(dim=0)
        centred = rows - mean
        return cls(len(rows), mean, centred.T @ centred)

    def merge(self, other: Self) -> "Moments":
        """Moments of both sets together (Chan, Golub and LeVeque, 1983)."""
        count = self.count + other.count
        shift = other.mean - self.mean
        scatter = self.scatter + other.scatter
        scatter.addr_(shift, shift, alpha=self.count * other.count / count)
        return Moments(count, self.mean + shift * (other.count / count), scatter)

    def tensors(self) -> dict[str, Tensor]:
        """As named tensors, to keep or to send."""
        return {"count": torch.tensor(self.count), "mean": self.mean, "scatter": self.scatter}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Moments":
        """The moments that `tensors()` gave."""
        return cls(int(tensors["count"]), tensors["mean"], tensors["scatter"])


def frechet_distance(a: Moments, b: Moments) -> float:
    """Squared Fréchet distance between the Gaussians with two sets' moments: FID, where the features are Inception's.

    |m_a - m_b|² + tr S_a + tr S_b - 2 tr (S_a S_b)^{1/2} (Dowson and Landau, 1982; Heusel et al., 2017,
    arXiv:1706.08500). With S = L L^T the last trace is the sum of the singular values of L_a^T L_b: no
    root is taken of a small, noisy eigenvalue, so fewer images than features do no harm.

    Returns:
        0 or more; 0 for equal sets.

    Raises:
        UsageError: a set has fewer than two images.
    """
    require("fid", 2, a.count, b.count)
    cross = torch.linalg.svdvals(_root(a).T @ _root(b)).sum()
    spread = sum(moments.scatter.trace() / (moments.count - 1) for moments in (a, b))
    return max(0.0, float((a.mean - b.mean).square().sum() + spread - 2 * cross))


def _root(moments: Moments) -> Tensor:
    """L, (K, rank), with L L^T the covariance; directions that are nothing but rounding are left out."""
    values, vectors = torch.linalg.eigh(moments.scatter / (moments.count - 1))
    kept = values > values[-1] * len(values) * torch.finfo(values.dtype).eps
    return torch.as_tensor(vectors[:, kept] * values[kept].sqrt())
