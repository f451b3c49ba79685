"""What one pass over a set of images leaves behind: enough for every score, in bounded memory.

Which images are kept, and which patches are cut, depends on the seed and an image's position alone. So the chunks may
have any size, and processes may each take a contiguous part: merged in order, the parts are the whole.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from equipoise.errors import UsageError
from equipoise.metrics.base import check_finite
from equipoise.metrics.frechet import Moments
from equipoise.metrics.pyramid import IN_ALL, patches, patches_per_image
from equipoise.randomness import keyed_generator

Need = Literal["vectors", "moments", "probabilities", "patches", "pictures"]
"""What a score can need of a set: K float32 an image, (K, K) float64, T float32 an image, and two bounded samples."""

PICTURES, BYTES = 2000, 2**28  # pictures kept, and their bytes, at most


class Chunk(NamedTuple):
    """Consecutive images of a set, with what the extractor made of them; on the CPU.

    Attributes:
        images: (n, C, H, W) uint8.
        vectors: (n, K) float32, or None.
        probabilities: (n, T) float32, or None.
    """

    images: Tensor
    vectors: Tensor | None = None
    probabilities: Tensor | None = None


@dataclass(frozen=True)
class Collected:
    """A set of images, or a contiguous part of one, as the scores see it. What was not asked for is None, or empty.

    Attributes:
        count: how many images.
        vectors: (N, K) float32 features.
        moments: theirs.
        probabilities: (N, T) float32.
        patches: for each level of the images' pyramids, finest first, (P, C, 7, 7) float32; 65,536 at most.
        pictures: (M, C, H, W) uint8, chosen at random; 2,000 and 256 MiB at most.
    """

    count: int
    vectors: Tensor | None = None
    moments: Moments | None = None
    probabilities: Tensor | None = None
    patches: tuple[Tensor, ...] = ()
    pictures: Tensor | None = None

    def tensors(self) -> dict[str, Tensor]:
        """As named tensors, to keep or to send to another process."""
        single = {"vectors": self.vectors, "probabilities": self.probabilities, "pictures": self.pictures}
        moments = self.moments.tensors() if self.moments else {}
        return {
            "count": torch.tensor(self.count),
            **{name: rows for name, rows in single.items() if rows is not None},
            **{f"moments.{name}": tensor for name, tensor in moments.items()},
            **{f"patches.{level}": rows for level, rows in enumerate(self.patches)},
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Collected":
        """What `tensors()` gave."""
        moments = {name.removeprefix("moments."): t for name, t in tensors.items() if name.startswith("moments.")}
        return cls(
            count=int(tensors["count"]),
            vectors=tensors.get("vectors"),
            moments=Moments.from_tensors(moments) if moments else None,
            probabilities=tensors.get("probabilities"),
            patches=tuple(tensors[f"patches.{n}"] for n in range(sum(name.startswith("patches.") for name in tensors))),
            pictures=tensors.get("pictures"),
        )


def share(total: int, rank: int, size: int) -> range:
    """The positions of process `rank` out of `size`: contiguous, so that parts in order of rank are the whole."""
    return range(total * rank // size, total * (rank + 1) // size)


def collect(chunks: Iterable[Chunk], needs: frozenset[Need], *, total: int, first: int = 0, seed: int = 0) -> Collected:
    """Pass over the images first, first + 1, .. of a set, once.

    Args:
        chunks: the images in order, any number at a time; one chunk or more.
        needs: what the scores will need.
        total: images in the whole set, over all processes.
        first: the position of the first image here.
        seed: of what is kept.

    Raises:
        UsageError: a feature is not finite, or the images are too small for patches.
    """
    parts: list[Collected] = []
    moments: Moments | None = None  # merged at once: each takes K² numbers
    for chunk in chunks:
        parts.append(_part(chunk, needs, total, first, seed))
        if "moments" in needs:
            assert chunk.vectors is not None  # noqa: S101
            seen = Moments.of(chunk.vectors)
            moments = moments.merge(seen) if moments else seen
        first += len(chunk.images)
    if not parts:
        raise UsageError("there are no images to score: give a set that holds some")
    return _joined(parts, moments)


def merge(parts: Sequence[Collected]) -> Collected:
    """Contiguous parts, in their order, as one set."""
    moments = [part.moments for part in parts if part.moments]
    return _joined(parts, reduce(Moments.merge, moments) if moments else None)


def _joined(parts: Sequence[Collected], moments: Moments | None) -> Collected:
    return Collected(
        count=sum(part.count for part in parts),
        vectors=_rows([part.vectors for part in parts]),
        moments=moments,
        probabilities=_rows([part.probabilities for part in parts]),
        patches=tuple(map(torch.cat, zip(*(part.patches for part in parts), strict=True))),
        pictures=_rows([part.pictures for part in parts]),
    )


def _rows(parts: Sequence[Tensor | None]) -> Tensor | None:
    given = [part for part in parts if part is not None]
    assert len(given) in (0, len(parts)), "every part was collected for the same needs"  # noqa: S101
    return torch.cat(given) if given else None


def _part(chunk: Chunk, needs: frozenset[Need], total: int, first: int, seed: int) -> Collected:
    for rows in (chunk.vectors, chunk.probabilities):
        if rows is not None:
            check_finite(rows)
    count = len(chunk.images)
    cut: tuple[Tensor, ...] = ()
    if "patches" in needs:
        chosen = _chosen("patches", total, IN_ALL, first, count, seed)
        cut = patches(chunk.images[chosen], [first + n for n in chosen], patches_per_image(total), seed)
    pictures = None
    if "pictures" in needs:
        limit = min(PICTURES, BYTES // chunk.images[0].numel()) // 2 * 2
        pictures = chunk.images[_chosen("pictures", total, limit, first, count, seed)]
    return Collected(
        count=count,
        vectors=chunk.vectors if "vectors" in needs else None,
        probabilities=chunk.probabilities if "probabilities" in needs else None,
        patches=cut,
        pictures=pictures,
    )


def _chosen(purpose: str, total: int, limit: int, first: int, count: int, seed: int) -> list[int]:
    """Which of the images first .. first + count - 1, numbered from 0, are among `limit` random ones of `total`."""
    positions = _sample(purpose, total, limit, seed)
    inside = (positions >= first) & (positions < first + count)
    return (positions[inside] - first).tolist()


@lru_cache(maxsize=2)  # each chunk asks again
def _sample(purpose: str, total: int, limit: int, seed: int) -> Tensor:
    return torch.randperm(total, generator=keyed_generator(seed, purpose))[:limit].sort().values
