"""Arguments of the public functions, held to what their signatures declare: `checked`, a decorator."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache, wraps
from inspect import Parameter, signature
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
from pydantic import BaseModel, ConfigDict, InstanceOf, ValidationError, create_model
from torch import Tensor

from equipoise.config.messages import explain
from equipoise.errors import UsageError, quoted

P = ParamSpec("P")
R = TypeVar("R")

OF_BOUNDS = ("greater_than", "less_than", "value_error")  # kinds of errors that say more than the declared kind
NOUNS: dict[Any, str] = {
    NoneType: "None",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    np.ndarray: "an array",
    Tensor: "a tensor",
    tuple: "a tuple",
    Mapping: "a dictionary",
    Callable: "a function",
}


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator of a public function: an argument of a wrong kind or size is refused before anything is done.

    It is told which argument, what it should be, and what it is, where Python would only fail somewhere below. Bounds
    are those of the declared kinds, such as `config.numbers.Count`. Settings in `**settings` are not looked at.

    Raises:
        UsageError: an argument is not what the signature declares.
        TypeError: one is missing or unknown, as Python says it of every function.
    """
    declared = signature(function)
    variable = {name for name, each in declared.parameters.items() if each.kind is Parameter.VAR_KEYWORD}

    @cache
    def kinds() -> tuple[dict[str, Any], type[BaseModel]]:  # when first called: an import should not wait for it
        hints = get_type_hints(function, include_extras=True)
        hints = {name: hints[name] for name in declared.parameters if name in hints and name not in variable}
        # A dictionary is not taken for a dataclass: `from_dict` says more of what is wrong in one.
        exact: Any = InstanceOf
        fields: Any = {name: (exact[kind] if is_dataclass(kind) else kind, None) for name, kind in hints.items()}
        return hints, create_model("Arguments", __config__=ConfigDict(arbitrary_types_allowed=True), **fields)

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = declared.bind(*args, **kwargs)
        hints, model = kinds()
        given = {name: value for name, value in bound.arguments.items() if name in hints}
        try:
            values = model(**given)
        except ValidationError as error:
            raise UsageError(_refusal(error, hints, given)) from error
        bound.arguments.update({name: getattr(values, name) for name in given})
        return function(*bound.args, **bound.kwargs)

    return called


def _refusal(error: ValidationError, hints: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """Which argument is not what it should be, in a sentence."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0])
    if first["type"].startswith(OF_BOUNDS):
        return explain(error)
    noun = kind_in_words(hints[name])
    hint = " (equipoise.Run.open(folder) gives one)" if noun == "a Run" else ""
    return f"{name} should be {noun}{hint}, not {quoted(given[name])}"


def kind_in_words(kind: Any) -> str:
    """A declared kind as a noun: "a path or None", "a list of whole numbers"."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return kind_in_words(inner[0])
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(kind_in_words(each) for each in inner))
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin is Sequence:
        return f"a list (each {kind_in_words(inner[0])})"
    name = (origin or kind).__name__
    return NOUNS.get(origin or kind) or f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"
