import json
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equipoise import TrainConfig, train
from equipoise.data import inspect, open_images
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


def labels(data: Path, label: str | None = None) -> list[str] | None:
    """The class of each image, by its name or number."""
    images = open_images(data, 8, label=label)
    if images.labels is None:
        return None
    return [images.class_names[label] if images.class_names else str(label) for label in images.labels]


def zipped(files: Mapping[str, Path | bytes], path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo("x")
            info.filename = name  # as it is, where zipfile would mend it
            archive.writestr(info, content if isinstance(content, bytes) else content.read_bytes())
    return path


@pytest.mark.parametrize("zipped", [False, True])
def test_a_dataset_json_says_the_labels(labelled: Path, tmp_path: Path, zipped: bool) -> None:
    def data(name: str) -> Path:
        return Path(shutil.make_archive(str(tmp_path / name), "zip", labelled)) if zipped else labelled

    write(labelled, {"labels": [["00001/3.png", 7], ["00000/1.png", 0], ["00000/2.png", 5], ["gone.png", 1]]})
    assert labels(data("a")) == ["0", "5", "7"]
    write(labelled, {"labels": None})
    assert labels(data("b")) is None  # the folders are no classes then, and the cache knows the difference
    write(labelled, {"authors": []})
    assert labels(data("c")) == ["00000", "00000", "00001"]


def test_an_unreadable_image_takes_its_label_along(labelled: Path) -> None:
    write(labelled, {"labels": [["00000/1.png", 4], ["00000/2.png", 5], ["00001/3.png", 6]]})
    (labelled / "00000" / "2.png").write_text("broken")
    assert labels(labelled) == ["4", "6"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"labels": [["00000/1.png", 0]]}, r"no label for 00000/2\.png, 00001/3\.png: add them"),
        ({"labels": [[f"{name}.png", 0] for name in "ab"]}, "no label for 00000/1.png"),
        ({"labels": [["00000/1.png", 0.5]]}, "with integers from 0"),
        ({"labels": [["00000/1.png", -1]]}, "with integers from 0"),
        ({"labels": [["00000/1.png", True]]}, "with integers from 0"),
        ({"labels": [["00000/1.png", 2**63]]}, "with integers from 0"),
        ({"labels": [["00000/1.png", [0, 1]]]}, r"no label for 00000/2\.png"),
        ({"labels": [["00000/1.png", [0, 0]]]}, "with integers from 0, or one-hot"),
        ({"labels": [["00000/1.png", [0, 2]]]}, "with integers from 0, or one-hot"),
        ({"labels": [["00000/1.png", [[1], [0]]]]}, "with integers from 0, or one-hot"),
        ({"labels": [["00000/1.png", [1, 0]], ["00000/2.png", [1]]]}, "with integers from 0, or one-hot"),
        ({"labels": [["00000/1.png", [1, 0]], ["00000/2.png", 1]]}, "with integers from 0, or one-hot"),
        ({"labels": []}, "with integers from 0"),
        ([3, 4], "with integers from 0"),
        ({"00000/1.png": "cat"}, "with integers from 0"),
        ({"labels": [[["a"], 1]]}, "with integers from 0"),
        ({"labels": [1, 2, 3]}, "with integers from 0"),
        ({"labels": 3}, "with integers from 0"),
        ({"labels": [["00000/1.png", 0], ["./00000/1.png", 1]]}, r"names \./00000/1\.png twice, with different labels"),
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


PAIRS: list[list[Any]] = [["a/1.png", 2], ["a/2.png", 0], ["b/1.png", 2]]


