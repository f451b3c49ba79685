"""CelebA's lists of attributes and of the official partition, as text or, from Kaggle, as CSV.

Liu, Luo, Wang and Tang (2015), arXiv:1411.7766; https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html. The text of
attributes begins with the number of images and a line of names, that of the partition has no head; a line names an
image and gives 1 or -1 for each attribute, or 0 (training), 1 (validation) or 2 (test).
"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np

from equipoise.data.sources.base import Annotations, LabelsAndClasses
from equipoise.data.sources.labels import listed, require_all, truth_names
from equipoise.errors import UsageError, counted

Value = TypeVar("Value")

ATTRIBUTES, PARTITION = "list_attr_celeba", "list_eval_partition"
TRUTH = {"1": 1, "-1": 0, "0": 0}
HEAD = "image_id"  # the first name in the head of a CSV
PARTS = {"0": False, "1": True, "2": True}  # validation and test are held out
PLACES = (
    "../",
    "../../",
    "../Anno/",
    "../Eval/",
    "../../Anno/",
    "../../Eval/",
)  # beside the data, or as CelebA has them


def beside(data: Path) -> dict[str, Path]:
    """The lists that lie beside a folder or .zip, by their names as from the top of the data."""
    names = [place + file for place in PLACES for file in READERS]
    paths = {name: Path(os.path.abspath(data / name)) for name in names}  # noqa: PTH100 (links are not followed)
    return {name: path for name, path in paths.items() if path.is_file()}


def read_attributes(content: bytes, images: Sequence[str], where: str) -> Annotations:
    """A column for each attribute, none of which is the label by itself; nothing where the list is of other images.

    Raises:
        UsageError: it is not such a list.
    """
    lines = _lines(content, where)
    if len(_fields(lines[0])) == 1:  # the number of images
        del lines[0]
    names, rows = [name for name in _fields(lines[0]) if name != HEAD] if lines else [], _by_name(lines[1:])
    if not any(len(_fields(row)) == len(names) + 1 for row in list(rows.values())[:1]):
        raise UsageError(f"{where} is no list of attributes, as CelebA has it: mend or remove it")
    files = [PurePosixPath(image).name for image in images]
    if rows.keys().isdisjoint(files):
        return Annotations()
    columns = {name: partial(_attribute, rows, files, name, place, where) for place, name in enumerate(names, 1)}
    return Annotations(columns=columns)


def read_partition(content: bytes, images: Sequence[str], where: str) -> Annotations:
    """The images of validation and test as held out; nothing where the list is of other images.

    What is not in the list is for training.

    Raises:
        UsageError: it is not such a list.
    """
    rows = _by_name([line for line in _lines(content, where) if not line.startswith(HEAD)])
    files = [PurePosixPath(image).name for image in images]
    if rows.keys().isdisjoint(files):
        return Annotations()
    missing = [image for image, file in zip(images, files, strict=True) if file not in rows]
    notes = (
        (f"{where} does not name {counted(len(missing), 'image')}, taken for training: {listed(missing)}",)
        if missing
        else ()
    )
    parts = (_value(rows[file], 1, PARTS, where) if file in rows else False for file in files)
    return Annotations(held_out=np.fromiter(parts, np.bool_, len(files)), notes=notes)


def _attribute(rows: Mapping[str, str], files: Sequence[str], name: str, place: int, where: str) -> LabelsAndClasses:
    require_all(rows, files, where)
    values = (_value(rows[file], place, TRUTH, where) for file in files)
    return np.fromiter(values, np.int64, len(files)), truth_names(name)


def _value(row: str, place: int, known: Mapping[str, Value], where: str) -> Value:
    fields = _fields(row)
    if len(fields) <= place or fields[place] not in known:
        raise UsageError(f"{where} has a line {row[:40]!r} without {', '.join(known)} in its place: mend or remove it")
    return known[fields[place]]


def _lines(content: bytes, where: str) -> list[str]:
    lines = [line for line in content.decode("utf-8", "replace").splitlines() if line.strip()]
    if not lines:
        raise UsageError(f"{where} is empty: get it again, or remove it")
    return lines


def _by_name(lines: Sequence[str]) -> dict[str, str]:
    """Lines by their first field; whole, for 200,000 lines of 41 fields would take half a gigabyte apart."""
    return {_fields(line, 1)[0]: line for line in lines}


def _fields(line: str, at_most: int = -1) -> list[str]:
    return [field.strip() for field in line.split("," if "," in line else None, at_most)]


READERS: Mapping[str, Callable[[bytes, Sequence[str], str], Annotations]] = {
    f"{name}{suffix}": reader
    for name, reader in ((ATTRIBUTES, read_attributes), (PARTITION, read_partition))
    for suffix in (".txt", ".csv")
}
