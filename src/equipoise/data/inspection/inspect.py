"""Report on data before it is packed: sizes, pixel formats, values, labels, duplicates, and what would be skipped."""

import os
from array import array
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from equipoise.data.decode import Pixels, UnreadableError, prepare, quiet_pillow
from equipoise.data.digests import AUTO_SHARE, HeldOut, held_out, usable_partition
from equipoise.data.framing import Framing, parse_framing
from equipoise.data.inspection.duplicates import Groups, exact_duplicates, near_duplicates, perceptual_hash
from equipoise.data.packed.images import MAX_HELD_OUT
from equipoise.data.packed.workers import ProgressCallback, ReadReport, prepare_all
from equipoise.data.sizes import Sizes, summarise
from equipoise.data.sources import Contents, find_source
from equipoise.data.sources.labels import COLUMNS, LONG, listed, open_labelled
from equipoise.errors import UsageError, one_line, printable

NAMED = 20  # classes and skipped images that the report names
GROUPS = 5  # of duplicates that the report names, and as many members of each
PAIRS = 32  # of duplicates to draw
CACHE_BYTES = 64 * 2**20  # of images kept in memory while they are compared


@dataclass(frozen=True)
class Values:
    """Values of one channel over all pixels of all images as they would be packed, from 0 to 255."""

    mean: float
    std: float
    minimum: int
    maximum: int


