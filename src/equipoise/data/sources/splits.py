"""The splits of a data set: what they are called, and folders that are named by them."""

from collections.abc import Sequence
from itertools import takewhile
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TRAIN = "train"
SPLITS = {"train": TRAIN, "training": TRAIN, "test": "test", "testing": "test"} | dict.fromkeys(
    ("validation", "valid", "val", "dev"), "validation"
)


class SplitFolders(NamedTuple):
    """Images that lie in folders of their splits.

    Attributes:
        held_out: (N,) those in other folders than that of training.
        names: of all N, without these folders.
        folders: those that are held out, sorted.
    """

    held_out: NDArray[np.bool_]
    names: list[str]
    folders: list[str]


def split_folders(images: Sequence[str]) -> SplitFolders | None:
    """The splits of images, by their names, or None where their folders say nothing of them.

    They do if the folder that holds every image has `train/` and other splits in it, as in `train/cats/1.png` and
    `val/cats/2.png`, and nothing else: `train`, `test` and `plane` are classes.
    """
    depth = len(common_folders(images))
    parts = [PurePosixPath(name).parts for name in images]
    folders = {part[depth] if len(part) > depth + 1 else "" for part in parts}
    splits = {folder: SPLITS.get(folder.lower()) for folder in folders}
    kinds = set(splits.values())
    if len(kinds) < 2 or None in kinds or TRAIN not in kinds:
        return None
    held_out = np.fromiter((splits[part[depth]] != TRAIN for part in parts), np.bool_, len(parts))
    names = ["/".join((*part[:depth], *part[depth + 1 :])) for part in parts]
    return SplitFolders(held_out, names, sorted(folder for folder in folders if splits[folder] != TRAIN))


def common_folders(images: Sequence[str]) -> list[str]:
    """The folders, from the top, in which all images lie."""
    folders = [PurePosixPath(folder).parts for folder in {name.rpartition("/")[0] for name in images}]
    return [parts[0] for parts in takewhile(lambda parts: len(set(parts)) == 1, zip(*folders, strict=False))]
