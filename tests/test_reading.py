"""Files that may be anything: read without waiting, within bounds, and of the form that is declared."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from command import Command
from equipoise import UsageError
from equipoise.config.train_config import read_yaml
from equipoise.data import open_images
from equipoise.data.sources.arrays import npy_rows
from equipoise.errors import MOST_QUOTED, MOST_SHOWN, one_line, quoted
from equipoise.evaluation.scores import Scores
from equipoise.reading import MOST_VALUES, check_name, open_plain, parse_yaml, read_bytes, read_text
from equipoise.runs import jsonl
from equipoise.runs.files import write_where_asked

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{one}: &{one} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, one in zip("abcdefghijk", "bcdefghijkl", strict=True)
)
MERGING_BOMB = "a: &a {x: 1}\n" + "".join(
    f"{one}: &{one} {{<<: [{', '.join([f'*{before}'] * 9)}]}}\n"
    for before, one in zip("abcdefghijk", "bcdefghijkl", strict=True)
)


# Messages


HUGE = {
    "lines": "a\nb\r\n\tc",
    "text": "x" * 10**6,
    "number": -(10**5000),
    "list": [["x"] * 10**4] * 10**4,
    "key": {"k" * 10**5: 1},
    "characters": "\ud800\udce9\0\u2028",
}


@pytest.mark.parametrize("name", HUGE)
def test_what_is_quoted_stays_on_a_short_line(name: str) -> None:
    text = quoted(HUGE[name])
    assert len(text) <= MOST_QUOTED
    assert text.isprintable()


def test_values_that_stand_for_more_than_there_is_memory_are_quoted_at_once() -> None:
    value: object = "x"
    for _ in range(60):
        value = [value] * 9
    assert len(quoted(value)) <= MOST_QUOTED


def test_messages_are_one_bounded_line() -> None:
    told = str(UsageError(f"beginning {'x' * 10**6}\nthe end: do this"))
    assert len(told) <= MOST_SHOWN
    assert told.startswith("beginning ")
    assert told.endswith("the end: do this")
    assert one_line("caf\udce9\x1b[2J", 100) == r"caf\xe9\x1b[2J"


# Plain files


def test_pipes_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(OSError, match="it is a pipe or a device, not a file"):
            open_plain(path)
    with pytest.raises(IsADirectoryError):
        read_bytes(tmp_path)
    (tmp_path / "large").write_bytes(bytes(2**10 + 1))
    with pytest.raises(OSError, match="it has more than 1,024 bytes"):
        read_bytes(tmp_path / "large", 2**10)
    (tmp_path / "binary").write_bytes(b"\xff")
    with pytest.raises(OSError, match="it is not text in UTF-8"):
        read_text(tmp_path / "binary")


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "a/\udfff"])
def test_names_that_no_file_can_have(name: str, tmp_path: Path, within: Command) -> None:
    with pytest.raises(UsageError, match="holds characters that no file's name can have"):
        check_name(name)
    for words in (
        *(["train", "began", "--out", name], ["train", "--config", name], ["resume", name], ["sample", name]),
        *(["compare", name, name], ["evaluate", name], ["evaluate", "--images", name, "--reference", name]),
        *(["data", "inspect", name], ["data", "pack", name, "--resolution", "8"], ["train", "began", "--data", name]),
    ):
        told = within(*words)
        assert told.returncode == 2, words
        assert len(told.stderr.strip().splitlines()) == 1, told.stderr
        assert "Traceback" not in told.stderr
    assert list(tmp_path.iterdir()) == []


def test_names_of_other_encodings_are_names() -> None:
    check_name(os.fsdecode("café".encode("latin-1")))


def test_special_files_in_every_place(tmp_path: Path, within: Command) -> None:
    """Each is refused, without waiting for it, in one sentence, and left as it was."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run" / "config.yaml")
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 256, (20, 64, 64), dtype=np.uint8))
    for words in (
        *(["train", "--config", "/dev/zero"], ["train", "--config", "pipe"], ["train", "--config", "."]),
        *(["compare", "pipe", "pipe"], ["compare", "/dev/zero", "/dev/zero"], ["resume", "run"], ["sample", "run"]),
        *(["evaluate", "run"], ["train", "began", "--data", "pipe"], ["data", "inspect", "/dev/zero"]),
        ["evaluate", "--images", "a.npy", "--reference", "a.npy", "--features", "inception", "--weights", "pipe"],
        *(["data", "inspect", "a.npy", "--out", name] for name in ("pipe", "/dev/full", "run")),
        *(["evaluate", "--images", "a.npy", "--reference", "a.npy", "--json", "pipe"], ["bench", "--json", "pipe"]),
        *(["data", "nope"], ["data", "inspect", "x" * 5000], ["evaluate", "x" * 5000]),
    ):
        told = within(*words)
        assert told.returncode == 2, words
        assert told.stderr.strip().startswith("equipoise: "), told.stderr
        assert len(told.stderr.strip().splitlines()) == 1, told.stderr
        assert not told.stdout, "refused before anything is done"
    assert "cannot write a picture as 'a.xyz'" in within("data", "inspect", "a.npy", "--out", "a.xyz").stderr
    with pytest.raises(UsageError, match="is there and is no file: choose another place"):
        write_where_asked(tmp_path / "pipe", "")
    assert Path("/dev/full").is_char_device()


