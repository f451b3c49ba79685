"""What data holds, before it is packed: sizes, kinds, values, labels, copies, and what would be skipped."""

import os
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from equipoise.data.decode import Framing, Pixels, UnreadableError, parse_framing, prepare
from equipoise.data.digests import Digests, held_out
from equipoise.data.inspection.duplicates import Groups, near, perceptual_hash, same
from equipoise.data.packed.workers import ProgressCallback, prepare_all, printable
from equipoise.data.sizes import Sizes, summarise
from equipoise.data.sources import Contents, find_source

NAMED = 20  # classes and skipped images named in words
GROUPS = 5  # of equal images named in words, and as many members of each
PAIRS = 32  # of equal images kept to be drawn
REMEMBERED = 64 * 2**20  # bytes of images kept at hand while they are compared


@dataclass(frozen=True)
class Values:
    """The values of one channel over all pixels of all images as they would be packed, from 0 to 255."""

    mean: float
    std: float
    least: int
    most: int


@dataclass(frozen=True)
class Inspection:
    """What data holds.

    Attributes:
        name: the data, as it was given.
        count: images found, of which `readable` could be decoded whole.
        channels: 1 if no image has colour, else 3; None where none can be read.
        values: of each channel.
        sizes: their sizes in the files, or None where none can be read.
        modes: Pillow's pixel formats and how many images are in each.
        skipped: name and reason of every image that would be left out.
        labels: readable images of each class, by its name or number, or None.
        copies: names of images whose stored content is the same, group by group.
        alike: names of images that look nearly the same, group by group; of copies, only the first stands here.
        share: the share that would be held out, which would be `held_out` images.
        pairs: some images of `copies`, then of `alike`, each (C, H, W) beside the first of its group.
    """

    name: str
    count: int
    readable: int
    channels: int | None
    values: tuple[Values, ...]
    sizes: Sizes | None
    modes: dict[str, int]
    skipped: list[tuple[str, str]]
    labels: dict[str, int] | None
    copies: list[tuple[str, ...]]
    alike: list[tuple[str, ...]]
    share: float
    held_out: int
    pairs: list[tuple[Pixels, Pixels]] = field(repr=False, compare=False)

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.readable:,} of {self.count:,} images can be read"]
        if self.sizes is not None:
            sizes = (self.sizes.smallest, self.sizes.median, self.sizes.largest)
            smallest, median, largest = (f"{width}x{height}" for width, height in sizes)
            one = smallest == largest
            lines.append(f"  sizes     {smallest}" if one else f"  sizes     {smallest} to {largest}, median {median}")
            kinds = ", ".join(f"{mode} {count:,}" for mode, count in self.modes.items())
            lines.append(f"  channels  {self.channels} ({kinds})")
        names = ("gray",) if self.channels == 1 else ("red", "green", "blue")
        for name, seen in zip(names, self.values, strict=False):
            spread = f"mean {seen.mean:.1f}, standard deviation {seen.std:.1f}, from {seen.least} to {seen.most}"
            lines.append(f"  {name:<9} {spread}")
        if self.labels is not None:
            counts = ", ".join(f"{name} {count:,}" for name, count in list(self.labels.items())[:NAMED])
            more = ", ..." if len(self.labels) > NAMED else ""
            lines.append(f"  classes   {len(self.labels)} ({counts}{more})")
        lines.append(f"  held out  {self.held_out:,}, at a share of {self.share:g}")
        lines += _told("copies", self.copies, "the same content")
        lines += _told("alike", self.alike, "nearly the same look")
        lines += [f"  skipped   {name}: {reason}" for name, reason in self.skipped[:NAMED]]
        if len(self.skipped) > NAMED:
            lines.append(f"  skipped   {len(self.skipped) - NAMED:,} more")
        return "\n".join(lines)


