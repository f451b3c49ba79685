"""The sizes of images: as a user asks for them, and in short as they were given."""

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from equipoise.errors import UsageError

MAX_SIDE = 8192  # of a run's images, in pixels
Size = tuple[int, int]  # (width, height) in pixels


def parse_resolution(resolution: int | str) -> tuple[int, int]:
    """Read the size of a run's images, 64 or "64" for squares and "64x48" for width x height, as (height, width).

    Raises:
        UsageError: it is no such size, or a side is not from 1 to MAX_SIDE pixels.
    """
    match = re.fullmatch(r"(\d{1,9})(?:x(\d{1,9}))?", str(resolution))
    width, height = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise UsageError(
            f"the resolution must be a side such as 64, or a width and height such as 64x48, "
            f"from 1 to {MAX_SIDE} pixels, not {resolution}"
        )
    return height, width


@dataclass(frozen=True)
class Sizes:
    """How large the images are, as (width, height); smallest and largest by area, median by side."""

    smallest: Size
    median: Size
    largest: Size
    histogram: dict[Size, int]  # the most frequent first


def summarise(sizes: Counter[Size]) -> Sizes:
    """Sum up one or more sizes and how often each occurs."""
    by_area = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    counts = list(sizes.values())
    sides = np.array(list(sizes)).T
    width, height = (_weighted_median(side, np.array(counts)) for side in sides)
    return Sizes(by_area[0], (width, height), by_area[-1], dict(sizes.most_common()))


def _weighted_median(values: np.ndarray, counts: np.ndarray) -> int:
    order = np.argsort(values)
    reached = np.cumsum(counts[order])
    return int(values[order][np.searchsorted(reached, reached[-1] / 2)])
