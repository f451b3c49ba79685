"""Errors in a configuration, in one sentence each: where, what, the value, and the nearest known name."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from pydantic import ValidationError

from equipoise.errors import UsageError


def _refuse_unknown(values: Mapping[str, Any], kind: type, where: str) -> None:
    known = [field.name for field in fields(kind)]
    for key in values:
        if key not in known:
            raise UsageError(f"unknown key {key!r} in {where}{suggestion(str(key), known)}")


def suggestion(wrong: str, known: Any) -> str:
    """', did you mean ...?' where a known word is near, else nothing."""
    near = difflib.get_close_matches(wrong, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _checked(kind: Callable[..., Any], values: Mapping[str, Any]) -> Any:
    try:
        return kind(**values)
    except ValidationError as error:
        raise UsageError(explain(error)) from error


def explain(error: ValidationError) -> str:
    """The first thing wrong in one sentence: where, what, and the value given."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if isinstance(part, str) and not part[:1].isupper())
    problem = first["msg"].removeprefix("Value error, ")
    return f"{where.replace('_', '-')}: {problem[0].lower()}{problem[1:]}, not {first['input']!r}" if where else problem


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
