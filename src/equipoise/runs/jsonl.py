"""Files of JSON lines, one row each, that a crash can only cut short at their end."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from equipoise.runs.files import write_atomically, writing


def append(path: Path, row: Mapping[str, Any]) -> None:
    """Add one line.

    Raises:
        WriteError: the disk refuses; the lines before are untouched.
    """
    with writing(path), path.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """The rows that count `images`; a line that a crash cut short is passed over, and no file has no rows."""
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and "images" in row:
            rows.append(row)
    return rows


def cut(path: Path, images: int) -> None:
    """Keep the rows up to `images` images.

    Raises:
        WriteError: the disk refuses; the file is untouched.
    """
    kept = "".join(json.dumps(row) + "\n" for row in read(path) if row["images"] <= images)
    with writing(path):
        write_atomically(path, kept.encode())
