"""Grids of pictures with words: headings of rows and columns, or a caption below each picture."""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from equipoise.views.figures import CELL, INK, grid

SIZE, LINE, MARGIN = 12, 16, 6  # of letters, of a line, and around them, in pixels
CAPTIONED = 96  # pixels at least of a picture with a caption below
GAP = 2
WORDS = 140  # pixels: up to this length a caption is whole, as words with a number are, and only longer names are cut


def grid_with_headings(images: Tensor, rows: Sequence[str], columns: Sequence[str]) -> Image.Image:
    """Pictures (R * C, 1 or 3, H, W) uint8 in R rows of C, with headings at their left, and above each column.

    Args:
        images: row after row.
        rows: R headings.
        columns: C headings, of which some or all may be empty.
    """
    font = _font()
    widest = max(font.getlength(column) for column in columns) + MARGIN
    scale = max(math.ceil(CELL / max(images.shape[2:])), math.ceil(widest / images.shape[3]))  # so that each has room
    body = grid(images, columns=len(columns), gap=GAP, scale=scale).convert("RGB")
    down, across = (body.height + GAP) / len(rows), (body.width + GAP) / len(columns)
    left = round(max(font.getlength(row) for row in rows)) + 2 * MARGIN if any(rows) else 0
    top = LINE + MARGIN if any(columns) else 0
    sheet = Image.new("RGB", (left + body.width, top + body.height), "white")
    sheet.paste(body, (left, top))
    draw = ImageDraw.Draw(sheet)
    for number, row in enumerate(rows):
        draw.text((left - MARGIN, top + (number + 0.5) * down), row, INK, font, anchor="rm")
    for number, column in enumerate(columns):
        draw.text((left + (number + 0.5) * across, top / 2), column, INK, font, anchor="mm")
    return sheet


def grid_with_captions(images: Tensor, captions: Sequence[Sequence[str]], columns: int) -> Image.Image:
    """Pictures (N, 1 or 3, H, W) uint8 in rows of `columns`, with lines of text below each.

    What is no longer than WORDS is whole, beside narrow pictures too; longer lines are cut to the width of their cells.

    Args:
        images: row after row.
        captions: lines for each picture, as many for all.
        columns: pictures in a row.
    """
    cells = [grid(image[None], gap=0, scale=_scale(image)).convert("RGB") for image in images]
    font, height, lines = _font(), cells[0].height, max(map(len, captions))
    lengths = [font.getlength(words) for text in captions for words in text]
    width = max([cells[0].width, *(math.ceil(length) for length in lengths if length <= WORDS)])
    across, down = width + 2 * MARGIN, height + lines * LINE + 2 * MARGIN
    sheet = Image.new("RGB", (min(columns, len(cells)) * across, -(-len(cells) // columns) * down), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (cell, text) in enumerate(zip(cells, captions, strict=True)):
        left, top = number % columns * across + MARGIN, number // columns * down + MARGIN
        sheet.paste(cell, (left, top))
        for line, words in enumerate(text):
            place = (left, top + height + line * LINE + 2)
            draw.text(place, _fitted(words, width + MARGIN, font), INK, font)
    return sheet


def stacked(parts: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """Pictures one below the other, each with a heading, on a sheet as wide as the widest of all."""
    font = _font(SIZE + 3)
    width = max(max(part.width, math.ceil(font.getlength(heading)) + 2 * MARGIN) for heading, part in parts)
    sheet = Image.new("RGB", (width, sum(part.height + 2 * LINE for _, part in parts)), "white")
    draw, top = ImageDraw.Draw(sheet), 0
    for heading, part in parts:
        draw.text((MARGIN, top + LINE), heading, INK, font, anchor="lm")
        sheet.paste(part, (0, top + 2 * LINE))
        top += part.height + 2 * LINE
    return sheet


def heat_map(values: NDArray[np.float32], highest: float) -> NDArray[np.uint8]:
    """Values (N, H, W) from 0 to `highest` as colours, black over red to white: (N, 3, H, W) uint8."""
    from matplotlib import colormaps

    coloured = colormaps["inferno"](np.clip(values / max(highest, 1e-12), 0, 1), bytes=True)[..., :3]
    return np.ascontiguousarray(coloured.transpose(0, 3, 1, 2))


def _scale(image: Tensor) -> int:
    return max(1, -(-CAPTIONED // max(image.shape[1:])))


@cache
def _font(size: int = SIZE) -> ImageFont.FreeTypeFont:
    from matplotlib import get_data_path

    # DejaVu knows the letters of Latin, Greek and Cyrillic, of which Pillow's own lacks most.
    return ImageFont.truetype(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def _fitted(text: str, width: float, font: ImageFont.FreeTypeFont) -> str:
    """`text`, or its end behind three dots where it is wider than `width` pixels: the end of a path says most."""
    if font.getlength(text) <= width:
        return text
    for start in range(1, len(text)):
        if font.getlength(f"…{text[start:]}") <= width:
            return f"…{text[start:]}"
    return text[-1:]