def test_pipes_among_data(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    os.mkfifo(tmp_path / "tables" / "train.parquet")
    with pytest.raises(UsageError, match="holds no images"):
        open_images(tmp_path / "tables", 8)


# YAML


@pytest.mark.parametrize("text", [BOMB, MERGING_BOMB, "a: &a [*a]", "a: &a {b: *a}"])
def test_aliases_that_stand_for_too_much(text: str) -> None:
    with pytest.raises(ValueError, match="its aliases stand for more than 10,000 values"):
        parse_yaml(text)
    with pytest.raises(UsageError) as error:
        read_yaml(text, "it")
    assert "\n" not in str(error.value)


def test_aliases_are_fine() -> None:
    assert parse_yaml("a: &a {x: 1}\nb: *a\nc: {<<: *a, y: 2}") == {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1, "y": 2}}
    assert parse_yaml("") is None
    assert parse_yaml(f"[{'x,' * (MOST_VALUES - 1)}]") == ["x"] * (MOST_VALUES - 1)


def test_a_key_that_is_there_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="it: images is there twice, again in line 3: leave one of them out"):
        read_yaml("images: 1000\nbatch: 8\nimages: 2000", "it")
    for text in ("a: {b: 1, b: 1}", "- {a: 1, 'a': 2}", "a: &a {x: 1, x: 2}\nb: *a", "1: 2\n1: 3"):
        with pytest.raises(ValueError, match="is there twice"):
            parse_yaml(text)
    assert parse_yaml("a: &a {x: 1}\nb: {<<: *a, x: 2}\n1: 3\n'1': 4") == {"a": {"x": 1}, "b": {"x": 2}, 1: 3, "1": 4}


@pytest.mark.parametrize(
    "text",
    [
        *("data: [" + "x, " * 9000 + "]", "k" * 10**5 + ": 1", "objective: " + "z" * 10**5),
        *("network: {name: [[[[]]]]}", "resolution: [1, 2]", "lr: " + "9" * 4000),
    ],
)
def test_messages_about_a_configuration_are_short(text: str) -> None:
    with pytest.raises(UsageError) as error:
        read_yaml(text, "it")
    assert len(str(error.value)) < 600
    assert "\n" not in str(error.value)


# Lines of JSON

LINES = [
    *(
        '{"images": null}',
        '{"images": true}',
        '{"images": 1.5}',
        '{"images": "2"}',
        '{"images": -1}',
        "[]",
        "3",
        "",
        "{",
    ),
    *('{"k": 1}', '{"images": 3, "k": "high"}', '{"images": 3, "k": {}}', '{"images": 3, "k": [1]}'),
    *(f'{{"images": {"9" * digits}}}' for digits in (19, 400, 5000)),
    *("[" * 10**5, '{"a":' * 10**5, '{"images": 3, "k": ' + "9" * 5000 + "}", '{"images": 3, "\\ud800": 1}'),
]


def test_lines_of_another_form_are_passed_over(tmp_path: Path) -> None:
    file, good = tmp_path / "metrics.jsonl", '{"images": 2, "k": 0.10}'
    file.write_text(
        "\n".join([good, *LINES, '{"images": 4, "k": NaN, "lr": -Infinity, "m": null, "d": 1e999, "g": 1}'])
    )
    file.write_bytes(file.read_bytes() + b'\n\xff\n{"images": 5}')
    rows = [{"images": 2, "k": 0.1}, {"images": 4, "g": 1.0}, {"images": 5}]
    assert jsonl.read(file) == rows
    jsonl.cut(file, 4)
    assert jsonl.read(file) == rows[:2]
    assert file.read_text().splitlines()[0] == good, "as it stood"
    (tmp_path / "events.jsonl").write_text('{"images": 1, "message": 3}\n{"images": 1, "kind": "x", "more": 1}\n')
    assert jsonl.read(tmp_path / "events.jsonl") == [{"images": 1, "level": "", "kind": "x", "message": ""}]


