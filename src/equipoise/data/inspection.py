"""What data holds, before it is packed: sizes, kinds, labels, what would be skipped, and a sheet to look at."""

import math
import os
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from equipoise.data.decode import Fit, Framing, Pixels, UnreadableError, frame, prepare
from equipoise.data.images import Images
from equipoise.data.order import indices
from equipoise.data.sizes import Sizes, summarise
from equipoise.data.sources import Contents, Source, find_source
from equipoise.data.workers import Progress, Tally, prepare_all
from equipoise.errors import UsageError

NAMED = 20  # classes and skipped images named in words
GAP = 2  # pixels between the images of a sheet


@dataclass(frozen=True)
class Inspection:
    """What data holds.

    Attributes:
        name: the data, as it was given.
        count: images found, of which `readable` could be decoded whole.
        channels: 1 if no image has colour, else 3; None where none can be read.
        sizes: their sizes in the files, or None where none can be read.
        modes: Pillow's pixel formats and how many images are in each.
        skipped: name and reason of every image that would be left out.
        labels: readable images of each class, by its name or number, or None.
    """

    name: str
    count: int
    readable: int
    channels: int | None
    sizes: Sizes | None
    modes: dict[str, int]
    skipped: list[tuple[str, str]]
    labels: dict[str, int] | None

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.readable:,} of {self.count:,} images can be read"]
        if self.sizes is not None:
            sizes = (self.sizes.smallest, self.sizes.median, self.sizes.largest)
            smallest, median, largest = (f"{width}x{height}" for width, height in sizes)
            one = smallest == largest
            lines.append(f"  sizes     {smallest}" if one else f"  sizes     {smallest} to {largest}, median {median}")
            kinds = ", ".join(f"{mode} {count:,}" for mode, count in self.modes.items())
            lines.append(f"  channels  {self.channels} ({kinds})")
        if self.labels is not None:
            counts = ", ".join(f"{name} {count:,}" for name, count in list(self.labels.items())[:NAMED])
            more = ", ..." if len(self.labels) > NAMED else ""
            lines.append(f"  classes   {len(self.labels)} ({counts}{more})")
        lines += [f"  skipped   {name}: {reason}" for name, reason in self.skipped[:NAMED]]
        if len(self.skipped) > NAMED:
            lines.append(f"  skipped   {len(self.skipped) - NAMED:,} more")
        return "\n".join(lines)


def inspect(data: str | os.PathLike[str], resolution: int = 64, *, progress: Progress | None = None) -> Inspection:
    """Decode every image of `data`, as packing it at `resolution` would, and say what there is.

    Raises:
        UsageError: there is no such data, or it is damaged as a whole.
    """
    source = find_source(data)
    framing = frame(resolution, None, "crop", "white")
    channels: set[int] = set()
    with source.contents() as contents:
        tally = prepare_all(contents, framing, lambda pixels: channels.add(len(pixels)), progress)
    return Inspection(
        name=source.name,
        count=len(contents.names),
        readable=len(tally.kept),
        channels=max(channels, default=None),
        sizes=summarise(tally.sizes) if tally.sizes else None,
        modes=dict(tally.modes.most_common()),
        skipped=tally.skipped,
        labels=_class_counts(contents, tally.kept),
    )


def contact_sheet(
    data: str | os.PathLike[str] | Images,
    count: int = 64,
    seed: int = 0,
    *,
    resolution: int = 64,
    fit: Fit = "crop",
    background: str = "white",
) -> Image.Image:
    """Draw a random choice of `count` images, all different, on one sheet of RGB.

    Packed images are drawn at their own size; for others, `resolution`, `fit` and `background` apply, as in
    `open_images`.

    Raises:
        UsageError: there is no such data, or none of it can be read.
    """
    if count < 1:
        raise UsageError(f"a sheet needs 1 or more images, not {count}")
    if isinstance(data, Images):
        chosen = indices(len(data), min(count, len(data)), seed, 0)
        return sheet(list(data.pixels[chosen]))
    return sheet(_drawn(find_source(data), frame(resolution, 3, fit, background), count, seed))


def sheet(images: list[Pixels]) -> Image.Image:
    """Lay images (C, H, W), C = 1 or 3, out in rows on a gray sheet of RGB, as square as can be."""
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    _, height, width = images[0].shape
    drawn = Image.new("RGB", (columns * (width + GAP) + GAP, rows * (height + GAP) + GAP), "gray")
    for place, image in enumerate(images):
        row, column = divmod(place, columns)
        pixels = np.broadcast_to(image, (3, height, width)).transpose(1, 2, 0)
        drawn.paste(
            Image.fromarray(np.ascontiguousarray(pixels)), (GAP + column * (width + GAP), GAP + row * (height + GAP))
        )
    return drawn


def _class_counts(contents: Contents, kept: list[int]) -> dict[str, int] | None:
    if contents.labels is None:
        return None
    values, counts = np.unique(contents.labels[kept], return_counts=True)
    names = [contents.classes[value] if contents.classes else str(value) for value in values.tolist()]
    return dict(zip(names, counts.tolist(), strict=True))


def _drawn(source: Source, framing: Framing, count: int, seed: int) -> list[Pixels]:
    """Prepare images in a random order until `count` of them could be read, or there are no more."""
    drawn: list[Pixels] = []
    tally = Tally()
    with source.contents() as contents:
        for index in indices(len(contents.names), len(contents.names), seed, 0).tolist():
            try:
                image = prepare(partial(contents.open, index), framing, contents.ground)
            except UnreadableError as error:
                tally.skip(contents.names[index], str(error))
                continue
            tally.keep(index, image)
            drawn.append(image.pixels)
            if len(drawn) == count:
                break
    tally.require_any(source.name)
    return drawn