def inspect(
    data: str | os.PathLike[str],
    resolution: int | str = 64,
    *,
    share: float = 0.1,
    progress: ProgressCallback | None = None,
) -> Inspection:
    """Decode every image of `data`, as packing it at `resolution` would, and say what there is.

    Args:
        data: as in `open_images`.
        resolution: as in `open_images`; values and looks are those of the images at this resolution.
        share: of the images, to be held out; from 0 to 1.
        progress: called with the images done and their total.

    Raises:
        UsageError: there is no such data, or it is damaged as a whole.
    """
    source = find_source(data)
    framing = parse_framing(resolution, None, "crop", "white")
    survey = _Survey()
    with source.contents() as contents:
        report = prepare_all(contents, framing, survey.take, progress)
        digests = np.array(report.digests, np.uint64)
        look = _looking(contents, framing, report.readable)
        copies, alike = _compared(digests, np.array(survey.hashes, np.uint64), look)
        equal = ((group[0], image) for group in (*copies, *alike) for image in group[1:])
        pairs = [(look(first), look(image)) for first, image in islice(equal, PAIRS)]
    return Inspection(
        name=source.name,
        count=len(contents.names),
        readable=len(report.readable),
        channels=survey.channels or None,
        values=survey.values(),
        sizes=summarise(report.sizes) if report.sizes else None,
        modes=dict(report.modes.most_common()),
        skipped=report.skipped,
        labels=_class_counts(contents, report.readable),
        copies=_named(copies, contents, report.readable),
        alike=_named(alike, contents, report.readable),
        share=share,
        held_out=int(held_out(digests, share).sum()),
        pairs=[(one, other) for one, other in pairs if one is not None and other is not None],
    )


class _Survey:
    """What is noted of each image: how often each value occurs in each channel, and its picture hash."""

    def __init__(self) -> None:
        self.channels = 0
        self.histogram = np.zeros((3, 256), np.int64)
        self.hashes = array("Q")

    def take(self, pixels: Pixels) -> None:
        """Note one image (1 or 3, H, W)."""
        self.channels = max(self.channels, len(pixels))
        self.histogram += np.stack([np.bincount(channel.ravel(), minlength=256) for channel in pixels])
        self.hashes.append(perceptual_hash(pixels))

    def values(self) -> tuple[Values, ...]:
        """Sum up each channel."""
        return tuple(_values(histogram) for histogram in self.histogram[: self.channels])


def _values(histogram: NDArray[np.int64]) -> Values:
    values, counts = np.arange(256), histogram.astype(np.float64)
    mean = float(np.average(values, weights=counts))
    std = float(np.sqrt(np.average((values - mean) ** 2, weights=counts)))
    seen = np.flatnonzero(histogram)
    return Values(mean, std, int(seen[0]), int(seen[-1]))


def _compared(
    digests: Digests, hashes: NDArray[np.uint64], look: Callable[[int], Pixels | None]
) -> tuple[Groups, Groups]:
    """Group the copies, and those images that only look alike, among which the first of each group of copies counts."""
    copies = same(digests)
    once = np.setdiff1d(np.arange(len(digests)), [image for group in copies for image in group[1:]])
    alike = near(hashes[once], lambda place: look(int(once[place])))
    return copies, [tuple(once[list(group)].tolist()) for group in alike]


def _looking(contents: Contents, framing: Framing, kept: Sequence[int]) -> Callable[[int], Pixels | None]:
    """Make a function that prepares the image kept at some place once more, and remembers the last ones."""

    def look(place: int) -> Pixels | None:
        try:
            return prepare(partial(contents.read, kept[place]), framing, contents.border).pixels
        except UnreadableError:
            return None  # gone since

    return lru_cache(max(2, REMEMBERED // (3 * framing.height * framing.width)))(look)


def _named(groups: Groups, contents: Contents, kept: Sequence[int]) -> list[tuple[str, ...]]:
    return [tuple(printable(contents.names[kept[image]]) for image in group) for group in groups]


def _told(word: str, groups: list[tuple[str, ...]], what: str) -> list[str]:
    """Say how many images are in groups, and name the first."""
    if not groups:
        return []
    many = "1 group" if len(groups) == 1 else f"{len(groups):,} groups"
    lines = [f"  {word:<9} {sum(map(len, groups)):,} images have {what} as another, in {many}"]
    for group in groups[:GROUPS]:
        more = f" and {len(group) - GROUPS:,} more" if len(group) > GROUPS else ""
        lines.append(f"            {', '.join(group[:GROUPS])}{more}")
    return lines + (["            ..."] if len(groups) > GROUPS else [])


def _class_counts(contents: Contents, kept: Sequence[int]) -> dict[str, int] | None:
    if contents.labels is None:
        return None
    values, counts = np.unique(contents.labels[np.array(kept, np.int64)], return_counts=True)
    names = [contents.classes[value] if contents.classes else str(value) for value in values.tolist()]
    return dict(zip(names, counts.tolist(), strict=True))
