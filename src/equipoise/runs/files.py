"""Files written whole or not at all, and what the disk refuses said in one sentence."""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from equipoise.errors import UsageError

LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.tmp", re.DOTALL)


class WriteError(UsageError):
    """The disk refuses a file: it is full, or may not be written. What was there before is untouched."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into one sentence.

    Raises:
        WriteError: in place of OSError, as there is no room or no permission.
    """
    try:
        yield
    except OSError as error:
        raise WriteError(f"cannot write {path}: {error.strerror or error}; make room, then resume") from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a crash at any instant leaves the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")  # as LEFTOVER says
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def leftovers(folder: Path) -> list[Path]:
    """Files in `folder` that `write_atomically` had begun when its process was killed."""
    return [path for path in folder.glob(".*.tmp") if LEFTOVER.fullmatch(path.name) and path.is_file()]


def write_where_asked(path: Path, text: str) -> None:
    """Write `text` to a file that the user has named, whole or not at all, in a folder that need not be there.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}; choose another place") from error


def sync(path: Path) -> None:
    """Force a file or folder to the disk, as far as there is one and the file system can."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
