"""What lies with image files and says what they show: dataset.json, metadata, CelebA's lists, or their folders' names.

Such a file stands in the folder that holds all images or in one above it, up to the top, and names the images from
where it stands; the nearest counts. CelebA's lists may also lie beside the data.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from equipoise.data.sources import celeba, metadata
from equipoise.data.sources.base import Annotations, Labels, source_errors
from equipoise.data.sources.labels import by_plain_name, composed, listed, one_hot, require_all
from equipoise.data.sources.splits import common_folders, split_folders
from equipoise.errors import UsageError, counted, reason

DATASET = "dataset.json"  # as in the archives of StyleGAN and EDM: {"labels": [["00000/img00000000.png", 3], ..]}
EXPECTED = '{} must hold {{"labels": [["name.png", 3], ..]}} with integers from 0, or one-hot: mend or remove it'
FOLDER = "folder"  # name of the column of folders' names

Files = Mapping[str, Callable[[], bytes]]  # reads a file, by its name from the top of the data
Reader = Callable[[bytes, Sequence[str], str], Annotations]  # of a file's content, the images' names, and its own name


def is_annotation(name: str) -> bool:
    """Whether a file, by its name, may say what images show."""
    return PurePosixPath(name).name in READERS


def annotate(images: Sequence[str], files: Files, where: str) -> Annotations:
    """What is known of images; the labels are those of the first file that has any, else the names of their folders.

    Those that a file, or else the folders of splits, do not keep for training are held out.

    Args:
        images: their names from the top of the data, with / between folders.
        files: those that `is_annotation`.
        where: the data, in messages.

    Raises:
        UsageError: such a file is damaged, or does not name every image.
    """
    places, parts, left = [*_folders_above(images), *celeba.PLACES], [], set(files)
    for file, reader in READERS.items():
        place = next((place for place in places if place + file in files), None)
        if place is not None:
            left.remove(place + file)
            with source_errors(Path(where, place, file)):
                content = files[place + file]()
            names = [name.removeprefix(place) for name in images] if place else images
            parts.append(reader(content, names, f"{place}{file} in {where}"))
    splits = split_folders(images)
    folders = folder_labels(splits.names if splits else images)
    parts.append(replace(folders, notes=()) if any(part.label for part in parts) else folders)
    if left:
        note = f"not used, as they do not stand above all images: {listed(sorted(left))}"
        parts.append(Annotations(notes=(note,)))
    if splits and not any(part.held_out is not None for part in parts):
        others = f"{' and '.join(splits.folders)}, {counted(int(splits.held_out.sum()), 'image')}"
        note = f"{others}, held out by the names of their folders, unless --held-out gives a share of all"
        parts.append(Annotations(held_out=splits.held_out, notes=(note,)))
    return _merged(parts)


def folder_labels(images: Sequence[str]) -> Annotations:
    """Labels of images by their folders, if every image lies exactly one deep below the folder that holds them all.

    The labels (N,) number the sorted names of two or more folders. Where a few images lie elsewhere, and so the folders
    are no classes, a note names them.
    """
    parts = {folder: PurePosixPath(folder).parts for folder in {_folder(name) for name in images}}
    above: Counter[tuple[str, ...]] = Counter(parts[_folder(name)][:-1] for name in images if parts[_folder(name)])
    if not above:
        return Annotations()
    ((root, count),) = above.most_common(1)
    classes = tuple(sorted({folder[-1] for folder in parts.values() if folder and folder[:-1] == root}))
    if len(classes) < 2:
        return Annotations()
    if count < len(images):
        strays = [name for name in images if not parts[_folder(name)] or parts[_folder(name)][:-1] != root]
        elsewhere = f"{len(strays):,} of {counted(len(images), 'image')} lie elsewhere: {listed(strays)}"
        note = f"the {len(classes):,} folders are no classes, for {elsewhere}; move these to make them classes"
        return Annotations(notes=(note,))
    numbers = {name: number for number, name in enumerate(classes)}
    labels = np.fromiter((numbers[parts[_folder(name)][-1]] for name in images), np.int64, len(images))
    return Annotations(labels=labels, classes=classes, columns={FOLDER: lambda: (labels, classes)}, label=FOLDER)


def read_dataset(content: bytes, images: Sequence[str], where: str) -> Annotations:
    """Labels by a dataset.json: whole numbers or one-hot, in a list of pairs or a mapping, as "labels" or alone.

    Raises:
        UsageError: it is damaged, or does not give each image a label.
    """
    try:
        known = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is damaged: {reason(error)}; mend or remove it") from error
    images = [composed(image) for image in images]
    pairs = known["labels"] if isinstance(known, dict) and "labels" in known else known
    if pairs is None:
        return Annotations(label=DATASET, notes=(f"{where} says that there are no labels",))
    if isinstance(known, dict) and pairs is known and {composed(name) for name in known}.isdisjoint(images):
        return Annotations(notes=(f"{where} has no labels, and is not used",))
    by_name = _label_by_name(pairs, where)
    numbers = dict(zip(by_name, _as_numbers(list(by_name.values()), where).tolist(), strict=True))
    require_all(numbers, images, where)
    labels = np.array([numbers[name] for name in images], np.int64)
    gone = sorted(by_name.keys() - set(images))
    notes = (f"{where} names {counted(len(gone), 'image')} that cannot be found: {listed(gone)}",) if gone else ()
    return Annotations(labels=labels, columns={DATASET: lambda: (labels, None)}, label=DATASET, notes=notes)


READERS: Mapping[str, Reader] = {
    DATASET: read_dataset,
    **metadata.READERS,
    **celeba.READERS,
}
"""The files that say what images show, the first that has labels counts."""


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _folders_above(images: Sequence[str]) -> list[str]:
    """The folder that holds all images, and those above it up to the top, each with a / behind it; the top is ""."""
    common = common_folders(images)
    return [f"{'/'.join(common[:depth])}/" if depth else "" for depth in range(len(common), -1, -1)]


def _merged(parts: Sequence[Annotations]) -> Annotations:
    """All columns and notes, and the labels and the partition of the first that has them."""
    columns = {name: column for part in reversed(parts) for name, column in part.columns.items()}
    first = next((part for part in parts if part.label is not None), Annotations())
    return Annotations(
        labels=first.labels,
        classes=first.classes,
        columns=columns,
        label=first.label,
        held_out=next((part.held_out for part in parts if part.held_out is not None), None),
        notes=tuple(note for part in parts for note in part.notes),
    )


def _label_by_name(pairs: Any, where: str) -> dict[str, Any]:
    try:
        listed_pairs = [(name, label) for name, label in (pairs.items() if isinstance(pairs, dict) else pairs)]
    except (TypeError, ValueError) as error:
        raise UsageError(EXPECTED.format(where)) from error
    if not listed_pairs or not all(isinstance(name, str) for name, _ in listed_pairs):
        raise UsageError(EXPECTED.format(where))
    return by_plain_name(listed_pairs, where)


def _as_numbers(labels: list[Any], where: str) -> Labels:
    if all(type(label) is int and 0 <= label < 2**63 for label in labels):
        return np.array(labels, np.int64)
    if all(isinstance(label, list) and len(label) == len(labels[0]) for label in labels):
        with_ones = all(type(value) in (int, float) and value in (0, 1) for label in labels for value in label)
        if with_ones and (numbers := one_hot(np.array(labels))) is not None:
            return numbers
    raise UsageError(EXPECTED.format(where))
