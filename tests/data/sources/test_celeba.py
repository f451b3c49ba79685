"""CelebA as it is distributed, in a small synthetic copy of its layout."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from equipoise.data import inspect, open_dataset, open_images, pack
from equipoise.errors import UsageError

ATTRIBUTES = ("5_o_Clock_Shadow", "Male", "Smiling", "Young")
COUNT = 40
PARTS = np.array([0] * 28 + [1] * 6 + [2] * 6)
VALUES = np.random.default_rng(0).choice([-1, 1], (COUNT, len(ATTRIBUTES)))
NAMES = [f"{number:06d}.jpg" for number in range(1, COUNT + 1)]
Layout = Callable[[Path], Path]


def images(folder: Path) -> Path:
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for name in NAMES:
        pixels = random.integers(0, 256, (28, 22, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((178, 218)).save(folder / name)
    return folder


def texts(anno: Path, evaluation: Path | None = None) -> None:
    """The lists as in CelebA's own files, with their columns aligned by blanks."""
    anno.mkdir(parents=True, exist_ok=True)
    rows = [f"{name} {' '.join(f'{value:2d}' for value in row)}" for name, row in zip(NAMES, VALUES, strict=True)]
    (anno / "list_attr_celeba.txt").write_text("\n".join([str(COUNT), " ".join(ATTRIBUTES) + " ", *rows, ""]))
    (anno / "identity_CelebA.txt").write_text("".join(f"{name} {number}\n" for number, name in enumerate(NAMES)))
    evaluation = evaluation or anno
    evaluation.mkdir(parents=True, exist_ok=True)
    (evaluation / "list_eval_partition.txt").write_text(
        "".join(f"{name} {part}\n" for name, part in zip(NAMES, PARTS, strict=True))
    )


def zipped(folder: Path, out: Path) -> Path:
    """The .zip of a folder, in which it is the only entry at the top."""
    out.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.make_archive(str(out), "zip", folder.parent, folder.name))


def beside_the_zip(root: Path) -> Path:
    texts(root)
    return zipped(images(root / "x" / "img_align_celeba"), root / "img_align_celeba")


def beside_the_folder(root: Path) -> Path:
    texts(root)
    return images(root / "img_align_celeba")


def in_the_folders_of_the_authors(root: Path) -> Path:
    texts(root / "Anno", root / "Eval")
    return zipped(images(root / "x" / "img_align_celeba"), root / "Img" / "img_align_celeba")


def as_kaggle_has_it(root: Path) -> Path:
    images(root / "img_align_celeba" / "img_align_celeba")
    rows = [f"{name},{','.join(map(str, row))}" for name, row in zip(NAMES, VALUES, strict=True)]
    (root / "list_attr_celeba.csv").write_text("\n".join([f"image_id,{','.join(ATTRIBUTES)}", *rows, ""]))
    rows = [f"{name},{part}" for name, part in zip(NAMES, PARTS, strict=True)]
    (root / "list_eval_partition.csv").write_text("\n".join(["image_id,partition", *rows, ""]))
    return root / "img_align_celeba"


def all_in_one_zip(root: Path) -> Path:
    folder = as_kaggle_has_it(root / "celeba").parent
    return Path(shutil.make_archive(str(root / "archive"), "zip", folder))


def all_in_one_folder(root: Path) -> Path:
    return as_kaggle_has_it(root / "celeba").parent


LAYOUTS = (
    beside_the_zip,
    beside_the_folder,
    in_the_folders_of_the_authors,
    as_kaggle_has_it,
    all_in_one_zip,
    all_in_one_folder,
)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_attributes_and_partition_are_found(tmp_path: Path, layout: Layout) -> None:
    data = layout(tmp_path / "celeba")
    whole = open_images(data, 16, crop=108, label="Smiling")
    assert len(whole) == COUNT
    assert whole.labels is not None
    assert whole.labels.tolist() == (VALUES[:, 2] > 0).tolist()
    assert whole.class_names == ("not Smiling", "Smiling")
    dataset = open_dataset(data, 16, crop=108, label="Smiling", held_out="auto")
    training, held_out = dataset.split("train"), dataset.split("held-out")
    np.testing.assert_array_equal(training.pixels, whole.pixels[PARTS == 0])
    np.testing.assert_array_equal(held_out.pixels, whole.pixels[PARTS > 0])
    assert training.labels is not None
    assert training.labels.tolist() == whole.labels[PARTS == 0].tolist()
    assert dataset.holds_out == "own"
    assert len({whole.fingerprint, training.fingerprint, held_out.fingerprint}) == 3


