import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from equipoise.data import inspect, open_images
from equipoise.errors import UsageError

Saver = Callable[..., Path]
NAMES = ("1.png", "2.png", "deep/3.png")


@pytest.fixture
def folder(save: Saver, tmp_path: Path) -> Path:
    for name in NAMES:
        save(name)
    return tmp_path / "images"


def labels(data: Path, label: str | None = None) -> list[str] | None:
    images = open_images(data, 8, label=label)
    if images.labels is None:
        return None
    return [images.class_names[label] if images.class_names else str(label) for label in images.labels]


def write_jsonl(folder: Path, *rows: object) -> None:
    (folder / "metadata.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def test_a_csv_says_the_labels(folder: Path) -> None:
    (folder / "metadata.csv").write_text(
        '\ufefffile_name,text,label,age\ndeep/3.png,"a, b",cat,30\n./1.png,c,dog,40\n2.png,d,cat,30\n', "utf-8"
    )
    assert labels(folder) == ["dog", "cat", "cat"]
    assert labels(folder, "age") == ["40", "30", "30"]
    assert labels(folder, "text") == ["c", "d", "a, b"]
    found = inspect(folder)
    assert found.notes[0] == "the labels are those of 'label'; --label can choose text, age"
    assert "labels    3 to choose from (text, label, age)" in str(found)


def test_a_jsonl_says_the_labels(folder: Path) -> None:
    rows = [{"file_name": name, "label": place, "smiles": place > 0} for place, name in enumerate(NAMES)]
    write_jsonl(folder, *rows, {"file_name": "gone.png", "label": 9})
    assert labels(folder) == ["0", "1", "2"]
    assert labels(folder, "smiles") == ["not smiles", "smiles", "smiles"]
    assert f"metadata.jsonl in {folder} names 1 image that cannot be found: gone.png" in open_images(folder, 8).notes
    write_jsonl(folder, *reversed(rows))  # the cache knows the difference
    assert labels(folder) == ["0", "1", "2"]
    write_jsonl(folder, *({**row, "label": 2 - place} for place, row in enumerate(rows)))
    assert labels(folder) == ["2", "1", "0"]


def test_without_a_usual_column_one_is_chosen(folder: Path) -> None:
    write_jsonl(folder, *({"file_name": name, "hue": "red", "size": 1.5} for name in NAMES))
    assert labels(folder) is None
    assert open_images(folder, 8).notes == ["no labels are used; --label can choose hue, size"]
    assert labels(folder, "hue") == ["red"] * 3
    with pytest.raises(
        UsageError, match=r"labels 'size' in metadata.jsonl in .* must all be whole numbers, or all words"
    ):
        open_images(folder, 8, label="size")


def test_metadata_of_nothing_is_told(folder: Path) -> None:
    write_jsonl(folder, {"name": "1.png", "label": 1})
    assert open_images(folder, 8).notes == [f"metadata.jsonl in {folder} has no column 'file_name', and is not used"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metadata.jsonl", b"{", r"is damaged: .*; mend or remove it"),
        ("metadata.jsonl", b"[" * 100_000, r"is damaged: .*; mend or remove it"),
        ("metadata.jsonl", b"\xff\xfe", r"is damaged: .*; mend or remove it"),
        ("metadata.jsonl", b"3\n", r"must hold a JSON object a line: mend or remove it"),
        ("metadata.jsonl", b'{"file_name": "1.png", "label": 0}\n', r"has no label for 2.png, deep/3.png: add them"),
        ("metadata.csv", b"file_name,label\n1.png,a\n2.png,\ndeep/3.png,b\n", r"1 of 3 labels 'label' in .* are null"),
        ("metadata.csv", b'file_name,label\n"1.png,a\n', r"is damaged: .*; mend or remove it"),
        ("metadata.csv", b"file_name,label\n1.png," + b"a" * 200_000, r"is damaged: .*; mend or remove it"),
        ("metadata.csv", b"\xff\xfe", r"is damaged: .*; mend or remove it"),
        (
            "metadata.csv",
            b"file_name,label\n1.png,a\n2.png,a\n./1.png,b\ndeep/3.png,b\n",
            r"names ./1.png twice, with different labels: mend or remove it",
        ),
    ],
)
def test_what_is_wrong_is_said(folder: Path, name: str, content: bytes, message: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(UsageError, match=message):
        open_images(folder, 8)


def test_a_caption_may_hold_any_separator(folder: Path) -> None:
    rows = [{"file_name": name, "label": 1, "text": "one\u2028two\x85three"} for name in NAMES]
    lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\r\n" for row in rows)
    (folder / "metadata.jsonl").write_text(lines, "utf-8", newline="")
    assert labels(folder) == ["1", "1", "1"]


def test_labels_that_do_not_fit_are_no_matter_where_others_are_chosen(folder: Path) -> None:
    rows = [{"file_name": name, "label": None, "size": place} for place, name in enumerate(NAMES)]
    write_jsonl(folder, *rows)
    assert labels(folder, "size") == ["0", "1", "2"]
    with pytest.raises(UsageError, match="3 of 3 labels 'label'"):
        labels(folder)


def test_it_may_lie_in_a_folder_whose_name_is_no_text(folder: Path) -> None:
    write_jsonl(folder, *({"file_name": name, "label": 1} for name in NAMES))
    top = folder.with_name("top")
    top.mkdir()
    folder.rename(top / "\udcff")
    assert labels(top) == ["1", "1", "1"]


def test_an_image_may_be_named_again_where_its_label_is_the_same(folder: Path) -> None:
    rows = [{"file_name": name, "label": place, "text": "a"} for place, name in enumerate(NAMES)]
    write_jsonl(folder, *rows, rows[0] | {"text": "b"})
    assert labels(folder) == ["0", "1", "2"]
    with pytest.raises(UsageError, match=r"names 1.png twice, with different labels"):
        labels(folder, "text")


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl", "dataset.json", "alone"])
def test_accents_may_be_written_in_either_way(save: Saver, forms: tuple[str, str], name: str) -> None:
    here, there = ([unicodedata.normalize(form, f"{word}.png") for word in ("caf\xe9", "gar\xe7on")] for form in forms)
    assert here != there
    folder = {save(each).parent for each in here}.pop()
    table = "".join(f"{each},{place}\n" for place, each in enumerate(there))
    content = {
        "metadata.csv": f"file_name,label\n{table}",
        "metadata.jsonl": "".join(json.dumps({"file_name": each, "label": i}) + "\n" for i, each in enumerate(there)),
        "dataset.json": json.dumps({"labels": [[each, place] for place, each in enumerate(there)]}),
        "alone": json.dumps({each: place for place, each in enumerate(there)}),
    }[name]
    (folder / ("dataset.json" if name == "alone" else name)).write_text(content, "utf-8")
    assert labels(folder) == ["0", "1"]
    assert open_images(folder, 8).notes == []
