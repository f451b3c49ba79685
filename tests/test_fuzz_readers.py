"""Readers of text and of headers, with anything in place of what they expect: a documented error, and nothing else.

As in test_fuzz.py, `make test` tries the same inputs every time, and `make test-all` tens of thousands of new ones.
"""

import io
import json
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save as to_bytes

import equipoise
from equipoise import Scores, UsageError
from equipoise.config.train_config import TrainConfig, read_yaml, write_yaml
from equipoise.data.shards.fetch import Download, RetryPolicy, request_stamp
from equipoise.data.sources.annotations import READERS
from equipoise.data.sources.arrays import npy_rows
from equipoise.evaluation.scores import compare
from equipoise.exporting import import_weights
from equipoise.exporting.pretrained import GeneratorConfig, PretrainedGenerator
from equipoise.reading import LOADER, parse_yaml
from equipoise.runs import jsonl
from equipoise.runs.lock import sole_writer
from equipoise.views.report import read_summary
from hostile import EXTREMES, MUTATIONS, mutated, tries, watched

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([*EXTREMES, 10**400, -1, "", "\udce9", "\0", "9" * 400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
PATHOLOGIES = (
    "[" * 10**5,
    '{"a":' * 10**4,
    "9" * 5000,
    '"\\ud800"',
    "NaN",
    "-Infinity",
    "1e999",
    "\ufeff{}",
    "\0" * 99,
)


@st.composite
def spoiled(draw: st.DrawFn, whole: Any) -> bytes:
    """JSON in which one value, however deep, is replaced, dropped or joined by another; or mutated text."""
    text = json.dumps(whole)
    how = draw(st.sampled_from(["value", "value", "value", "bytes", "pathology"]))
    if how == "bytes":
        return mutated(text.encode(), draw(MUTATIONS))
    value = draw(VALUES)
    fresh = json.loads(text)
    places = list(_places(fresh))
    holder, key = places[draw(st.integers(0, len(places) - 1))]
    if how == "pathology":
        holder[key] = "@@"
        return json.dumps(fresh).replace('"@@"', draw(st.sampled_from(PATHOLOGIES))).encode("utf-8", "replace")
    if draw(st.booleans()) or isinstance(holder, list):
        holder[key] = value
    else:
        del holder[key]
    return json.dumps(fresh).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in list(inner):
        yield value, key
        yield from _places(each)


Case = Callable[[Path, bytes], None]


def read_rows(folder: Path, content: bytes) -> None:
    for name in jsonl.ROWS:
        good = b'{"images": 3}\n'
        (folder / name).write_bytes(good + content + b"\n" + good)
        rows = jsonl.read(folder / name)
        assert rows.count(rows[0]) >= 2, "the lines beside are read"
        assert all(type(row["images"]) is int and 0 <= row["images"] < 2**63 for row in rows)
        jsonl.cut(folder / name, 3)
        assert all(row["images"] <= 3 for row in jsonl.read(folder / name))
    read_summary(folder)


def read_scores(folder: Path, content: bytes) -> None:
    (folder / "a.json").write_bytes(content)
    with suppress(UsageError):
        scores = Scores.read(folder / "a.json")
        assert str(scores)
        assert Scores.read(folder / "a.json").to_json() == scores.to_json()
        compare([("a", scores), ("b", scores)])


def read_configuration(folder: Path, content: bytes) -> None:
    with suppress(UsageError):
        config = read_yaml(content.decode("utf-8", "replace"), "it")
        assert read_yaml(write_yaml(config, {}), "it") == config
    (folder / "config.yaml").write_bytes(content)
    assert read_summary(folder).title


def read_generator(folder: Path, content: bytes) -> None:
    """A config.json beside weights that fit the one before it was spoiled."""
    (folder / "config.json").write_bytes(content)
    (folder / "model.safetensors").write_bytes(GENERATOR)
    with suppress(UsageError):
        assert equipoise.load(folder).sample(1).dtype == torch.uint8


def read_map(folder: Path, content: bytes) -> None:
    """A map for weights to import, up to the network that it describes."""
    (folder / "map.yaml").write_bytes(content)
    with suppress(UsageError), torch.device("meta"):
        wanted = import_weights._read_map(str(folder / "map.yaml"))
        import_weights._run_config(wanted).build(wanted.shape, wanted.classes)


def read_labels(name: str, folder: Path, content: bytes) -> None:
    with suppress(UsageError):
        known = READERS[name](content, ["a.png", "b/c.png"], name)
        if known.labels is not None:
            assert known.labels.shape == (2,)
            assert known.labels.dtype == np.int64


def read_array(folder: Path, content: bytes) -> None:
    """A header of an .npy that says anything."""
    header = content[:9000].ljust(118) + b"\n"
    (folder / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(192))
    with suppress(UsageError, ValueError):
        rows = npy_rows(folder / "a.npy")
        assert np.prod(rows.shape, dtype=object) * rows.dtype.itemsize <= 192


def read_holder(folder: Path, content: bytes) -> None:
    """The lock's file, whose text names the holder."""
    (folder / ".lock").write_bytes(content)
    with sole_writer(folder, timeout=0):
        pass


ROW = {"images": 4, "k": 0.25, "lr": 1e-4, "level": "warning", "kind": "x", "message": "y"}
SCORES = {
    "kid": 0.1,
    "fid": None,
    "details": {"kid": {"spread": 0.01}, "fid": {"biased": 1.0}},
    "subject": {"name": "a", "identity": "b", "count": 20, "beside": "c"},
    "protocol": {
        "version": 1,
        "features": {"name": "pixels", "weights": "", "preprocessing": ""},
        "shape": [1, 8, 8],
        "reference": {"identity": "x", "count": 20, "split": "all"},
    },
    "notes": ["n"],
}
LABELS: dict[str, Any] = {
    "dataset.json": {"labels": [["a.png", 0], ["b/c.png", 1]]},
    "metadata.jsonl": {"file_name": "a.png", "label": 3, "more": {"deep": [1]}},
    "metadata.csv": ["file_name,label", "a.png,1"],
}
CONFIG = GeneratorConfig(network={"name": "mlp", "width": 3, "latent": 2}, shape=(1, 4, 4))
GENERATOR = to_bytes(PretrainedGenerator(CONFIG).state_dict())
MAP = {"network": CONFIG.network, "shape": [1, 4, 4], "keys": {"a": "b"}, "range": [0, 1], "ignore": ["c"]}
HEADER = {"descr": "|u1", "fortran_order": False, "shape": [2, 8, 8]}

KINDS: dict[str, tuple[Any, Case, int]] = {
    "rows": (ROW, read_rows, 200),
    "scores": (SCORES, read_scores, 250),
    "configuration": (TrainConfig().to_dict(), read_configuration, 40),
    "array header": (HEADER, read_array, 250),
    "lock": (ROW, read_holder, 40),
    "generator": (CONFIG.to_dict(), read_generator, 100),
    "map": (MAP, read_map, 40),
    **{name: (LABELS.get(name, ["1", "a b"]), partial(read_labels, name), 100) for name in READERS},
}
"""What is valid, what reads it, and how often `make test` tries."""


def attempt(folder: Path, kind: str, count: int, *, fixed: bool) -> None:
    whole, read, _ = KINDS[kind]

    @tries(count, fixed=fixed)
    @given(spoiled(whole))
    def tried(content: bytes) -> None:
        with watched(folder):
            read(folder, content)

    tried()


@pytest.mark.parametrize("kind", KINDS)
def test_spoiled_text(tmp_path: Path, kind: str) -> None:
    attempt(tmp_path, kind, KINDS[kind][2], fixed=True)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_spoiled_text_at_length(tmp_path: Path, kind: str) -> None:
    attempt(tmp_path, kind, KINDS[kind][2] * 60, fixed=False)


@pytest.mark.long
@tries(10_000, fixed=False)
@given(text=st.text(alphabet="&*<>|:-?[]{},#!%@`'\"\\ \n\tab01.~", max_size=60))
def test_yaml_of_its_own_characters(text: str) -> None:
    with suppress(ValueError):
        value = parse_yaml(text)
        with suppress(yaml.YAMLError, ValueError):
            assert repr(value) == repr(yaml.load(text, LOADER))


# Servers that answer anything


class Answer(socketserver.StreamRequestHandler):
    """Sends the server's bytes, whatever was asked, and closes."""

    def handle(self) -> None:
        with suppress(OSError):
            while self.rfile.readline().strip():
                pass
            self.wfile.write(self.server.answer)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def server() -> Iterator[socketserver.ThreadingTCPServer]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as serving:
        serving.daemon_threads = True
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


NUMBERS = st.sampled_from(["0", "4", "-1", "9" * 19, "9" * 5000, "4.0", "\xb2", "1e9", "nan", "", " 4 ", "0x4"])
STATUSES = [
    "200 OK",
    "206 Partial Content",
    "301 Moved",
    "302 Found",
    "404 No",
    "503 Busy",
    "999 x",
    "x",
    "-1 x",
    "200",
]
HEADERS = st.one_of(
    st.builds("Content-Length: {}".format, NUMBERS),
    st.builds("Content-Range: bytes {}-{}/{}".format, NUMBERS, NUMBERS, NUMBERS),
    st.builds("Retry-After: {}".format, NUMBERS | st.just("Fri, 31 Dec 1999 23:59:59 GMT")),
    st.builds("ETag: {}".format, st.sampled_from(['"a"', "W/x", "\xff" * 9, "x" * 5000, '"a\r\n b"', "\0"])),
    st.builds(
        "Location: {}".format, st.sampled_from(["/", "file:///etc/passwd", "http://[", "http://a:999999/", "x" * 99])
    ),
    st.builds("Transfer-Encoding: {}".format, st.sampled_from(["chunked", "gzip", "x"])),
    st.text(alphabet=st.characters(max_codepoint=255), max_size=20),
)


def fetch(server: socketserver.ThreadingTCPServer, status: str, headers: list[str], body: bytes) -> None:
    """Read a file from a server that answers so; refusals come in one line, and no more is read than was sent."""
    answer = "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode("latin-1")
    server.answer = answer + body  # type: ignore[attr-defined]
    url = f"http://127.0.0.1:{server.server_address[1]}/a.tar"
    retry = RetryPolicy(waits=(0.0,), timeout=2, wait=lambda _event, _seconds: False)
    told = ""
    try:
        stamp = request_stamp(url, retry)
        assert stamp.size is None or 0 <= stamp.size < 10**18
        with io.BufferedReader(Download(url, retry)) as file:
            assert len(file.read(2**20)) <= len(body) + len(answer)
    except UsageError as error:
        told = str(error)
    assert "\n" not in told
    assert len(told) < 700


ANSWERS = {
    "status": st.sampled_from(STATUSES) | st.text(alphabet=st.characters(max_codepoint=255), max_size=12),
    "headers": st.lists(HEADERS, max_size=3),
    "body": st.sampled_from([b"", b"data", b"4\r\ndata\r\n0\r\n\r\n", b"fffffffffffffffff\r\nx"]),
}


@tries(120, fixed=True)
@given(**ANSWERS)
def test_servers_that_answer_anything(
    server: socketserver.ThreadingTCPServer, status: str, headers: list[str], body: bytes
) -> None:
    fetch(server, status, headers, body)


@pytest.mark.long
@tries(5_000, fixed=False)
@given(**ANSWERS)
def test_servers_that_answer_anything_at_length(
    server: socketserver.ThreadingTCPServer, status: str, headers: list[str], body: bytes
) -> None:
    fetch(server, status, headers, body)