@pytest.mark.parametrize(
    "content",
    [
        {"labels": PAIRS},
        {"labels": dict(PAIRS)},
        {"labels": [[f"./{name}".replace("/", "\\"), label] for name, label in PAIRS]},
        PAIRS,
        dict(PAIRS),
        {"labels": [[name, [int(place == label) for place in range(3)]] for name, label in PAIRS]},
        [[name, [float(place == label) for place in range(3)]] for name, label in PAIRS],
    ],
)
@pytest.mark.parametrize("root", ["", "./", "photos/", "photos/2024/", ".\\photos\\"])
def test_a_dataset_json_may_have_any_usual_form_and_place(save: Saver, tmp_path: Path, content: Any, root: str) -> None:
    files: dict[str, Path | bytes] = {f"{root}{name}": save(name) for name, _ in PAIRS}
    files[f"{root}dataset.json"] = json.dumps(content).encode()
    archive = zipped(files, tmp_path / "a.zip")
    assert labels(archive) == ["2", "0", "2"]
    assert open_images(archive, 8).notes == [
        "the labels are those of 'dataset.json'; --label can choose folder",
        "the labels 0, 2 are numbered 0 to 1, in this order",
    ]
    assert labels(archive, "folder") == ["a", "a", "b"]


def test_the_nearest_dataset_json_counts_and_others_are_named(save: Saver) -> None:
    for name, _ in PAIRS:
        folder = save(f"x/{name}").parents[2]
    write(folder, {"labels": [[f"x/{name}", 7] for name, _ in PAIRS]})
    assert labels(folder) == ["7"] * 3
    write(folder / "x", {"labels": PAIRS})
    write(folder / "x" / "a", {"labels": PAIRS})
    assert labels(folder) == ["2", "0", "2"]
    assert "not used, as they do not stand above all images: dataset.json, x/a/dataset.json" in str(inspect(folder))


def test_what_a_dataset_json_says_in_vain_is_told(labelled: Path) -> None:
    write(labelled, {"labels": [["00000/1.png", 0], ["00000/2.png", 0], ["00001/3.png", 1], ["gone.png", 1]]})
    assert open_images(labelled, 8).notes[0] == (
        f"dataset.json in {labelled} names 1 image that cannot be found: gone.png"
    )
    write(labelled, {"authors": ["me"]})
    assert open_images(labelled, 8).notes == [f"dataset.json in {labelled} has no labels, and is not used"]


@pytest.mark.parametrize("name", ["dog\\{}.png", "./dog/{}.png", "dog//{}.png", ".\\dog\\{}.png"])
def test_class_folders_in_a_zip_may_be_written_in_any_way(save: Saver, tmp_path: Path, name: str) -> None:
    image = save("a.png")
    files: dict[str, Path | bytes] = {name.format(place): image for place in range(3)}
    files |= {name.replace("dog", "cat").format("c"): image, name.replace("dog", "__MACOSX").format("x"): image}
    assert labels(zipped(files, tmp_path / "a.zip")) == ["cat", "dog", "dog", "dog"]


def test_a_stray_image_is_named_where_labels_are_looked_for(save: Saver, tmp_path: Path) -> None:
    for name in ("dog/1.png", "dog/2.png", "cat/1.png", "stray.png"):
        save(name)
    folder = tmp_path / "images"
    note = "the 2 folders are no classes, for 1 of 4 images lie elsewhere: stray.png; move these to make them classes"
    assert inspect(folder).notes == [note]
    config = TrainConfig(data=str(folder), tasks={"classify_d": 1.0}, batch=2, held_out=0, device="cpu")
    with pytest.raises(UsageError, match=f"at least two classes.*; {note}"):
        train(config, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
    (folder / "stray.png").rename(folder / "cat" / "2.png")
    assert labels(folder) == ["cat", "cat", "dog", "dog"]


@pytest.mark.parametrize(
    ("values", "numbers", "names"),
    [
        ([1, 2, 5, 2], [0, 1, 2, 1], ("1", "2", "5")),
        ([-1, 0, 1, 0], [0, 1, 2, 1], ("-1", "0", "1")),
        ([2**62, 7, 7, -(2**63)], [2, 1, 1, 0], (str(-(2**63)), "7", str(2**62))),
        ([1, 0, 2, 1], [1, 0, 2, 1], None),
        ([3, 3, 3, 3], [0, 0, 0, 0], ("3",)),
    ],
)
def test_labels_are_numbered_from_0_without_a_gap(
    tmp_path: Path, values: list[int], numbers: list[int], names: tuple[str, ...] | None
) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((4, 8, 8), np.uint8), labels=values)
    images, found = open_images(tmp_path / "a.npz", 8), inspect(tmp_path / "a.npz")
    assert images.labels is not None
    assert (images.labels.tolist(), images.class_names) == (numbers, names)
    assert images.classes == len(set(values)) == len(found.labels or ())
    assert list(found.labels or ()) == sorted({str(value) for value in values}, key=int)
    assert images.notes == found.notes
    assert len(images.notes) == (names is not None)


