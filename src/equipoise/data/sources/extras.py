"""Packages that only some kinds of data need."""

from collections.abc import Iterator
from contextlib import contextmanager

from equipoise.errors import UsageError


@contextmanager
def extra(name: str, data: str) -> Iterator[None]:
    """Import packages of the extra `name`, which `data` needs: imports go into the `with` block.

    Raises:
        UsageError: one of them is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise UsageError(f"{data} needs the package {error.name}: run `pip install 'equipoise[{name}]'`") from error
