"""Packed images: a folder with a memory-mapped array, labels if any, and a note of what was packed."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from equipoise.data.decode import Pixels
from equipoise.data.sources.base import Labels

IMAGES, LABELS, ABOUT = "images.npy", "labels.npy", "about.json"


@dataclass(frozen=True)
class Images:
    """Images of one shape, on disk and read as they are asked for.

    Attributes:
        path: the packed .npy, uint8 (N, C, H, W); the note beside it is `about.json`.
        labels: (N,) int64, or None.
        classes: names of the labels 0, 1, .., where the data gives them.
        skipped: name and reason of every image that could not be used.
        fingerprint: sha256 of the packed pixels, their shape and their labels, in hexadecimal: what training sees.
    """

    path: Path
    labels: Labels | None = field(repr=False)
    classes: tuple[str, ...] | None = field(repr=False)
    skipped: list[tuple[str, str]] = field(repr=False)
    fingerprint: str
    pixels: Pixels = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        _, channels, height, width = self.pixels.shape
        return channels, height, width

    def batch(self, indices: ArrayLike) -> Tensor:
        """Copy the images at `indices` (n,), each from 0 to len - 1, as uint8 (n, C, H, W)."""
        return torch.from_numpy(self.pixels[np.asarray(indices, np.int64)])

    def __reduce__(self) -> tuple[Callable[[Path], "Images"], tuple[Path]]:
        return read_images, (self.path.parent,)  # another process maps the same file


def read_images(folder: Path) -> Images:
    """Map what was packed into `folder`.

    Raises:
        OSError, ValueError, KeyError, TypeError: the folder is not there, or not whole.
    """
    about: dict[str, Any] = json.loads((folder / ABOUT).read_text())
    pixels = np.load(folder / IMAGES, mmap_mode="r", allow_pickle=False)
    if list(pixels.shape) != about["shape"] or pixels.dtype != np.uint8:
        raise ValueError(f"{folder} holds {pixels.dtype} {pixels.shape}, not the uint8 {about['shape']} packed there")
    return Images(
        path=folder / IMAGES,
        labels=np.load(folder / LABELS, allow_pickle=False) if about["labelled"] else None,
        classes=tuple(about["classes"]) if about["classes"] else None,
        skipped=[(name, reason) for name, reason in about["skipped"]],
        fingerprint=about["fingerprint"],
        pixels=pixels,
    )