def test_names_of_strangers_are_shown_escaped_and_cut(save: Saver, tmp_path: Path) -> None:
    name = "\x1b[2Jx"
    column = "y" * 5000
    rows = json.dumps({"file_name": "a.png", name: 1, column: 2})
    archive = zipped({"a.png": save("a.png"), f"{name}.txt": b"", "metadata.jsonl": rows.encode()}, tmp_path / "a.zip")
    text, notes = str(inspect(archive)), open_images(archive, 8).notes
    for shown in (text, *notes):
        assert "\x1b" not in shown
        assert "y" * 81 not in shown
    assert any("\\x1b[2Jx.txt" in note for note in notes)
    with pytest.raises(UsageError) as refused:
        open_images(archive, 8, label="none")
    assert len(str(refused.value)) < 400
    assert str(refused.value).isprintable()


def test_names_of_classes_are_shown_escaped_and_cut(save: Saver, tmp_path: Path) -> None:
    names = ("\x1b[2Jx", "a\nb", "y" * 250)
    archive = zipped({f"{name}/1.png": save("a.png") for name in names}, tmp_path / "a\n.zip")
    report = inspect(archive)
    assert report.labels == {"\\x1b[2Jx": 1, "a\\nb": 1, "y" * 250: 1}
    assert report.labels.keys() == set(open_images(archive, 8).class_names or ())
    head, *lines = str(report).splitlines()
    assert head.endswith("a\\n.zip: 3 of 3 images can be read")
    assert any(line.startswith("  classes   3 (\\x1b[2Jx 1, a\\nb 1, yyyy") and "y" * 81 not in line for line in lines)


def test_labels_beyond_63_bits_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 8, 8), np.uint8), labels=np.array([2**64 - 1, 0], np.uint64))
    with pytest.raises(UsageError, match=r"labels in .*a\.npz must be below 2\^63, but reach 18446744073709551615"):
        open_images(tmp_path / "a.npz", 8)


def test_an_npz_offers_all_its_labels(tmp_path: Path) -> None:
    arrays = {
        "images": np.zeros((3, 8, 8), np.uint8),
        "y": np.array([0, 1, 1]),
        "smiling": np.array([True, False, True]),
        "weights": np.zeros(3),
        "one": np.arange(1),
    }
    np.savez(tmp_path / "a.npz", **arrays)
    assert labels(tmp_path / "a.npz") == ["0", "1", "1"]
    assert labels(tmp_path / "a.npz", "smiling") == ["smiling", "not smiling", "smiling"]
    assert "labels    2 to choose from (y, smiling)" in str(inspect(tmp_path / "a.npz"))
    for label, message in (("smilin", r" \(did you mean 'smiling'\?\)"), ("hat", "")):
        with pytest.raises(UsageError, match=rf"a\.npz has no labels called '{label}'{message}: choose from y, smil"):
            open_images(tmp_path / "a.npz", 8, label=label)
    np.savez(tmp_path / "b.npz", images=arrays["images"], labels=np.eye(3)[[2, 0, 2]])
    assert labels(tmp_path / "b.npz") == ["2", "0", "2"]
    np.save(tmp_path / "c.npy", arrays["images"])
    with pytest.raises(UsageError, match="has no columns of labels to choose from: leave --label out"):
        open_images(tmp_path / "c.npy", 8, label="y")
