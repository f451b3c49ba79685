"""Sizes of images: the resolution that a user names, and a summary of the sizes that the files have."""

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from equipoise.errors import UsageError, quoted

MAX_SIDE = 8192  # pixels
Size = tuple[int, int]  # (width, height) in pixels


def parse_resolution(resolution: int | str) -> tuple[int, int]:
    """(height, width) of a run's images, from 64 or "64" for squares, or "64x48" for width x height.

    Raises:
        UsageError: it is no such size, or a side is not from 1 to MAX_SIDE pixels.
    """
    match = re.fullmatch(r"(\d{1,9})(?:x(\d{1,9}))?", str(resolution))
    width, height = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise UsageError(
            f"the resolution must be a side such as 64, or a width and height such as 64x48, "
            f"from 1 to {MAX_SIDE} pixels, not {quoted(resolution)}"
        )
    return height, width


@dataclass(frozen=True)
class Sizes:
    """Summary of sizes (width, height): smallest and largest by area, median by side."""

    smallest: Size
    median: Size
    largest: Size
    histogram: dict[Size, int]  # the most frequent first


def summarise(sizes: Counter[Size]) -> Sizes:
    """Summary of one or more sizes, with how often each occurs."""
    by_area = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    widths, heights = np.array(list(sizes)).T
    counts = np.array(list(sizes.values()))
    median = _weighted_median(widths, counts), _weighted_median(heights, counts)
    return Sizes(by_area[0], median, by_area[-1], dict(sizes.most_common()))


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> int:
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    return int(values[order][np.searchsorted(cumulative, cumulative[-1] / 2)])
