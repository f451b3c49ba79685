"""Errors in a configuration, in one sentence each: the setting, the problem, the value, and the nearest known name."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from pydantic import ValidationError
from pydantic_core import ArgsKwargs

from equipoise.errors import MOST_REASON, UsageError, did_you_mean, one_line, quoted


def check_keys(values: Mapping[str, Any], kind: type, where: str) -> None:
    """Check that all keys are fields of the dataclass `kind`; `where` names the mapping in the error.

    Raises:
        UsageError: an unknown key.
    """
    known = [field.name for field in fields(kind)]
    for key in values:
        if key not in known:
            raise UsageError(f"unknown key {quoted(key)} in {where}{did_you_mean(str(key), known)}")


def construct(kind: Callable[..., Any], values: Mapping[str, Any]) -> Any:
    """`kind(**values)` of a pydantic dataclass, with its errors in one sentence.

    Raises:
        UsageError: a value is invalid.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        raise UsageError(explain(error)) from error


def explain(error: ValidationError) -> str:
    """The first problem in one sentence: the setting, the problem, and the value."""
    first = error.errors()[0]
    # Besides fields, `loc` names validators and union members, with capital letters: these mean nothing to a user.
    setting = ".".join(str(part) for part in first["loc"] if isinstance(part, str) and not part[:1].isupper())
    known = {"tuple_type": "Input should be a list, as [a, b]"}  # as it stands in a file or in a flag
    problem = known.get(first["type"], one_line(first["msg"].removeprefix("Value error, "), MOST_REASON))
    if not setting:
        return problem
    of_one_value = first["type"] != "missing" and not isinstance(first["input"], Mapping | ArgsKwargs)
    value = f", not {quoted(first['input'])}" if of_one_value else ""
    return f"{setting.replace('_', '-')}: {problem[0].lower()}{problem[1:].removesuffix(value)}{value}"