def test_what_is_no_number_is_null(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    jsonl.append(file, {"images": 1, "diversity": float("nan"), "k": float("inf"), "lr": 0.5})
    assert json.loads(file.read_text(), parse_constant=pytest.fail) == {
        "images": 1,
        "diversity": None,
        "k": None,
        "lr": 0.5,
    }
    assert jsonl.read(file) == [{"images": 1, "lr": 0.5}]
    (tmp_path / "events.jsonl").mkdir()
    with pytest.raises(UsageError, match="cannot read .*Is a directory; move it away"):
        jsonl.read(tmp_path / "events.jsonl")


# Files of scores

SCORES = Scores(
    {"kid": {"value": 0.1, "spread": 0.01}},
    {"name": "a", "count": 20, "beside": "b"},
    {"version": 1, "reference": {"identity": "x", "count": 20, "split": "all"}, "seed": 0},
    ("a note",),
)


def test_scores_are_read_as_they_were_written(tmp_path: Path) -> None:
    SCORES.write(tmp_path / "a.json")
    assert Scores.read(tmp_path / "a.json") == SCORES


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("kid", "low"), ("kid", True), ("kid", [1]), ("details", {"kid": 3}), ("details", {"kid": {"spread": "x"}})),
        *(("subject", []), ("subject", {"name": 3, "count": 1, "beside": ""}), ("protocol", {"reference": 3})),
        *(("protocol", {}), ("protocol", {"reference": {"count": "many", "split": 3}}), ("notes", "x"), ("notes", [3])),
        *(("protocol", {**SCORES.protocol, "shape": "x"}), ("protocol", {**SCORES.protocol, "features": [1]})),
        ("protocol", {**SCORES.protocol, "features": {"name": "pixels"}}),
    ],
)
def test_scores_of_another_form_are_refused(tmp_path: Path, key: str, value: object) -> None:
    contents = json.loads(SCORES.to_json())
    (tmp_path / "a.json").write_text(json.dumps(contents | {key: value}))
    with pytest.raises(UsageError, match="holds no scores: make them with"):
        Scores.read(tmp_path / "a.json")


@pytest.mark.parametrize("text", ["[" * 10**5, '{"a":' * 10**5, "9" * 5000, '{"kid": 1e999}', "\0"])
def test_hostile_files_of_scores(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UsageError, match="holds no scores: make them with"):
        Scores.read(tmp_path / "a.json")


# Arrays and tables


@pytest.mark.parametrize(
    "shape", ["(-1, 32, 32)", "(True, 32, 32)", "(2**70,)", "(1.0, 2)", "(1,)*40", "[1]", "7", "(None,)"]
)
def test_shapes_that_are_none(tmp_path: Path, shape: str) -> None:
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (118 - len(text)) + b"\n"
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(4096))
    with pytest.raises(UsageError) as error:
        open_images(path, 8)
    assert len(str(error.value)) < 700
    with pytest.raises(ValueError, match=r"its (shape|header)|shorter"):
        npy_rows(path)


@pytest.mark.parametrize(
    "info", [{"label": {"_type": "ClassLabel", "names": 7}}, {"label": 3}, [], {"label": {"_type": 3}}, None, "deep"]
)
def test_metadata_of_tables_of_another_form(tmp_path: Path, info: object) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    note = "[" * 20_000 if info == "deep" else json.dumps({"info": {"features": info}})
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8))
    table = pa.table({"image": images.tolist(), "label": [0, 1, 0, 1]}).replace_schema_metadata({"huggingface": note})
    pq.write_table(table, tmp_path / "a.parquet")
    opened = open_images(tmp_path / "a.parquet", 8)
    assert opened.labels is not None
    assert opened.labels.tolist() == [0, 1, 0, 1]
    assert opened.class_names is None


# Flags


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["train", "began", "--seed", "x" * 10**5],
            r"Error parsing --seed: 'x+\.\.\.x+' is not a number such as 300000",
        ),
        (["train", "began", "--sed", "3"], r"Unrecognized options: --sed, 3 \(did you mean --seed\?\): see"),
        (["resume", "a", "x" * 10**5], "Unrecognized options: x"),
        (["sample"], "Missing from equipoise sample: PATH Folder of the run: see `equipoise sample --help`"),
        (["train", "began", "--images"], "--images"),
        (["train", "x" * 10**5], "unknown objective 'x"),
        (["train", "began", "--preset", "x" * 10**5], "unknown preset 'x"),
        (["train", "began", "--data", "x" * 10**5], "name too long"),
        (["y" * 10**5], "unknown command 'y"),
        (["sample", "x\n" * 1000], "is not a run"),
    ],
    ids=range(10),
)
def test_refused_words_take_one_line(within: Command, words: list[str], told: str) -> None:
    done = within(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("equipoise: ")
    assert done.stderr.count("\n") == 1
    assert re.search(told, done.stderr), done.stderr
    assert len(done.stderr) < 2_100
