"""Flags for the command line, made of a configuration's own fields, help and values."""

from collections.abc import Callable
from dataclasses import field, fields, is_dataclass, make_dataclass
from typing import Annotated, Any, get_type_hints

import tyro

from equipoise.errors import UsageError


def flags_dataclass(part: Any) -> Any:
    """A plain dataclass with the fields, help and values of `part`, for tyro to make flags of.

    Values out of range are then refused by the configuration itself, in its own words.
    """
    kind, hints = type(part), get_type_hints(type(part), include_extras=True)
    members: list[Any] = []
    for member in fields(part):
        value = getattr(part, member.name)
        if is_dataclass(value):
            twin = flags_dataclass(value)
            members.append((member.name, type(twin), field(default=twin)))
        else:
            help_text = kind.__pydantic_fields__[member.name].description
            hint: Any = Annotated[hints[member.name], tyro.conf.arg(help=help_text)]
            members.append((member.name, hint, field(default=value)))
    return make_dataclass(kind.__name__, members, frozen=True, kw_only=True)()


def call(function: Callable[..., int], words: list[str], name: str) -> int:
    """Let tyro read `words` as the arguments of `function`, and call it; returns the exit code that it gives."""
    return tyro.cli(function, args=words, prog=f"equipoise {name}", config=(tyro.conf.OmitArgPrefixes,))


def take(words: list[str], flag: str) -> str | None:
    """Remove `flag VALUE` or `flag=VALUE` from `words`; its value, if it was there."""
    for position, word in enumerate(words):
        if word.startswith(f"{flag}="):
            return words.pop(position).partition("=")[2]
        if word == flag:
            if position + 1 == len(words):
                raise UsageError(f"{flag} needs a value")
            del words[position]
            return words.pop(position)
    return None
