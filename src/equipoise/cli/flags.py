"""Flags of the commands: tyro reads them from a function's signature and docstring."""

from collections.abc import Callable
from dataclasses import field, fields, is_dataclass, make_dataclass
from typing import Annotated, Any, get_type_hints

import tyro

from equipoise.errors import UsageError


def parse_and_call(command: Callable[..., int], words: list[str], name: str) -> int:
    """Parse `words` as the arguments of `command`, and call it.

    Args:
        command: a function whose parameters are the flags, and whose docstring is the help.
        words: what follows the command's name on the command line.
        name: the command's name in the help, such as "data pack".

    Returns:
        The exit code that `command` returns.

    Raises:
        SystemExit: with 0 after `--help`, with 2 for words that are not its arguments.
    """
    return tyro.cli(command, args=words, prog=f"equipoise {name}", config=(tyro.conf.OmitArgPrefixes,))


def plain_dataclass(config: Any) -> Any:
    """Copy of a pydantic dataclass as a plain one: fields, nested ones too, with their help and present values.

    tyro makes its flags from this copy, which checks nothing: a value out of range is then refused by the configuration
    itself, with its own message, and not by tyro with pydantic's.
    """
    cls, hints = type(config), get_type_hints(type(config), include_extras=True)
    members: list[Any] = []
    for member in fields(config):
        value = getattr(config, member.name)
        if is_dataclass(value):
            nested = plain_dataclass(value)
            members.append((member.name, type(nested), field(default=nested)))
        else:
            help_text = cls.__pydantic_fields__[member.name].description
            hint: Any = Annotated[hints[member.name], tyro.conf.arg(help=help_text)]
            members.append((member.name, hint, field(default=value)))
    return make_dataclass(cls.__name__, members, frozen=True, kw_only=True)()


def pop_flag(words: list[str], flag: str) -> str | None:
    """Remove `flag VALUE` or `flag=VALUE` from `words`, and return the value; None if the flag is not there.

    For flags that decide which other flags exist, so that they must be read before tyro sees the rest.
    """
    for position, word in enumerate(words):
        if word.startswith(f"{flag}="):
            return words.pop(position).partition("=")[2]
        if word == flag:
            if position + 1 == len(words):
                raise UsageError(f"{flag} needs a value")
            del words[position]
            return words.pop(position)
    return None
