"""The labels of image files: the names of their folders, or a dataset.json beside them."""

import json
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from equipoise.data.sources.base import Labels
from equipoise.errors import UsageError, reason

DATASET = "dataset.json"  # as in the archives of StyleGAN and EDM: {"labels": [["00000/img00000000.png", 3], ..]}
NAMED = 3  # images named in a message

LabelsAndClasses = tuple[Labels | None, tuple[str, ...] | None]  # labels (N,) and the names of 0, 1, ..


def label_images(names: Sequence[str], dataset: bytes | None, where: str) -> LabelsAndClasses:
    """Labels of images by a dataset.json, if there is one that has labels, else by their folders.

    Raises:
        UsageError: it does not give each image an integer; `where` is what is to be mended.
    """
    if dataset is None:
        return folder_labels(names)
    try:
        known = json.loads(dataset)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{DATASET} in {where} is damaged: {reason(error)}; mend or remove it") from error
    if not isinstance(known, dict) or "labels" not in known:
        return folder_labels(names)
    return (None if known["labels"] is None else _listed(names, known["labels"], where)), None


def folder_labels(names: Sequence[str]) -> LabelsAndClasses:
    """Labels of images by their folders, if every image lies exactly one deep below the folder that holds them all.

    Returns labels (N,) that number the sorted names of two or more folders, and those names; else None and None.
    """
    folders = {folder: PurePosixPath(folder).parts for folder in map(_folder, names)}
    above = {parts[:-1] for parts in folders.values()}
    if () in folders.values() or len(above) > 1 or len(folders) < 2:
        return None, None
    classes = tuple(sorted({parts[-1] for parts in folders.values()}))
    numbers = {name: number for number, name in enumerate(classes)}
    labels = np.fromiter((numbers[folders[_folder(name)][-1]] for name in names), np.int64, len(names))
    return labels, classes


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _listed(names: Sequence[str], listed: object, where: str) -> Labels:
    """Label of each image, from a list of names and labels."""
    expected = (
        f'{DATASET} in {where} must hold {{"labels": [["name.png", 3], ..]}} with integers from 0: mend or remove it'
    )
    try:
        numbers = dict(listed)  # type: ignore[call-overload]
    except (TypeError, ValueError) as error:
        raise UsageError(expected) from error
    if any(type(number) is not int or not 0 <= number < 2**63 for number in numbers.values()):
        raise UsageError(expected)
    missing = [name for name in names if name not in numbers]
    if missing:
        more = f" and {len(missing) - NAMED:,} more" if len(missing) > NAMED else ""
        raise UsageError(
            f"{DATASET} in {where} has no label for {', '.join(missing[:NAMED])}{more}: add them, or remove it"
        )
    return np.fromiter((numbers[name] for name in names), np.int64, len(names))
