"""Files of JSON lines, one row each, that a crash can only cut short at their end."""

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from equipoise.errors import UsageError, reason
from equipoise.reading import open_plain, parse_json
from equipoise.runs.files import to_json, write_atomically, writing

MOST_LINE = 2**16  # bytes; a row of twenty measures has a hundredth of them
MOST_END = 2**16  # bytes of a file's end
MOST_NEW = 2**20  # bytes that are read on at once

Images = Annotated[int, Field(ge=0, lt=2**63)]


class MetricsRow(BaseModel):
    """A line of metrics.jsonl: measures by name, with null for one that was no number."""

    model_config = ConfigDict(extra="allow", strict=True)
    __pydantic_extra__: dict[str, float | None]
    images: Images


class EventRow(BaseModel):
    """A line of events.jsonl; what is wrong with a run has its parts too, except in older files."""

    model_config = ConfigDict(strict=True)
    images: Images
    level: str = ""
    kind: str = ""
    message: str = ""
    evidence: str | None = None
    meaning: str | None = None
    remedy: str | None = None


ROWS: dict[str, TypeAdapter[Any]] = {
    "metrics.jsonl": TypeAdapter(MetricsRow),
    "events.jsonl": TypeAdapter(EventRow),
}
"""What the lines of each file hold."""


def append(path: Path, row: Mapping[str, Any]) -> None:
    """Add one line; a number that JSON does not have, NaN or an infinity, becomes null.

    Raises:
        WriteError: the disk refuses; the lines before are untouched.
    """
    with writing(path), path.open("a", encoding="utf-8") as lines:
        lines.write(to_json(row) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file in ROWS, without what is no number; a line of another form is passed over.

    Raises:
        UsageError: it is there, but cannot be read.
    """
    return [row for _, row in _rows(path)]


def read_end(path: Path) -> list[dict[str, Any]]:
    """As `read`, of the last MOST_END bytes alone: what is latest, however long the file is."""
    return [row for _, row in _rows(path, MOST_END)]


def read_on(path: Path, start: int) -> tuple[list[dict[str, Any]], int]:
    """The rows from byte `start` on, of MOST_NEW bytes at most, and the byte from which to read on the next time.

    A last line that is still being written is left for then. No rows, from a file that is not there.

    Raises:
        UsageError: it is there, but cannot be read.
    """
    try:
        with open_plain(path) as file:
            file.seek(start)
            data = file.read(MOST_NEW)
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise UsageError(f"cannot read {path}: {reason(error)}; move it away, or bring the old one back") from error
    whole = data.rfind(b"\n") + 1 or (len(data) if len(data) == MOST_NEW else 0)  # of rubbish without lines, all
    lines = data[:whole].splitlines()
    return [row for line in lines if (row := _row(path, line)) is not None], start + whole


def cut(path: Path, images: int) -> None:
    """Keep the lines up to `images` images, as they stand.

    Raises:
        UsageError: it is there, but cannot be read.
        WriteError: the disk refuses; the file is untouched.
    """
    kept = b"".join(line.rstrip(b"\r\n") + b"\n" for line, row in _rows(path) if row["images"] <= images)
    with writing(path):
        write_atomically(path, kept)


def _rows(path: Path, most: int | None = None) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Lines and what they hold, in the last `most` bytes if so; none of a file that is not there."""
    try:
        with open_plain(path) as file:
            if most is not None and (size := os.fstat(file.fileno()).st_size) > most:
                file.seek(size - most)
                file.readline(MOST_LINE)  # the end of a line that began before
            while line := file.readline(MOST_LINE):
                if (row := _row(path, line)) is not None:
                    yield line, row
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"cannot read {path}: {reason(error)}; move it away, or bring the old one back") from error


def _row(path: Path, line: bytes) -> dict[str, Any] | None:
    """What a line holds, without what is no number; None if it is of another form."""
    try:
        values = parse_json(ROWS[path.name], line).model_dump()
    except ValueError:
        return None
    return {key: value for key, value in values.items() if _exists(value)}


def _exists(value: object) -> bool:
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))
