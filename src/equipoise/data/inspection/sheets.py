"""Sheets of images to look at."""

import math
import os
from functools import partial

import numpy as np
from PIL import Image

from equipoise.data.decode import Fit, Framing, Pixels, UnreadableError, parse_framing, prepare
from equipoise.data.inspection.inspect import Inspection
from equipoise.data.order import indices
from equipoise.data.packed.images import Images
from equipoise.data.packed.workers import ReadReport
from equipoise.data.sources import Source, find_source
from equipoise.errors import UsageError

GAP = 2  # pixels between the images of a sheet


def contact_sheet(
    data: str | os.PathLike[str] | Images,
    count: int = 64,
    seed: int = 0,
    *,
    resolution: int | str = 64,
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
        return sheet(list(data.batch(chosen).numpy()))
    return sheet(_drawn(find_source(data), parse_framing(resolution, 3, fit, background), count, seed))


def sheet(images: list[Pixels], columns: int | None = None) -> Image.Image:
    """Lay images (C, H, W), C = 1 or 3, out in rows on a gray sheet of RGB, as square as can be."""
    columns = columns or math.ceil(math.sqrt(len(images)))
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


def duplicates_sheet(found: Inspection) -> Image.Image | None:
    """Draw the first pairs of equal and nearly equal images side by side, a pair a row; None where there are none."""
    return sheet([image for pair in found.pairs for image in pair], columns=2) if found.pairs else None


def _drawn(source: Source, framing: Framing, count: int, seed: int) -> list[Pixels]:
    """Prepare images in a random order until `count` of them could be read, or there are no more."""
    drawn: list[Pixels] = []
    report = ReadReport()
    with source.contents() as contents:
        for index in indices(len(contents.names), len(contents.names), seed, 0).tolist():
            try:
                image = prepare(partial(contents.read, index), framing, contents.border)
            except UnreadableError as error:
                report.skip(contents.names[index], str(error))
                continue
            report.add(index, image)
            drawn.append(image.pixels)
            if len(drawn) == count:
                break
    report.require_any(source.name)
    return drawn
