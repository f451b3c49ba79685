"""Number formats of flags and YAML: counts such as 300k, and resolutions such as 64x48."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, cast, get_args

from pydantic import BeforeValidator, Field, create_model
from pydantic.fields import FieldInfo
from tyro.constructors import PrimitiveConstructorSpec

from equipoise.config.messages import construct
from equipoise.data import HeldOut, parse_resolution
from equipoise.data.packed.images import MAX_HELD_OUT
from equipoise.errors import quoted

MAX_COUNT = 10**11  # in files' names and in floats every whole number up to this has its place
MAX_SEED = 2**63 - 1
MAX_DIGITS = 30  # of a number in text


def parse_count(text: Any) -> Any:
    """Parse a count: '300k' -> 300000, '1.5M' -> 1500000; anything else is returned unchanged, for pydantic to refuse.

    Raises:
        ValueError: not a whole number, one of more than MAX_DIGITS digits, or True or False.
    """
    if isinstance(text, bool):  # which pydantic takes for 1 and 0
        raise ValueError("should be a number")
    if not isinstance(text, str) or not (match := re.fullmatch(r"(-?\d+(?:\.\d+)?)([kM]?)", text.replace("_", ""))):
        return text
    if len(match[1]) > MAX_DIGITS:
        raise ValueError(f"{quoted(text)} has too many digits")
    # Decimal, as 1.1 * 1_000_000 is not a whole number in binary floating point.
    value = Decimal(match[1]) * {"": 1, "k": 1_000, "M": 1_000_000}[match[2]]
    if value != int(value):
        raise ValueError(f"{quoted(text)} is not a whole number")
    return int(value)


def _parse_count_argument(arguments: list[str]) -> int:
    value = parse_count(arguments[0])
    if not isinstance(value, int):
        raise ValueError(f"{quoted(arguments[0])} is not a number such as 300000, 300k or 1.5M")
    return value


# How tyro reads and shows these on the command line; their bounds are checked afterwards, as in YAML.
COUNT = PrimitiveConstructorSpec(
    nargs=1,
    metavar="N",
    instance_from_str=_parse_count_argument,
    is_instance=lambda value: isinstance(value, int),
    str_from_instance=lambda value: [str(value)],
)
Count = Annotated[int, Field(ge=1, le=MAX_COUNT), BeforeValidator(parse_count), COUNT]
"""A positive whole number."""
CountOrZero = Annotated[int, Field(ge=0, le=MAX_COUNT), BeforeValidator(parse_count), COUNT]
"""A whole number, where 0 switches something off."""
BatchSize = Annotated[Count, Field(le=100_000)]
"""Images in one step."""
ProcessCount = Annotated[Count, Field(le=1024)]
"""Processes, or threads, on one machine."""
Frames = Annotated[Count, Field(ge=2, le=10_000)]
"""Images of a way or a row, its two ends among them."""
Ways = Annotated[Count, Field(le=10_000)]
"""Images that fill one hole."""
Ends = Annotated[CountOrZero, Field(le=10_000)]
"""Drawn latents between which a way leads, where 0 is for none."""
Reach = Annotated[float, Field(gt=0, le=1e6)]
"""Distance to go, in units of the latents."""
Seed = Annotated[int, Field(ge=0, le=MAX_SEED), BeforeValidator(parse_count), COUNT]
"""Seed of everything random."""
MOST_MINUTES = 1_000_000
Minutes = Annotated[float, Field(gt=0, le=MOST_MINUTES)]
"""Time that training may take."""
LearningRate = Annotated[float, Field(ge=1e-12, le=1)]
"""A rate, or a factor of one."""


def check_numbers(kinds: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Check that each of `values` is within the bounds of its kind, such as `Count`; kinds without bounds are left out.

    Raises:
        UsageError: one is not.
    """
    bounded = {name: (kinds[name], ...) for name in values if _has_bounds(kinds.get(name))}
    construct(create_model("Numbers", **cast(Any, bounded)), {name: values[name] for name in bounded})


def _has_bounds(kind: Any) -> bool:
    """Whether a kind of number, or one of several, has bounds."""
    return any(
        isinstance(part, FieldInfo)
        for alternative in (kind, *get_args(kind))
        for part in getattr(alternative, "__metadata__", ())
    )


def _canonical_resolution(resolution: Any) -> int | str:
    """A side, or 'WIDTHxHEIGHT' if they differ, so that equal resolutions compare equal."""
    height, width = parse_resolution(resolution)
    return width if width == height else f"{width}x{height}"


def _parse_held_out(share: Any) -> Any:
    """A share of the images, or 'auto'."""
    if share == "auto":
        return share
    if isinstance(share, bool) or not isinstance(share, int | float | str):
        raise ValueError(HELD_OUT_KINDS)
    try:
        number = float(share)
    except (ValueError, OverflowError) as error:
        raise ValueError(HELD_OUT_KINDS) from error
    if not 0 <= number <= MAX_HELD_OUT:
        raise ValueError(HELD_OUT_KINDS)
    return number


HELD_OUT_KINDS = f"should be a share from 0 to {MAX_HELD_OUT}, or auto"


def _held_out_argument(arguments: list[str]) -> float | str:
    try:
        return float(arguments[0])
    except ValueError:
        return arguments[0]  # auto, or what is refused in words where it is used


HELD_OUT = PrimitiveConstructorSpec(
    nargs=1,
    metavar="SHARE|auto",
    instance_from_str=_held_out_argument,
    is_instance=lambda value: isinstance(value, float | str),
    str_from_instance=lambda value: [str(value)],
)
HeldOutShare = Annotated[HeldOut, BeforeValidator(_parse_held_out), HELD_OUT]
"""A share of the images, or `auto`."""


RESOLUTION = PrimitiveConstructorSpec(
    nargs=1,
    metavar="SIDE|WIDTHxHEIGHT",
    instance_from_str=lambda arguments: arguments[0],
    is_instance=lambda value: isinstance(value, int | str),
    str_from_instance=lambda value: [str(value)],
)
Resolution = Annotated[int | str, BeforeValidator(_canonical_resolution), RESOLUTION]
