"""Packed images: a folder with one array, the images' digests, their labels if any, and about.json."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, TypeAdapter
from torch import Tensor

from equipoise.data.decode import Pixels
from equipoise.data.digests import AUTO_SHARE, Digests, HeldOut, held_out, usable_partition
from equipoise.data.feed import FeedBatch
from equipoise.data.order import indices
from equipoise.data.packed.rows import Rows
from equipoise.data.sources.arrays import npy_rows, read_all
from equipoise.data.sources.base import Labels
from equipoise.errors import UsageError
from equipoise.reading import parse_json, read_bytes

IMAGES, LABELS, DIGESTS, ABOUT = "images.npy", "labels.npy", "digests.npy", "about.json"
HELD_OUT = "held_out.npy"
MAX_HELD_OUT = 0.5
MOST_ABOUT = 2**30  # bytes of about.json, where most of millions of images were skipped


class _About(BaseModel):
    """What is read of about.json."""

    model_config = ConfigDict(strict=True)
    shape: tuple[int, int, int, int]
    fingerprint: str
    labelled: bool
    classes: tuple[str, ...] | None
    partitioned: bool
    skipped: list[tuple[str, str]]
    notes: list[str]


ABOUT_FILE = TypeAdapter(_About)


@dataclass(frozen=True)
class Images:
    """Images of one shape, on the disk and read as needed: all that were packed, or a part of them. A `Feed`.

    Attributes:
        path: the packed .npy, uint8 (N, C, H, W), beside which `about.json` lies.
        labels: (N,) int64, or None.
        classes: how many there are in all that was packed; 0 without labels.
        class_names: of the labels 0, 1, .., where the data gives them.
        skipped: name and reason of every image that could not be used.
        notes: what else is there and was not used, and what to know of the labels, in sentences.
        fingerprint: SHA-256 of the packed pixels, their shape and their labels, in hexadecimal: all that training
            depends on.
        rows: all images that were packed, in the file.
        digests: (N,) uint64, each image's `content_digest`, the same at every resolution.
        partition: (N,) the images that the data itself holds out, some and not all; or None where it says nothing.
        selection: (N,) the places of a part's images among those packed, or None for all of them.
    """

    path: Path
    labels: Labels | None = field(repr=False)
    classes: int = field(repr=False)
    class_names: tuple[str, ...] | None = field(repr=False)
    skipped: list[tuple[str, str]] = field(repr=False)
    notes: list[str] = field(repr=False)
    fingerprint: str
    rows: Rows = field(repr=False, compare=False)
    digests: Digests = field(repr=False, compare=False)
    partition: NDArray[np.bool_] | None = field(default=None, repr=False, compare=False)
    selection: NDArray[np.int64] | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.digests)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        _, channels, height, width = self.rows.shape
        return channels, height, width

    @property
    def count(self) -> int:
        """Images in an epoch."""
        return len(self)

    @property
    def pixels(self) -> Pixels:
        """All images as uint8 (N, C, H, W): mapped, where what is touched stays resident, or for a part, a copy."""
        return self.rows.mapped() if self.selection is None else self.rows.take(self.selection)

    def batch(self, indices: ArrayLike) -> Tensor:
        """Copy the images at `indices` (n,), each from 0 to len - 1, as uint8 (n, C, H, W)."""
        places = np.asarray(indices, np.int64)
        return torch.from_numpy(self.rows.take(places if self.selection is None else self.selection[places]))

    def chunks(self, size: int = 256) -> Iterator[Tensor]:
        """Copy all images in their order, `size` at a time, the last ones fewer, as uint8 (n, C, H, W)."""
        for start in range(0, len(self), size):
            yield self.batch(np.arange(start, min(start + size, len(self))))

    def draw(
        self, batch: int, seed: int, images_seen: int, rank: int = 0, size: int = 1, readers: int | None = None
    ) -> FeedBatch:
        """Share of process `rank` of `size` in the batch that comes after `images_seen` images: see `Feed`."""
        assert batch % size == 0 and 0 <= rank < size  # noqa: S101, PT018
        share = batch // size
        places = indices(len(self), batch, seed, images_seen)[rank * share : (rank + 1) * share]
        labels = None if self.labels is None else torch.from_numpy(self.labels[places])
        return FeedBatch(self.batch(places), labels)

    def close(self) -> None:
        """Close the file, which all parts share; reading opens it anew."""
        self.rows.close()

    def tested(self, share: float) -> tuple["Images", "Images"]:
        """Images to train and choose by, and those that only a final test is to see, chosen by their content.

        Args:
            share: of all images, of which `split` then takes what it holds out.
        """
        if not share:
            return self, self._part(np.zeros(len(self), np.bool_), "none for a test")
        kept = held_out(self.digests, share)
        return self._part(~kept, f"all but {share} for a test"), self._part(kept, f"{share} for a test")

    def split(self, share: HeldOut, tested: float = 0.0) -> tuple["Images", "Images"]:
        """Images to train on, and those held out from them.

        Args:
            share: of all images, chosen by their content (see `held_out`); or auto for those that the data itself holds
                out, else AUTO_SHARE.
            tested: share of all images that `tested` has taken away; `share` of all of them is held out beside.

        Raises:
            UsageError: the share is not from 0 to MAX_HELD_OUT.
        """
        if share == "auto" and self.partition is not None:
            name = hashlib.sha256(self.partition.tobytes()).hexdigest()
            held = self.partition
            return self._part(~held, f"all but the partition {name}"), self._part(held, f"the partition {name}")
        share = AUTO_SHARE if share == "auto" else share
        if not 0 <= share <= MAX_HELD_OUT:
            raise UsageError(f"the share held out must be from 0 to {MAX_HELD_OUT}, not {share}")
        held = held_out(self.digests, share + tested)  # which holds out what was taken for the test, and more
        return self if share == 0 else self._part(~held, f"all but {share}"), self._part(held, f"{share} held out")

    def _part(self, mask: NDArray[np.bool_], name: str) -> "Images":
        fingerprint = hashlib.sha256(f"{self.fingerprint}: {name}".encode()).hexdigest()
        return self._select(np.flatnonzero(mask), fingerprint)

    def _select(self, places: NDArray[np.int64], fingerprint: str) -> "Images":
        """The images at `places` of these."""
        return replace(
            self,
            labels=None if self.labels is None else self.labels[places],
            fingerprint=fingerprint,
            digests=self.digests[places],
            partition=None if self.partition is None else usable_partition(self.partition[places]),
            selection=places if self.selection is None else self.selection[places],
        )

    def __reduce__(self) -> tuple[Callable[..., "Images"], tuple[object, ...]]:
        # Pickled as a place to open, not as pixels: another process opens the same file.
        return _reopen, (self.path.parent, self.selection, self.fingerprint)


def read_images(folder: Path) -> Images:
    """Open the images that were packed into `folder`.

    Raises:
        OSError, ValueError: the folder is not there, or not whole.
    """
    about = parse_json(ABOUT_FILE, read_bytes(folder / ABOUT, MOST_ABOUT))
    rows = npy_rows(folder / IMAGES)
    if not isinstance(rows, Rows) or rows.shape != about.shape or rows.dtype != np.uint8:
        raise ValueError(f"{folder} holds {rows.dtype} {rows.shape}, not the uint8 {about.shape} packed there")

    def each(name: str, dtype: type[np.generic]) -> NDArray[Any]:
        values = read_all(npy_rows(folder / name))
        if values.shape != (len(rows),) or values.dtype != dtype:
            raise ValueError(f"{folder} holds {len(rows)} images, and {values.dtype} {values.shape} in {name}")
        return values

    digests = each(DIGESTS, np.uint64)
    labels = each(LABELS, np.int64) if about.labelled else None
    partition = each(HELD_OUT, np.bool_) if about.partitioned else None
    names = about.classes or ()
    return Images(
        path=folder / IMAGES,
        labels=labels,
        classes=0 if labels is None else max(len(names), int(labels.max()) + 1),
        class_names=names or None,
        skipped=about.skipped,
        notes=about.notes,
        fingerprint=about.fingerprint,
        rows=rows,
        digests=digests,
        partition=usable_partition(partition),
    )


def _reopen(folder: Path, selection: NDArray[np.int64] | None, fingerprint: str) -> Images:
    whole = read_images(folder)
    return whole if selection is None else whole._select(selection, fingerprint)
