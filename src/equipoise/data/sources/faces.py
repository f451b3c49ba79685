"""Faces drawn by DiceBear, in any number: `faces`, or with options such as `faces:count=20000,seed=7`.

Every style is a kit of parts (heads, hair, eyes, mouths, glasses) by an artist who gave it into the public domain
(CC0 1.0). Face i is a function of (style, seed, i, size), so more faces begin with the same ones.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from importlib.metadata import version
from importlib.resources import files
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from equipoise.data.decode import Pixels
from equipoise.data.sources.base import Contents, Source
from equipoise.data.sources.extras import extra
from equipoise.errors import UsageError

FACES = "faces"
FREE = "CC0 1.0"
PACKAGES = ("dicebear-core", "dicebear-styles", "resvg-py")  # how faces look depends on their versions
LIMITS = {"count": (1, 10_000_000), "seed": (0, 2**63 - 1), "size": (16, 1024)}

GROUNDS = ["b6e3f4", "c0aede", "d1d4f9", "ffd5dc", "ffdfbf", "cdebc5", "f4e3a1", "9fd8cb", "f2b8a0", "e8e4da"]
SKINS = ["ffdfc0", "f6cfa6", "e8b088", "c98a5e", "a8683c", "84502c", "74462a"]
HAIRS = ["2c1b18", "4a312c", "6b3a2a", "9c2f1b", "e5b95c", "f3dc9a", "e04a1a", "ece8e8", "6d5acf", "2fa37a"]

STYLES: dict[str, dict[str, Any]] = {  # options of each style that differ from its own defaults
    "lorelei": {
        "backgroundColor": GROUNDS,
        "skinColor": SKINS,
        "hairColor": HAIRS,
        "mouthColor": ["000000", "a0404a"],
        "glassesColor": ["202020", "a04b5d", "43677d"],
        "glassesProbability": 25,
        "beardProbability": 10,
        "scale": 1.15,
    },
    "open-peeps": {"backgroundColor": GROUNDS, "skinColor": SKINS, "headContrastColor": HAIRS, "scale": 1.1},
    "pixel-art": {"backgroundColor": GROUNDS},
    "voxel-art": {"backgroundColor": GROUNDS, "scale": 1.3, "translateY": 12},
    "cutouts": {},
    "moods": {},
    "marbles": {},
    "thumbs": {},
    "critters": {},
    "clay": {},
    "cameo": {"backgroundColor": GROUNDS},
}


@dataclass(frozen=True)
class Options:
    """Options behind `faces:`; `size` is the side of a face in pixels."""

    count: int = 10_000
    seed: int = 0
    style: str = "lorelei"
    size: int = 64


def faces(name: str) -> Source | None:
    """Source `faces`, alone or with the options that Options lists.

    Raises:
        UsageError: an option is unknown or not one of those offered, or the extra is missing.
    """
    word, _, options_text = name.partition(":")
    if word != FACES:
        return None
    options = _parse_options(options_text)
    with extra("faces", f"{FACES!r}"):
        import dicebear  # noqa: F401
        import dicebear_styles  # noqa: F401
        import resvg_py  # noqa: F401
    identity = ("faces", repr(options), repr(STYLES[options.style]), *(version(package) for package in PACKAGES))
    return Source(name, identity, partial(_open, options))


def _parse_options(text: str) -> Options:
    values: dict[str, Any] = {}
    known = [field.name for field in fields(Options)]
    for part in text.split(",") if text else []:
        key, equals, value = part.strip().partition("=")
        if key not in known or not equals or key in values:
            example = "faces:count=20000,seed=7,style=lorelei,size=64"
            raise UsageError(f"{part.strip()!r} is no option of faces: give {', '.join(known)}, as in {example}")
        if key == "style":
            if value not in STYLES:
                raise UsageError(
                    f"{value!r} is none of the styles of faces that are free of conditions (CC0): "
                    f"take {', '.join(STYLES)}"
                )
            values[key] = value
            continue
        low, high = LIMITS[key]
        if not (value.isascii() and value.isdecimal() and len(value) <= len(str(high)) and low <= int(value) <= high):
            raise UsageError(f"the {key} of faces must be a whole number from {low} to {high}, not {value!r}")
        values[key] = int(value)
    return Options(**values)


@contextmanager
def _open(options: Options) -> Iterator[Contents]:
    draw = _drawer(options.style)
    yield Contents(
        names=[str(index) for index in range(options.count)],
        read=lambda index: draw(f"{options.seed}/{index}", options.size),
    )


def _drawer(name: str) -> Callable[[str, int], Pixels]:
    """Function that draws a face of a style from any text, as uint8 (size, size, 3).

    Raises:
        UsageError: the installed version of the style is not in the public domain.
    """
    from dicebear import Avatar, Style
    from resvg_py import svg_to_bytes

    definition = json.loads(files("dicebear_styles").joinpath(f"{name}.json").read_text("utf-8"))
    licence = definition["meta"]["license"]["name"]
    if licence != FREE:
        raise UsageError(f"the style {name!r} is under {licence} in this version of dicebear-styles: take another")
    style = Style(definition)

    def draw(seed: str, size: int) -> Pixels:
        drawing = Avatar(style, {**STYLES[name], "seed": seed}).to_string()
        png = svg_to_bytes(svg_string=drawing, width=size, height=size, skip_system_fonts=True)
        with Image.open(BytesIO(bytes(png)), formats=["PNG"]) as image:
            return np.asarray(image.convert("RGB"))

    return draw
