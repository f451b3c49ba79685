"""Files written whole or not at all, and what the disk refuses said in one sentence."""

import errno
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from equipoise.data.cache import UNFINISHED, atomic_file, atomic_folder, remove_leftovers, room_first
from equipoise.errors import UsageError, printable, quoted, reason
from equipoise.reading import check_name, is_text

PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}  # kinds by suffix
LARGEST_JPEG = 65_500  # pixels of a side, that libjpeg writes
LEFTOVER = re.compile(rf"\..+\.[0-9a-f]{{8}}{re.escape(UNFINISHED)}", re.DOTALL)  # as `atomic_file` names it


class WriteError(UsageError):
    """The disk refuses a file: it is full, or may not be written. What was there before is untouched."""


@contextmanager
def writing(path: Path, then: str = "resume") -> Iterator[None]:
    """Turn what the disk refuses into one sentence, which says what to do `then`.

    Raises:
        WriteError: in place of OSError, as there is no room or no permission.
    """
    try:
        yield
    except OSError as error:
        remedy = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "mend that"
        raise WriteError(f"cannot write {path}: {reason(error)}; {remedy}, then {then}") from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a crash at any instant leaves the old file or the new one, never a part."""
    with atomic_file(path) as partial:
        partial.write_bytes(data)


def to_json(value: Any, indent: int | None = None) -> str:
    """`value` as JSON that every reader takes: null for NaN and infinities, escapes for what is no text in UTF-8."""
    return json.dumps(_plain(value), indent=indent, allow_nan=False)


def _plain(value: Any) -> Any:
    match value:
        case Mapping():
            return {_plain(key): _plain(each) for key, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case float():
            return value if math.isfinite(value) else None
        case str():
            return value if is_text(value) else printable(value)
    return value


def leftovers(folder: Path) -> list[Path]:
    """Files in `folder` that `write_atomically` had begun when its process was killed."""
    return [path for path in folder.glob(f".*{UNFINISHED}") if LEFTOVER.fullmatch(path.name) and path.is_file()]


def check_place(*paths: Path | None) -> None:
    """Refuse places that the user has named, before there is anything to write; None is fine.

    Raises:
        UsageError: no file can have that name, there is something else than a file, the folder may not be written, or
            two of the places are one.
    """
    named = [path for path in paths if path is not None]
    for path in named:
        check_name(path)
        if os.path.lexists(path) and not path.is_file():  # a device would be replaced, and a pipe waited for
            raise UsageError(f"{path} is there and is no file: choose another place")
        check_above(path)
    if len({path.absolute() for path in named}) < len(named):
        raise UsageError(f"{named[0]} is to be two files at once: choose another place for one")


def check_above(path: Path) -> None:
    """Refuse a place for a new file or folder that the user has named, if nothing can be made there.

    Raises:
        UsageError: no file can have that name, or what is above it is no folder, or may not be written.
    """
    check_name(path)
    above = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
    if not above.is_dir():
        raise UsageError(f"cannot write {path}: {above} is no folder; choose another place")
    if not os.access(above, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write {path}: {above} may not be written; choose another place")


@contextmanager
def folder_where_asked(path: Path) -> Iterator[Path]:
    """Yield a new folder to fill, which takes the place that the user has named when it is whole, or vanishes.

    Raises:
        UsageError: it is there and not an empty folder, or cannot be written.
    """
    check_above(path)
    final = path.absolute()
    try:
        if os.path.lexists(final) and (not final.is_dir() or any(final.iterdir())):
            raise UsageError(f"{path} is not an empty folder: choose another --out")
        final.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(final.parent, final.name)
        with atomic_folder(final) as partial:
            yield partial
    except OSError as error:
        raise UsageError(f"cannot write {path}: {reason(error)}; {room_first(error)}choose another place") from error


@contextmanager
def file_where_asked(path: Path) -> Iterator[BinaryIO]:
    """Yield a new file to write, which takes the place that the user has named when it is whole, folders included.

    Raises:
        UsageError: it cannot be written, or there is something else than a file.
    """
    check_place(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, path.name)
        with atomic_file(path) as partial, partial.open("wb") as file:
            yield file
    except OSError as error:
        raise UsageError(f"cannot write {path}: {reason(error)}; {room_first(error)}choose another place") from error


def write_where_asked(path: Path, text: str) -> None:
    """Write `text` to a file that the user has named, as `file_where_asked`."""
    with file_where_asked(path) as file:
        file.write(text.encode())


def check_kind(path: Path, what: str, kinds: Iterable[str]) -> None:
    """Refuse a place for `what`, as "a picture", whose suffix is none of `kinds`; "" is that of a folder.

    Raises:
        UsageError: it is none of them.
    """
    if path.suffix.lower() not in kinds:
        known = [kind or "a folder's name" for kind in kinds]
        raise UsageError(f"cannot write {what} as {quoted(path.name)}: use {', '.join(known[:-1])} or {known[-1]}")


def check_picture(path: Path) -> None:
    """Refuse a file for a picture, named by the user, before there is one to write.

    Raises:
        UsageError: it is of no kind in PICTURES, or as `check_place`.
    """
    check_kind(path, "a picture", PICTURES)
    check_place(path)


def save_picture(path: Path, picture: Image.Image) -> None:
    """Write a picture to a file that the user has named, of a kind in PICTURES.

    Raises:
        UsageError: it is of another kind, too large for that, or cannot be written.
    """
    check_picture(path)
    if PICTURES[path.suffix.lower()] == "JPEG" and max(picture.size) > LARGEST_JPEG:
        raise UsageError(
            f"{path} would have {picture.width:,}x{picture.height:,} pixels, and a JPEG has {LARGEST_JPEG:,} a side at "
            "most: write a .png"
        )
    with file_where_asked(path) as file:
        picture.save(file, PICTURES[path.suffix.lower()])
