"""Numbers as people write them in flags and YAML: counts such as 300k, and resolutions such as 64x48."""

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from tyro.constructors import PrimitiveConstructorSpec

from equipoise.data import parse_resolution


def parse_count(text: Any) -> Any:
    """'300k' -> 300000, '1.5M' -> 1500000; what is no such text is returned as it is.

    Raises:
        ValueError: a fraction of an image.
    """
    if not isinstance(text, str) or not (match := re.fullmatch(r"(\d+(?:\.\d+)?)([kM]?)", text.replace("_", ""))):
        return text
    value = Decimal(match[1]) * {"": 1, "k": 1_000, "M": 1_000_000}[match[2]]
    if value != int(value):
        raise ValueError(f"{text} is not a whole number")
    return int(value)


def _count_of_words(words: list[str]) -> int:
    value = parse_count(words[0])
    if not isinstance(value, int):
        raise ValueError(f"{words[0]!r} is not a number such as 300000, 300k or 1.5M")
    return value


COUNT = PrimitiveConstructorSpec(
    nargs=1,
    metavar="N",
    instance_from_str=_count_of_words,
    is_instance=lambda value: isinstance(value, int),
    str_from_instance=lambda value: [str(value)],
)
Count = Annotated[int, Field(ge=1), BeforeValidator(parse_count), COUNT]
CountOrNone = Annotated[int, Field(ge=0), BeforeValidator(parse_count), COUNT]


def _canonical(resolution: Any) -> int | str:
    height, width = parse_resolution(resolution)
    return width if width == height else f"{width}x{height}"


RESOLUTION = PrimitiveConstructorSpec(
    nargs=1,
    metavar="SIDE|WIDTHxHEIGHT",
    instance_from_str=lambda words: words[0],
    is_instance=lambda value: isinstance(value, int | str),
    str_from_instance=lambda value: [str(value)],
)
Resolution = Annotated[int | str, BeforeValidator(_canonical), RESOLUTION]
