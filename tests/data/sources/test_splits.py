"""Image folders of splits, as data sets are distributed: classes within train/, val/ and test/."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_files import zipped

from equipoise.data import inspect, open_dataset
from equipoise.data.sources.splits import split_folders

SPLIT = ["train/cat/1", "train/cat/2", "train/dog/3", "val/dog/4", "test/cat/5"]


def written(names: list[str], path: Path) -> Path:
    """Gray images of 10 times the number that is their name."""
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 10 * int(name.rpartition("/")[2])).save(path / f"{name}.png")
    return path


def parts(data: Path) -> Mapping[str, tuple[list[int], list[int] | None]]:
    """Grays and labels of the images that train, and of those held out."""
    dataset = open_dataset(data, 4, held_out="auto")
    images = {part: dataset.split(part) for part in ("train", "held-out")}
    return {
        part: (each.pixels[:, 0, 0, 0].tolist(), None if each.labels is None else each.labels.tolist())
        for part, each in images.items()
    }


@pytest.mark.parametrize("kind", [lambda path: path, lambda path: zipped(path, path.parent / "photos.zip")])
def test_what_lies_in_other_folders_than_that_of_training_is_held_out(
    kind: Callable[[Path], Path], tmp_path: Path
) -> None:
    data = kind(written(SPLIT, tmp_path / "photos"))
    assert parts(data) == {"train": ([10, 20, 30], [0, 0, 1]), "held-out": ([50, 40], [0, 1])}
    assert open_dataset(data, 4, held_out="auto").split("train").class_names == ("cat", "dog")
    found = inspect(data)
    assert found.held_out == 2
    assert any(note.startswith("test and val, 2 images, held out by the names of") for note in found.notes)


def test_a_share_is_of_all_images(tmp_path: Path) -> None:
    dataset = open_dataset(written(SPLIT, tmp_path), 4, held_out=0.0)
    assert len(dataset.split("train")) == 5
    np.testing.assert_array_equal(dataset.split("train").labels, [0, 0, 0, 1, 1])


def test_splits_without_classes_have_none(tmp_path: Path) -> None:
    data = written(["Training/1", "Training/2", "Testing/3"], tmp_path / "photos")
    assert parts(data) == {"train": ([10, 20], None), "held-out": ([30], None)}


def test_images_of_a_test_without_classes_make_no_classes_of_the_others(tmp_path: Path) -> None:
    data = written(["train/cat/1", "train/dog/2", "test/3"], tmp_path)
    assert parts(data) == {"train": ([10, 20], None), "held-out": ([30], None)}


@pytest.mark.parametrize(
    "names",
    [
        ["train/1", "train/2"],
        ["train/1", "plane/2", "test/3"],
        ["val/1", "test/2"],
        ["train/1", "test/2", "3"],
        ["train/1", "training/2"],
        ["1", "2"],
    ],
)
def test_other_folders_are_no_splits(names: list[str]) -> None:
    assert split_folders(names) is None
