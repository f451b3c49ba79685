"""The sizes of images as they were given, in short."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

Size = tuple[int, int]  # (width, height) in pixels


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
