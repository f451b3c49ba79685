"""Sheets of images: a random choice of the data, or pairs of duplicates."""

import math
import os
from functools import partial

import numpy as np
from PIL import Image

from equipoise.data.decode import Pixels, UnreadableError, prepare, quiet_pillow
from equipoise.data.framing import Fit, parse_framing
from equipoise.data.inspection.inspect import Inspection
from equipoise.data.order import indices
from equipoise.data.packed.images import Images
from equipoise.data.packed.workers import ReadReport
from equipoise.data.sources import find_source
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
    crop: int | None = None,
) -> Image.Image:
    """Sheet of a random choice of `count` images, all different, in RGB.

    Packed images are drawn at their own size; for others, `resolution`, `fit`, `background` and `crop` apply, as in
    `open_images`.

    Raises:
        UsageError: there is no such data, or none of it can be read.
    """
    if count < 1:
        raise UsageError(f"a sheet needs 1 or more images, not {count}")
    if isinstance(data, Images):
        chosen = indices(len(data), min(count, len(data)), seed, 0)
        return sheet(list(data.batch(chosen).numpy()))
    source = find_source(data)
    framing = parse_framing(resolution, 3, fit, background, crop, source.border)
    images: list[Pixels] = []
    report = ReadReport()
    with quiet_pillow(), source.contents() as contents:
        # In random order until `count` of them could be read, or there are no more.
        for index in indices(len(contents.names), len(contents.names), seed, 0).tolist():
            try:
                image = prepare(partial(contents.read, index), framing)
            except UnreadableError as error:
                report.skip(contents.names[index], str(error))
                continue
            report.add(index, image)
            images.append(image.pixels)
            if len(images) == count:
                break
    report.require_any(source.name)
    return sheet(images)


def sheet(images: list[Pixels], columns: int | None = None) -> Image.Image:
    """Images (C, H, W), C = 1 or 3, in rows on a gray sheet of RGB, as square as can be."""
    columns = columns or math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    _, height, width = images[0].shape
    canvas = Image.new("RGB", (columns * (width + GAP) + GAP, rows * (height + GAP) + GAP), "gray")
    for place, image in enumerate(images):
        row, column = divmod(place, columns)
        pixels = np.broadcast_to(image, (3, height, width)).transpose(1, 2, 0)
        corner = (GAP + column * (width + GAP), GAP + row * (height + GAP))
        canvas.paste(Image.fromarray(np.ascontiguousarray(pixels)), corner)
    return canvas


def duplicates_sheet(inspection: Inspection) -> Image.Image | None:
    """Sheet of the first pairs of duplicates, exact ones and then near ones, a pair a row; None if there are none."""
    images = [image for pair in inspection.pairs for image in pair]
    return sheet(images, columns=2) if images else None
