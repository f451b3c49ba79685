"""Labels of any source: columns to choose from, and class numbers that run from 0 without a gap."""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, TypeVar

import numpy as np

from equipoise.data.sources.base import Contents, Labels, LabelsAndClasses, Source
from equipoise.errors import UsageError, did_you_mean, printable

Value = TypeVar("Value")

COLUMNS = 64  # columns that a refusal names
LONG = 80  # characters of a name in a message
NAMED = 3  # images, columns or labels named in a message
LABELS = ("label", "labels", "class", "fine_label", "target")  # columns that are taken where none is chosen


@contextmanager
def open_labelled(source: Source, label: str | None = None) -> Iterator[Contents]:
    """Open a source with the labels of the column `label`, or with those it has by itself, numbered from 0.

    Raises:
        UsageError: the source is damaged as a whole, or has no such column.
    """
    with source.contents() as contents:
        yield numbered(_chosen(contents, label, source.name))


def numbered(contents: Contents) -> Contents:
    """The same with class numbers 0, 1, .. in the order of the labels, which become the names of the classes.

    Nothing is changed where they are that already, or where the data itself names its classes; what is changed, and
    which named classes have no images, is noted.
    """
    if contents.labels is None:
        return contents
    values, numbers = np.unique(contents.labels, return_inverse=True)
    if contents.classes is not None:
        present = set(values.tolist())
        empty = [name for number, name in enumerate(contents.classes) if number not in present]
        if not empty:
            return contents
        note = f"{len(empty):,} of {len(contents.classes):,} classes have no images: {listed(empty)}"
        return replace(contents, notes=(*contents.notes, note))
    if values.tolist() == list(range(len(values))):
        return contents
    names = tuple(str(value) for value in values.tolist())
    note = f"the labels {listed(names)} are numbered 0 to {len(names) - 1:,}, in this order"
    return replace(contents, labels=numbers.astype(np.int64), classes=names, notes=(*contents.notes, note))


def number_values(values: Sequence[Any], name: str, where: str) -> LabelsAndClasses:
    """Labels from the values of a column called `name`: whole numbers, truth values, or words, which are sorted.

    Raises:
        UsageError: some are missing, or are of another kind; `where` is what is to be mended.
    """
    missing = sum(value is None for value in values)
    if missing:
        raise UsageError(f"{missing:,} of {len(values):,} labels {name!r} in {where} are null: fill or drop them")
    if all(type(value) is bool for value in values):
        return np.array(values, np.int64), truth_names(name)
    if all(type(value) is int for value in values):
        far = max(values, key=abs)
        if abs(far) >= 2**63:
            raise UsageError(f"the labels {name!r} in {where} must be below 2^63, but reach {far}: mend them")
        return np.array(values, np.int64), None
    if all(isinstance(value, str) for value in values):
        words, numbers = np.unique(np.array(values, object), return_inverse=True)
        return numbers.astype(np.int64), tuple(words.tolist())
    raise UsageError(f"the labels {name!r} in {where} must all be whole numbers, or all words: mend them")


def plain_name(name: str) -> str:
    """An image's name with / between folders, where some programs write a backslash or begin with a dot."""
    return PurePosixPath(name.replace("\\", "/")).as_posix()


def composed(name: str) -> str:
    """An image's name with each letter and its accent as one character: macOS has them as two, most others do not."""
    return unicodedata.normalize("NFC", name)


def by_plain_name(pairs: Iterable[tuple[str, Value]], where: str) -> dict[str, Value]:
    """What is said of images, by their plain names, `composed`.

    Raises:
        UsageError: of one image two different things are said.
    """
    known: dict[str, Value] = {}
    for name, value in pairs:
        first = known.setdefault(composed(plain_name(name)), value)
        if first is not value and first != value:  # the first alone would do for NaN
            raise UsageError(f"{where} names {listed([name])} twice, with different labels: mend or remove it")
    return known


def require_all(known: Mapping[str, object], images: Sequence[str], where: str) -> None:
    """Raise UsageError, with the names, unless all images are among what is known."""
    missing = [name for name in images if name not in known]
    if missing:
        raise UsageError(f"{where} has no label for {listed(missing)}: add them, or remove it")


def truth_names(name: str) -> tuple[str, str]:
    """Names of the classes 0 and 1 of what either is so or not."""
    return f"not {name}", name


def one_hot(labels: "np.ndarray[Any, Any]") -> Labels | None:
    """Class numbers (N,) of labels (N, K) that are 1 in one place each, and 0 elsewhere; None if they are not."""
    if labels.ndim != 2 or labels.shape[1] < 2 or not np.issubdtype(labels.dtype, np.number):
        return None
    if not (np.isin(labels, (0, 1)).all() and (labels.sum(1) == 1).all()):
        return None
    return np.asarray(labels.argmax(1), np.int64)


def listed(names: Sequence[str], at_most: int = NAMED) -> str:
    """The first names, each without what a terminal would obey and cut after LONG characters, and how many more."""
    more = f" and {len(names) - at_most:,} more" if len(names) > at_most else ""
    shown = (printable(name if len(name) <= LONG else f"{name[:LONG]}...") for name in names[:at_most])
    return ", ".join(shown) + more


def _chosen(contents: Contents, label: str | None, source: str) -> Contents:
    columns = list(contents.columns)
    if label is None:
        if contents.labels is None and contents.label is not None and contents.label in columns:
            labels, classes = contents.columns[contents.label]()
            contents = replace(contents, labels=labels, classes=classes)
        unused = [column for column in columns if column != contents.label]
        if not unused:
            return contents
        used = "no labels are used" if contents.labels is None else f"the labels are those of {contents.label!r}"
        note = f"{used}; --label can choose {listed(unused)}"
        return replace(contents, notes=(*contents.notes, note))
    if not columns:
        raise UsageError(f"{source} has no columns of labels to choose from: leave --label out")
    if label not in contents.columns:
        near = did_you_mean(label, columns)
        raise UsageError(f"{source} has no labels called {label!r}{near}: choose from {listed(columns, COLUMNS)}")
    labels, classes = contents.columns[label]()
    if labels is None:
        raise UsageError(f"the labels {label!r} in {source} are all missing: choose others, or leave --label out")
    return replace(contents, labels=labels, classes=classes, label=label)