def test_a_share_overrules_the_partition(tmp_path: Path) -> None:
    data = beside_the_zip(tmp_path)
    assert len(open_dataset(data, 8, held_out=0.0).split("train")) == COUNT
    halves = open_dataset(data, 8, held_out=0.5)
    assert halves.holds_out == "0.5"
    assert [len(part) for part in open_images(data, 8).split(0.5)] == [
        len(halves.split("train")),
        len(halves.split("held-out")),
    ]


def test_inspect_shows_what_there_is(tmp_path: Path) -> None:
    data = beside_the_folder(tmp_path)
    found = inspect(data, crop=108)
    assert found.labels is None
    assert found.held_out == 12
    text = str(found)
    assert "  crop      the central 108x108 pixels of each\n" in text
    assert "  labels    4 to choose from (5_o_Clock_Shadow, Male, Smiling, Young)\n" in text
    assert "  held out  12, as the data has it\n" in text
    assert "  note      no labels are used; --label can choose 5_o_Clock_Shadow, Male, Smiling and 1 more" in text
    smiling = int((VALUES[:, 2] > 0).sum())
    labelled = inspect(data, crop=108, label="Smiling", share=0.5)
    assert f"  classes   2 (not Smiling {COUNT - smiling}, Smiling {smiling})\n" in str(labelled)
    assert "at a share of 0.5" in str(labelled)


def test_a_part_of_the_images_is_enough(tmp_path: Path) -> None:
    data = beside_the_folder(tmp_path)
    for name in NAMES[5:-5]:
        (data / name).unlink()
    Image.new("RGB", (178, 218)).save(data / "extra.jpg")
    images = open_images(data, 8)
    assert images.partition is not None
    assert images.partition.tolist() == [False] * 5 + [True] * 5 + [False]
    place = "../list_eval_partition.txt"
    assert images.notes[0] == f"{place} in {data} does not name 1 image, taken for training: extra.jpg"
    with pytest.raises(UsageError, match=r"list_attr_celeba.txt in .* has no label for extra.jpg: add them"):
        open_images(data, 8, label="Male")


def test_lists_of_other_images_are_passed_over(tmp_path: Path) -> None:
    beside_the_folder(tmp_path)
    (tmp_path / "other").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "other" / "a.png")
    images = open_images(tmp_path / "other", 8)
    assert (images.partition, images.notes) == (None, [])


def test_changed_lists_are_read_anew(tmp_path: Path) -> None:
    data = beside_the_zip(tmp_path)
    before = open_dataset(data, 8, held_out="auto").split("train")
    partition = tmp_path / "list_eval_partition.txt"
    partition.write_text(partition.read_text().replace("000001.jpg 0", "000001.jpg 2"))
    after = open_dataset(data, 8, held_out="auto").split("train")
    assert (len(before), len(after)) == (28, 27)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("list_attr_celeba.txt", "", "is empty: get it again"),
        ("list_attr_celeba.txt", "3", "is no list of attributes"),
        ("list_attr_celeba.txt", "1\nMale Young\n000001.jpg 1\n", "is no list of attributes"),
        ("list_attr_celeba.txt", "\n".join(["40", "Male", *(f"{name} 3" for name in NAMES)]), "a line '000001.jpg 3'"),
        ("list_eval_partition.txt", "\n\n", "is empty: get it again"),
        ("list_eval_partition.txt", "000001.jpg 7\n", "a line '000001.jpg 7' without 0, 1, 2 in its place"),
        ("list_eval_partition.txt", "000001.jpg\n", "a line '000001.jpg' without 0, 1, 2 in its place"),
    ],
)
def test_damaged_lists_are_said(tmp_path: Path, name: str, content: str, message: str) -> None:
    data = beside_the_folder(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=rf"{name} in .*{message}"):
        open_images(data, 8, label="Male")


def test_what_is_packed_by_hand_keeps_labels_and_partition(tmp_path: Path) -> None:
    packed = pack(beside_the_zip(tmp_path), 16, tmp_path / "a.npz", crop=108, label="Male")
    again = open_images(tmp_path / "a.npz", 16)
    np.testing.assert_array_equal(again.pixels, packed.pixels)
    assert again.labels is not None
    assert again.labels.tolist() == (VALUES[:, 1] > 0).tolist()
    assert again.partition is not None
    assert again.partition.tolist() == (PARTS > 0).tolist()
