"""Sufficient statistics of a set of images: what one pass over them leaves, enough for every metric, in bounded memory.

Which images are kept, and which patches are cut, depends on the seed and an image's position alone. So batches may
have any size, and processes may each take a contiguous part: merged in order, the parts equal the whole.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from equipoise.errors import UsageError
from equipoise.metrics.base import check_finite
from equipoise.metrics.moments import Moments
from equipoise.metrics.pyramid import patches, patches_per_image
from equipoise.randomness import random_places

Statistic = Literal["vectors", "moments", "probabilities", "patches", "pictures"]
"""Memory: K float32 an image, K float64 an image but (K, K) at most, T float32 an image, and two random samples of
bounded size."""


@dataclass(frozen=True)
class Limits:
    """How much of a large set is kept, chosen at random.

    Attributes:
        pictures: number of whole images.
        picture_bytes: bytes of those.
        patches: number of patches, for each level of the pyramid.
        patches_per_image: number of patches cut from one image, for each level; 128 as published.
    """

    pictures: int = 2000
    picture_bytes: int = 2**28
    patches: int = 2**16
    patches_per_image: int = 128


DEFAULT_LIMITS = Limits()


class FeatureBatch(NamedTuple):
    """Consecutive images of a set, with their features; on the CPU.

    Attributes:
        images: (n, C, H, W) uint8.
        vectors: (n, K) float32, or None.
        probabilities: (n, T) float32, or None.
    """

    images: Tensor
    vectors: Tensor | None = None
    probabilities: Tensor | None = None


@dataclass(frozen=True)
class Statistics:
    """Statistics of a set of images, or of a contiguous part of one. What was not required is None, or empty.

    Attributes:
        count: number of images.
        vectors: (N, K) float32 features.
        moments: of the features.
        probabilities: (N, T) float32.
        patches: for each level of the images' pyramids, finest first, (P, C, 7, 7) float32; P at most 65,536.
        pictures: (M, C, H, W) uint8, chosen at random; at most 2,000, and 256 MiB.
    """

    count: int
    vectors: Tensor | None = None
    moments: Moments | None = None
    probabilities: Tensor | None = None
    patches: tuple[Tensor, ...] = ()
    pictures: Tensor | None = None

    def tensors(self) -> dict[str, Tensor]:
        """Statistics as named tensors, to store or to send to another process."""
        single = {"vectors": self.vectors, "probabilities": self.probabilities, "pictures": self.pictures}
        moments = self.moments.tensors() if self.moments else {}
        return {
            "count": torch.tensor(self.count),
            **{name: rows for name, rows in single.items() if rows is not None},
            **{f"moments.{name}": tensor for name, tensor in moments.items()},
            **{f"patches.{level}": rows for level, rows in enumerate(self.patches)},
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Statistics":
        """Statistics from what `tensors()` returned."""
        moments = {name.removeprefix("moments."): t for name, t in tensors.items() if name.startswith("moments.")}
        return cls(
            count=int(tensors["count"]),
            vectors=tensors.get("vectors"),
            moments=Moments.from_tensors(moments) if moments else None,
            probabilities=tensors.get("probabilities"),
            patches=tuple(tensors[f"patches.{n}"] for n in range(sum(name.startswith("patches.") for name in tensors))),
            pictures=tensors.get("pictures"),
        )


def partition(total: int, rank: int, world_size: int) -> range:
    """Positions that process `rank` reads: contiguous, so that the parts in order of rank are the whole."""
    return range(total * rank // world_size, total * (rank + 1) // world_size)


def accumulate(
    batches: Iterable[FeatureBatch],
    required: frozenset[Statistic],
    *,
    total: int,
    first: int = 0,
    seed: int = 0,
    limits: Limits = DEFAULT_LIMITS,
) -> Statistics:
    """Statistics of the images first, first + 1, .. of a set, from one pass over them.

    Args:
        batches: the images in order, any number at a time; one batch or more.
        required: what to keep.
        total: number of images in the whole set, over all processes.
        first: position of the first image here.
        seed: of the choice of pictures and patches.
        limits: of pictures and patches.

    Raises:
        UsageError: there is no image, a feature is not finite, or the images are too small for patches.
    """
    parts: list[Statistics] = []
    moments: Moments | None = None  # merged batch by batch: a list of them would take K² numbers each
    for batch in batches:
        for rows in (batch.vectors, batch.probabilities):
            if rows is not None:
                check_finite(rows)
        parts.append(_batch_statistics(batch, required, total, first, seed, limits))
        if "moments" in required:
            assert batch.vectors is not None  # noqa: S101
            own = Moments.from_vectors(batch.vectors)
            moments = moments.merge(own) if moments else own
        first += len(batch.images)
    if not parts:
        raise UsageError("there are no images to score: give a set that holds some")
    return _concatenate(parts, moments)


def merge_statistics(parts: Sequence[Statistics]) -> Statistics:
    """Statistics of a whole set from those of its contiguous parts, in their order."""
    moments = [part.moments for part in parts if part.moments]
    return _concatenate(parts, reduce(Moments.merge, moments) if moments else None)


def _concatenate(parts: Sequence[Statistics], moments: Moments | None) -> Statistics:
    def rows(tensors: list[Tensor | None]) -> Tensor | None:
        present = [tensor for tensor in tensors if tensor is not None]
        assert len(present) in (0, len(parts)), "every part has the same statistics"  # noqa: S101
        return torch.cat(present) if present else None

    return Statistics(
        count=sum(part.count for part in parts),
        vectors=rows([part.vectors for part in parts]),
        moments=moments,
        probabilities=rows([part.probabilities for part in parts]),
        patches=tuple(map(torch.cat, zip(*(part.patches for part in parts), strict=True))),
        pictures=rows([part.pictures for part in parts]),
    )


def _batch_statistics(
    batch: FeatureBatch, required: frozenset[Statistic], total: int, first: int, seed: int, limits: Limits
) -> Statistics:
    """Statistics of one batch, whose first image is at position `first`, but for the moments."""

    def chosen(purpose: str, limit: int) -> list[int]:
        """Indices in the batch of the images that are among `limit` random ones of the whole set."""
        positions = random_places(total, limit, seed, purpose)
        inside = (positions >= first) & (positions < first + len(batch.images))
        return (positions[inside] - first).tolist()

    cut: tuple[Tensor, ...] = ()
    if "patches" in required:
        count = patches_per_image(total, limits.patches_per_image, limits.patches)
        indices = chosen("patches", limits.patches)
        cut = patches(batch.images[indices], [first + index for index in indices], count, seed)
    pictures = None
    if "pictures" in required:
        limit = min(limits.pictures, limits.picture_bytes // batch.images[0].numel())
        pictures = batch.images[chosen("pictures", limit // 2 * 2)]  # an even number, for they are compared in pairs
    return Statistics(
        count=len(batch.images),
        vectors=batch.vectors if "vectors" in required else None,
        probabilities=batch.probabilities if "probabilities" in required else None,
        patches=cut,
        pictures=pictures,
    )