@dataclass(frozen=True)
class Inspection:
    """Report on data.

    Attributes:
        name: of the data, as the user gave it.
        count: all images, of which `readable` can be decoded whole.
        channels: 1 if no image has colour, else 3; None where none can be read.
        values: of each channel.
        sizes: their sizes in the files, or None where none can be read.
        modes: Pillow's pixel formats and how many images are in each.
        skipped: name and reason of every image that would be left out.
        notes: what else is there and would not be used, and what to know of the labels, in sentences.
        crop: side of the centred square that is taken of each image first, or None.
        labels: readable images of each class, by its name or number, or None.
        columns: names of the labels that can be chosen.
        copies: names of images whose stored content is the same, group by group.
        alike: names of images that look nearly the same, group by group; of copies, only the first stands here.
        share: the share that would be held out, which would be `held_out` images; None where the data itself says
            which.
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
    notes: list[str]
    crop: int | None
    labels: dict[str, int] | None
    columns: list[str]
    copies: list[tuple[str, ...]]
    alike: list[tuple[str, ...]]
    share: float | None
    held_out: int
    pairs: list[tuple[Pixels, Pixels]] = field(repr=False, compare=False)

    def __str__(self) -> str:
        lines = [f"{printable(self.name)}: {self.readable:,} of {self.count:,} images can be read"]
        if self.sizes is not None:
            sizes = (self.sizes.smallest, self.sizes.median, self.sizes.largest)
            smallest, median, largest = (f"{width}x{height}" for width, height in sizes)
            same = smallest == largest
            lines.append(f"  sizes     {smallest}" if same else f"  sizes     {smallest} to {largest}, median {median}")
            modes = ", ".join(f"{mode} {count:,}" for mode, count in self.modes.items())
            lines.append(f"  channels  {self.channels} ({modes})")
        if self.crop is not None:
            lines.append(f"  crop      the central {self.crop}x{self.crop} pixels of each")
        names = ("gray",) if self.channels == 1 else ("red", "green", "blue")
        for name, v in zip(names, self.values, strict=False):
            spread = f"mean {v.mean:.1f}, standard deviation {v.std:.1f}, from {v.minimum} to {v.maximum}"
            lines.append(f"  {name:<9} {spread}")
        if self.labels is not None:
            shown = islice(self.labels.items(), NAMED)
            counts = ", ".join(f"{one_line(name, LONG)} {count:,}" for name, count in shown)
            more = ", ..." if len(self.labels) > NAMED else ""
            lines.append(f"  classes   {len(self.labels)} ({counts}{more})")
        if len(self.columns) > 1:
            lines.append(f"  labels    {len(self.columns)} to choose from ({listed(self.columns, COLUMNS)})")
        how = "as the data has it" if self.share is None else f"at a share of {self.share:g}"
        lines.append(f"  held out  {self.held_out:,}, {how}")
        for word, groups, what in (
            ("copies", self.copies, "the same content"),
            ("alike", self.alike, "nearly the same look"),
        ):
            if groups:
                number = "1 group" if len(groups) == 1 else f"{len(groups):,} groups"
                lines.append(f"  {word:<9} {sum(map(len, groups)):,} images have {what} as another, in {number}")
            for group in groups[:GROUPS]:
                more = f" and {len(group) - GROUPS:,} more" if len(group) > GROUPS else ""
                lines.append(f"            {', '.join(group[:GROUPS])}{more}")
            if len(groups) > GROUPS:
                lines.append("            ...")
        lines += [f"  note      {note}" for note in self.notes]
        lines += [f"  skipped   {name}: {reason}" for name, reason in self.skipped[:NAMED]]
        if len(self.skipped) > NAMED:
            lines.append(f"  skipped   {len(self.skipped) - NAMED:,} more")
        return "\n".join(lines)


def inspect(
    data: str | os.PathLike[str],
    resolution: int | str = 64,
    *,
    crop: int | None = None,
    label: str | None = None,
    share: HeldOut = "auto",
    progress: ProgressCallback | None = None,
) -> Inspection:
    """Decode every image of `data`, as packing it at `resolution` would, and report on them.

    Args:
        data: as in `open_images`.
        resolution: as in `open_images`; values and looks are those of the images at this resolution.
        crop: as in `open_images`.
        label: as in `open_images`.
        share: of the images, to be held out, up to MAX_HELD_OUT; or auto for those that the data itself holds out, else
            AUTO_SHARE.
        progress: called with the number of images done, and of all.

    Raises:
        UsageError: there is no such data, an option is not one of those offered, or it is damaged as a whole.
    """
    if share != "auto" and (isinstance(share, str) or not 0 <= share <= MAX_HELD_OUT):
        raise UsageError(f"the share held out must be from 0 to {MAX_HELD_OUT}, or auto, not {share}")
    source = find_source(data)
    framing = parse_framing(resolution, None, "crop", "white", crop, source.border)
    looks = _Looks()
    with quiet_pillow(), open_labelled(source, label) as contents:
        report = prepare_all(contents, framing, looks.add, progress)
        copies, alike, pairs = _find_duplicates(contents, framing, report, np.array(looks.hashes, np.uint64))
        readable = np.array(report.readable, np.int64)
        own = contents.held_out if share == "auto" else None
        partition = None if own is None else usable_partition(own[readable])
    chosen = AUTO_SHARE if share == "auto" else share
    held = held_out(np.array(report.digests, np.uint64), chosen) if partition is None else partition
    names = [printable(contents.names[index]) for index in report.readable]
    return Inspection(
        name=source.name,
        count=len(contents.names),
        readable=len(report.readable),
        channels=looks.channels or None,
        values=tuple(_summarise_values(histogram) for histogram in looks.histograms[: looks.channels]),
        sizes=summarise(report.sizes) if report.sizes else None,
        modes=dict(report.modes.most_common()),
        skipped=report.skipped,
        notes=[printable(note) for note in (*source.notes, *contents.notes, *report.notes)],
        crop=crop,
        labels=_count_labels(contents, readable),
        columns=list(contents.columns),
        copies=[tuple(names[image] for image in group) for group in copies],
        alike=[tuple(names[image] for image in group) for group in alike],
        share=chosen if partition is None else None,
        held_out=int(held.sum()),
        pairs=pairs,
    )


class _Looks:
    """What is kept of each image's pixels: their values' histograms, channel by channel, and a hash of its look."""

    def __init__(self) -> None:
        self.histograms, self.hashes, self.channels = np.zeros((3, 256), np.int64), array("Q"), 0

    def add(self, pixels: Pixels) -> None:
        """Take in one image; a gray one counts for all three channels, as its one row is broadcast."""
        self.channels = max(self.channels, len(pixels))
        self.histograms += np.stack([np.bincount(channel.ravel(), minlength=256) for channel in pixels])
        self.hashes.append(perceptual_hash(pixels))


def _count_labels(contents: Contents, readable: NDArray[np.int64]) -> dict[str, int] | None:
    """Number of readable images of each class, by its name; None without labels."""
    if contents.labels is None:
        return None
    values, counts = np.unique(contents.labels[readable], return_counts=True)
    classes: Counter[str] = Counter()  # of one name there may be several
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        classes[printable(contents.classes[value]) if contents.classes else str(value)] += count
    return dict(classes)


def _find_duplicates(
    contents: Contents, framing: Framing, report: ReadReport, hashes: NDArray[np.uint64]
) -> tuple[Groups, Groups, list[tuple[Pixels, Pixels]]]:
    """Groups of copies, groups that only look alike, and some pairs of either to draw.

    Images were decoded and forgotten. Those whose hashes are near are decoded once more here, to be compared; the least
    recently used ones are dropped, so that the memory does not grow with the number of candidates.
    """

    @lru_cache(max(2, CACHE_BYTES // (3 * framing.height * framing.width)))
    def pixels_of(place: int) -> Pixels | None:
        try:
            return prepare(partial(contents.read, report.readable[place]), framing).pixels
        except UnreadableError:
            return None  # the file has gone since

    copies = exact_duplicates(np.array(report.digests, np.uint64))
    # Of each group of copies, only the first takes part in what looks alike.
    unique = np.setdiff1d(np.arange(len(hashes)), [image for group in copies for image in group[1:]])
    groups = near_duplicates(hashes[unique], lambda place: pixels_of(int(unique[place])))
    alike = [tuple(unique[list(group)].tolist()) for group in groups]
    duplicates = ((group[0], image) for group in (*copies, *alike) for image in group[1:])
    pairs = [(pixels_of(first), pixels_of(image)) for first, image in islice(duplicates, PAIRS)]
    return copies, alike, [(first, second) for first, second in pairs if first is not None and second is not None]


def _summarise_values(histogram: NDArray[np.int64]) -> Values:
    values, counts = np.arange(256), histogram.astype(np.float64)
    mean = float(np.average(values, weights=counts))
    std = float(np.sqrt(np.average((values - mean) ** 2, weights=counts)))
    present = np.flatnonzero(histogram)
    return Values(mean, std, int(present[0]), int(present[-1]))
