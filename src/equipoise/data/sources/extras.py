"""Packages that only some data needs."""

from collections.abc import Iterator
from contextlib import contextmanager

from equipoise.errors import UsageError


@contextmanager
def extra(name: str, data: str) -> Iterator[None]:
    """Import packages of the extra `name`, which `data` needs.

    Raises:
        UsageError: one of them is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise UsageError(f"{data} needs the package {error.name}: run `pip install 'equipoise[{name}]'`") from error
