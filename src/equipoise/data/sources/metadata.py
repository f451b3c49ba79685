"""metadata.csv and metadata.jsonl beside images, as the datasets library's ImageFolder has them.

Each row names an image in `file_name`; every other column can be its label.
See https://huggingface.co/docs/datasets/image_dataset.
"""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from equipoise.data.sources.base import Annotations, LabelsAndClasses
from equipoise.data.sources.labels import (
    LABELS,
    by_plain_name,
    composed,
    listed,
    number_values,
    plain_name,
    require_all,
)
from equipoise.errors import UsageError, counted, reason

NAME = "file_name"

Row = Mapping[str, Any]


def read_csv(content: bytes, images: Sequence[str], where: str) -> Annotations:
    """Columns of a metadata.csv; what is empty is missing, and a column of whole numbers alone is one of numbers.

    Raises:
        UsageError: it is damaged, or has labels but not for every image.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig")), strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{where} is damaged: {reason(error)}; mend or remove it") from error
    return _annotate([{key: value or None for key, value in row.items() if key} for row in rows], images, where)


def read_jsonl(content: bytes, images: Sequence[str], where: str) -> Annotations:
    """Columns of a metadata.jsonl, a JSON object a line.

    Raises:
        UsageError: it is damaged, or has labels but not for every image.
    """
    try:
        rows = [json.loads(line) for line in content.decode("utf-8-sig").split("\n") if line.strip()]
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is damaged: {reason(error)}; mend or remove it") from error
    if not all(isinstance(row, dict) for row in rows):
        raise UsageError(f"{where} must hold a JSON object a line: mend or remove it")
    return _annotate(rows, images, where)


READERS: Mapping[str, Callable[[bytes, Sequence[str], str], Annotations]] = {
    "metadata.jsonl": read_jsonl,
    "metadata.csv": read_csv,
}


def _annotate(rows: Sequence[Row], images: Sequence[str], where: str) -> Annotations:
    names = dict.fromkeys(key for row in rows for key in row)
    if NAME not in names:
        return Annotations(notes=(f"{where} has no column {NAME!r}, and is not used",))
    named = [row for row in rows if isinstance(row.get(NAME), str)]
    columns = {name: partial(_column, named, name, images, where) for name in names if name != NAME}
    gone = sorted({composed(plain_name(row[NAME])) for row in named} - set(map(composed, images)))
    notes = (f"{where} names {counted(len(gone), 'image')} that cannot be found: {listed(gone)}",) if gone else ()
    return Annotations(columns=columns, label=next((name for name in LABELS if name in columns), None), notes=notes)


def _column(rows: Sequence[Row], name: str, images: Sequence[str], where: str) -> LabelsAndClasses:
    known = by_plain_name(((row[NAME], row.get(name)) for row in rows), where)
    images = [composed(image) for image in images]
    require_all(known, images, where)
    values: list[Any] = [known[image] for image in images]
    if all(isinstance(value, str) and _is_whole(value) for value in values):
        values = [int(value) for value in values]
    return number_values(values, name, where)


def _is_whole(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdecimal() and len(digits) <= 18
