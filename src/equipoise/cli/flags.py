"""Flags of the commands: tyro reads them from a function's signature and docstring."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr
from dataclasses import field, fields, is_dataclass, make_dataclass
from functools import partial, wraps
from inspect import signature
from io import StringIO
from itertools import groupby
from typing import Annotated, Any, get_type_hints

import tyro

from equipoise.config.numbers import check_numbers
from equipoise.errors import MOST_QUOTED, MOST_SHOWN, UsageError, one_line


def parse_and_call(command: Callable[..., int], words: list[str], name: str) -> int:
    """Parse `words` as the arguments of `command`, and call it.

    Args:
        command: a function whose parameters are the flags, and whose docstring is the help.
        words: what follows the command's name on the command line.
        name: the command's name in the help, such as "data pack".

    Returns:
        The exit code that `command` returns.

    Raises:
        SystemExit: with 0 after `--help`.
        UsageError: words that are not its arguments; or as the command does.
    """
    return _parse(command, words, f"equipoise {name}")()


def _parse(command: Callable[..., int], words: list[str], prog: str) -> Callable[[], int]:
    """`command` with its arguments, ready to be called."""

    @wraps(command)
    def parsed(*arguments: Any, **flags: Any) -> Callable[[], int]:
        values = signature(command).bind(*arguments, **flags).arguments
        return partial(_call_within_bounds, command, values)

    printed = StringIO()
    tyro._experimental_options["ansi_codes"] = not os.environ.get("NO_COLOR")  # which tyro does not know
    with ExitStack() as stack:
        if not {"-h", "--help"} & set(words):  # whose text is for a terminal, and as wide
            stack.enter_context(redirect_stderr(printed))
            stack.enter_context(_columns(MOST_SHOWN))
        try:
            return tyro.cli(parsed, args=words, prog=prog, config=(tyro.conf.OmitArgPrefixes,))
        except SystemExit as stop:
            if not stop.code or not printed.getvalue():
                raise
    raise UsageError(f"{_first_sentence(printed.getvalue())}: see `{prog} --help`")


def _call_within_bounds(command: Callable[..., int], values: Mapping[str, Any]) -> int:
    check_numbers(get_type_hints(command, include_extras=True), values)
    return command(**values)


def _first_sentence(box: str) -> str:
    """What tyro says is wrong, and the flags that it takes for meant, of the box that it draws."""
    lines = [line.strip("│|+ ") for line in box.splitlines()[1:-1]]
    parts = [list(part) for is_rule, part in groupby(lines, lambda line: set(line) <= set("─-")) if not is_rule]
    words = " ".join(parts[0]).replace(" (required)", "").removesuffix(".").split()
    near = [line.split()[0] for part in parts if "meant" in part[0] for line in part if line.startswith("--")]
    hint = f" (did you mean {' or '.join(dict.fromkeys(near))}?)" if near else ""
    return " ".join(one_line(word, MOST_QUOTED) for word in words) + hint


@contextmanager
def _columns(count: int) -> Iterator[None]:
    """Let a terminal seem so wide, that words are not broken at the end of a line."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(count)
    try:
        yield
    finally:
        del os.environ["COLUMNS"]
        if before is not None:
            os.environ["COLUMNS"] = before


def plain_dataclass(config: Any, without: Collection[str] = ()) -> Any:
    """Copy of a pydantic dataclass as a plain one: fields, nested ones too, with their help and present values.

    tyro makes its flags from this copy, which checks nothing: a value out of range is then refused by the configuration
    itself, with its own message, and not by tyro with pydantic's. Fields named in `without` are left out.
    """
    cls, hints = type(config), get_type_hints(type(config), include_extras=True)
    members: list[Any] = []
    for member in (member for member in fields(config) if member.name not in without):
        value = getattr(config, member.name)
        if is_dataclass(value):
            nested = plain_dataclass(value)
            members.append((member.name, type(nested), field(default=nested)))
        else:
            # pydantic keeps the docstring of an inherited field with the class that has it alone.
            kinds = [vars(kind).get("__pydantic_fields__", {}) for kind in cls.__mro__]
            texts = [kind[member.name].description for kind in kinds if member.name in kind]
            help_text = " ".join(next(filter(None, texts), "").split())
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


def given_flags(words: list[str]) -> set[str]:
    """Names of the settings that `words` give: of `--no-flip` and `--lr-ratio=2`, flip and lr_ratio."""
    names = (word.partition("=")[0].removeprefix("--") for word in words if word.startswith("--"))
    return {name.removeprefix("no-").replace("-", "_") for name in names}
