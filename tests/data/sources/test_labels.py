import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from equipoise.data import open_images
from equipoise.errors import UsageError

Saver = Callable[..., Path]


@pytest.fixture
def labelled(save: Saver) -> Path:
    """Three images in folders that are no classes, and a dataset.json that says what they are."""
    for name in ("00000/1.png", "00000/2.png", "00001/3.png"):
        folder = save(name).parents[1]
    return folder


def write(folder: Path, content: object) -> None:
    (folder / "dataset.json").write_text(json.dumps(content))


def labels(data: Path) -> list[int] | None:
    found = open_images(data, 8).labels
    return None if found is None else found.tolist()


@pytest.mark.parametrize("zipped", [False, True])
def test_a_dataset_json_says_the_labels(labelled: Path, tmp_path: Path, zipped: bool) -> None:
    def data(name: str) -> Path:
        return Path(shutil.make_archive(str(tmp_path / name), "zip", labelled)) if zipped else labelled

    write(labelled, {"labels": [["00001/3.png", 7], ["00000/1.png", 0], ["00000/2.png", 5], ["gone.png", 1]]})
    assert labels(data("a")) == [0, 5, 7]
    write(labelled, {"labels": None})
    assert labels(data("b")) is None  # the folders are no classes then, and the cache knows the difference
    write(labelled, {"authors": []})
    assert labels(data("c")) == [0, 0, 1]


def test_an_unreadable_image_takes_its_label_along(labelled: Path) -> None:
    write(labelled, {"labels": [["00000/1.png", 4], ["00000/2.png", 5], ["00001/3.png", 6]]})
    (labelled / "00000" / "2.png").write_text("broken")
    assert labels(labelled) == [4, 6]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"labels": [["00000/1.png", 0]]}, r"no label for 00000/2\.png, 00001/3\.png: add them"),
        ({"labels": [[f"{name}.png", 0] for name in "ab"]}, "no label for 00000/1.png"),
        ({"labels": [["00000/1.png", 0.5]]}, "with integers from 0"),
        ({"labels": [["00000/1.png", -1]]}, "with integers from 0"),
        ({"labels": [["00000/1.png", True]]}, "with integers from 0"),
        ({"labels": [["00000/1.png", 2**63]]}, "with integers from 0"),
        ({"labels": [["00000/1.png", [0, 1]]]}, "with integers from 0"),
        ({"labels": [[["a"], 1]]}, "with integers from 0"),
        ({"labels": [1, 2, 3]}, "with integers from 0"),
        ({"labels": 3}, "with integers from 0"),
    ],
)
def test_labels_that_do_not_match_are_refused(labelled: Path, content: object, message: str) -> None:
    write(labelled, content)
    with pytest.raises(UsageError, match=rf"dataset\.json in .*{message}"):
        open_images(labelled, 8)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_dataset_json_is_said(labelled: Path, content: bytes) -> None:
    (labelled / "dataset.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"dataset\.json in .* is damaged: .*; mend or remove it"):
        open_images(labelled, 8)
