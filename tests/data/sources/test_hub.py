import io
import json
import os
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from PIL import Image

from equipoise.data.sources.hub import hub
from equipoise.errors import UsageError

pytest.importorskip("huggingface_hub")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

COMMIT = "a" * 40
CONVERTED = "c" * 40
SCRIPT = """
import os
import sys
from equipoise.data import open_images
from equipoise.data.sources import hub_client
hub_client.WAITS = (0.01, 0.02)
hub_client.LEAST_RATE = 1e9
hub_client.ANSWER_TIME = float(os.environ.get("ANSWER_TIME", "60"))
for name in sys.argv[1:]:
    try:
        images = open_images(name, 8)
        print(len(images), int(images.pixels.sum()), "" if images.class_names is None else ",".join(images.class_names))
    except ValueError as error:
        print(error)
"""


def parquet(count: int, seed: int = 0) -> bytes:
    rng = np.random.default_rng(seed)
    images = [{"bytes": png(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)), "path": "a.png"} for _ in range(count)]
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}
    table = pa.table({"image": images, "label": [0] * count})
    file = io.BytesIO()
    notes = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(notes), file)
    return file.getvalue()


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def zipped(count: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for index in range(count):
            archive.writestr(f"{index}.png", png(np.full((8, 8, 3), index, np.uint8)))
    return file.getvalue()


FILES = {  # by repository and commit
    ("me/pets", COMMIT): {
        "README.md": b"# Pets",
        "data/train-00000-of-00002.parquet": parquet(3, 1),
        "data/train-00001-of-00002.parquet": parquet(2, 2),
        "data/test-00000-of-00001.parquet": parquet(4, 3),
    },
    ("me/converted", COMMIT): {"images/0.jpg": b"", "images/1.jpg": b""},
    ("me/converted", CONVERTED): {"default/train/0000.parquet": parquet(6, 4)},
    ("me/zipped", COMMIT): {"photos.zip": zipped(3)},
    ("me/zips", COMMIT): {"a/photos.zip": zipped(3), "b/photos.zip": zipped(4)},
    ("me/loose", COMMIT): {"images/0.jpg": b"", "images/1.jpg": b""},
    ("me/words", COMMIT): {"train.jsonl": b"{}"},
    ("me/configs", COMMIT): {"small/train-0.parquet": parquet(1), "large/train-0.parquet": parquet(2)},
    ("me/gated", COMMIT): {"train.parquet": parquet(1)},
    ("pets", COMMIT): {"train.parquet": parquet(7, 5)},
}
REVISIONS = {"main": COMMIT, COMMIT: COMMIT, "v1": COMMIT, "refs/convert/parquet": CONVERTED, CONVERTED: CONVERTED}


class Handler(BaseHTTPRequestHandler):
    """The two things that are asked of the hub: what a revision holds, and the bytes of a file."""

    def do_GET(self) -> None:
        server: Any = self.server
        server.asked.append(f"{self.command} {self.path}")
        if "me/drips" in self.path:
            return self.drip()
        if server.busy or "me/busy" in self.path:
            server.busy = max(0, server.busy - 1)
            return self.answer(503)
        path = self.path.split("?")[0].replace("%2F", "/")
        if path.startswith("/api/datasets/"):
            return self.listing(path.removeprefix("/api/datasets/"))
        repository, _, place = path.removeprefix("/datasets/").partition("/resolve/")
        commit, _, file = place.partition("/")
        if repository == "me/gated":
            return self.answer(403, {"X-Error-Code": "GatedRepo"})
        data = FILES[repository, commit][file]
        if server.slow and self.command == "GET":
            return self.drip()
        etag = f'"{abs(hash(data)):x}"'
        return self.answer(200, {"X-Repo-Commit": commit, "ETag": etag}, data)

    do_HEAD = do_GET  # noqa: N815

    def listing(self, path: str) -> None:
        repository, _, revision = path.partition("/revision/")
        if repository == "me/private":
            return self.answer(401, {"X-Error-Code": "RepoNotFound"})
        if repository == "me/forbidden":
            return self.answer(403)
        if not any(known == repository for known, _ in FILES):
            return self.answer(404, {"X-Error-Code": "RepoNotFound"})
        commit = REVISIONS.get(revision or "main", "")
        if (repository, commit) not in FILES:
            return self.answer(404, {"X-Error-Code": "RevisionNotFound"})
        siblings = [{"rfilename": name} for name in FILES[repository, commit]]
        facts = {"id": repository, "sha": commit, "siblings": siblings, "private": False, "tags": [], "downloads": 0}
        return self.answer(200, {"Content-Type": "application/json"}, json.dumps(facts).encode())

    def answer(self, status: int, headers: dict[str, str] | None = None, data: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def drip(self) -> None:
        """Send a header that never ends, or after it a list that does not."""
        start = "X: " if "headers" in self.path else "Content-Length: 9999\r\n\r\n"
        self.close_connection = True
        with suppress(OSError):  # the client has gone
            self.wfile.write(f"HTTP/1.1 200 OK\r\n{start}".encode())
            for _ in range(600):
                self.wfile.write(b"x")
                time.sleep(0.05)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    made: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.asked, made.busy, made.slow = [], 0, False
    Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def opened(server: Any, tmp_path: Path) -> Callable[..., list[str]]:
    """Open data by name in a process that takes the server for the hub, and give a line for each."""

    def run(*names: str, **more: str) -> list[str]:
        hub_ = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path / "hf")}
        env = {**os.environ, **hub_, "HF_HUB_DISABLE_TELEMETRY": "1", **more}
        done = subprocess.run([sys.executable, "-c", SCRIPT, *names], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def total(*parts: bytes) -> int:
    tables = [pq.read_table(io.BytesIO(part)) for part in parts]
    images = [image["bytes"] for table in tables for image in table.column("image").to_pylist()]
    return sum(int(np.asarray(Image.open(io.BytesIO(image))).sum()) for image in images)


def test_data_of_the_hub(opened: Callable[..., list[str]], server: Any, cache: Path) -> None:
    pets = FILES["me/pets", COMMIT]
    train = f"5 {total(*[pets[f'data/train-0000{part}-of-00002.parquet'] for part in (0, 1)])} cat,dog"
    test = f"4 {total(pets['data/test-00000-of-00001.parquet'])} cat,dog"
    known = {
        "hf://me/pets": train,
        "hf://datasets/me/pets": train,
        "hf://me/pets@v1#train": train,
        "hf://me/pets#test": test,
        "hf://me/pets/data/test-00000-of-00001.parquet": test,
        "hf://me/converted": f"6 {total(FILES['me/converted', CONVERTED]['default/train/0000.parquet'])} cat,dog",
        "hf://me/converted@refs/convert/parquet/default": "6 ",
        "hf://me/zipped": f"3 {8 * 8 * (0 + 1 + 2)}",
        "hf://me/zips/b": f"4 {8 * 8 * (0 + 1 + 2 + 3)}",
        "hf://me/configs/large": "2 ",
        "hf://pets": "7 ",
    }
    lines = opened(*known)
    for name, line, expected in zip(known, lines, known.values(), strict=True):
        assert line.startswith(expected), name
    fetched = [asked for asked in server.asked if asked.startswith("GET /datasets/me/pets")]
    assert len(fetched) == len(set(fetched)) == 3  # each file once, and not the card

    unknown = "hf://me/loose was not downloaded before, and HF_HUB_OFFLINE forbids it now: unset it"
    assert opened(*known, "hf://me/loose", HF_HUB_OFFLINE="1") == [*lines, unknown]
    (cache / "images").rename(cache / "gone")  # what was packed; what was downloaded is still there
    server.shutdown()
    server.server_close()
    assert opened(*known) == lines


def test_what_cannot_be_had(opened: Callable[..., list[str]]) -> None:
    wrong = {
        "hf://me/nothing": "there is no data set hf://me/nothing on the hub, or it is private: check its name, or log",
        "hf://me/private": "there is no data set hf://me/private on the hub, or it is private: check its name, or log",
        "hf://me/gated": "hf://me/gated is gated: accept its conditions on its page on the hub, then log in",
        "hf://me/forbidden": "the hub does not let you read hf://me/forbidden: log in",
        "hf://me/pets@v9": "hf://me/pets@v9 does not exist in that revision",
        "hf://me/pets#dev": "hf://me/pets#dev has no split 'dev', but the splits test, train: choose one",
        "hf://me/pets/pictures": "hf://me/pets/pictures does not exist: me/pets has no 'pictures' in that revision",
        "hf://me/loose": "hf://me/loose holds single image files: run `hf download me/loose --repo-type dataset",
        "hf://me/words": "hf://me/words holds no images in Parquet, Arrow or .zip files, but .jsonl",
        "hf://me/zips": "hf://me/zips holds 2 archives: name one of them, as hf://me/zips/a/photos.zip",
        "hf://me/configs": "hf://me/configs holds several sets, in large, small: give one of these folders",
        "hf://me/pe--ts": "hf://me/pe--ts is no name of a data set on the hub: ",
    }
    for line, expected in zip(opened(*wrong), wrong.values(), strict=True):
        assert line.startswith(expected)


def test_a_busy_hub_is_asked_again(opened: Callable[..., list[str]], server: Any) -> None:
    server.busy = 2
    again, never = opened("hf://pets", "hf://me/busy")
    assert again.startswith("7 ")
    assert never.startswith("cannot reach the hub for hf://me/busy (Server error '503")
    assert sum("me/busy" in asked for asked in server.asked) == 3


def test_a_hub_that_sends_a_byte_now_and_then_is_out_of_reach(opened: Callable[..., list[str]], server: Any) -> None:
    for line in opened("hf://me/drips-headers", "hf://me/drips", ANSWER_TIME="0.5"):
        assert re.fullmatch(r"cannot reach the hub for hf://me/drips.* \(no whole answer in 0.5 seconds\): .*", line)
    assert len(server.asked) > 2, "it was asked again"


def test_a_file_that_comes_byte_by_byte_is_given_up(opened: Callable[..., list[str]], server: Any) -> None:
    server.slow = True
    (line,) = opened("hf://me/pets", ANSWER_TIME="2")
    assert re.fullmatch(r"the hub sends \S+ of hf://me/pets too slowly.*: try again .*", line)


def test_no_network(opened: Callable[..., list[str]]) -> None:
    (line,) = opened("hf://me/pets", HF_ENDPOINT="http://127.0.0.1:9")
    assert line.startswith("cannot reach the hub for hf://me/pets (")
    assert line.endswith("): check the network and try again")


def test_no_place_for_downloads(opened: Callable[..., list[str]], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (line,) = opened("hf://pets", HF_HOME=str(tmp_path / "file"))
    assert line.startswith("cannot download hf://pets (")
    assert line.endswith("Not a directory): make room there, or set HF_HOME to another folder")


@pytest.mark.parametrize(
    "name", ["hf://", "hf://a b", "hf://me/pe ts", "hf://me/pets#", "hf://spaces/me/pets", "hf://me/pets@"]
)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(UsageError, match="is no name of a data set on the hub: write hf://owner/name"):
        hub(name)


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r"hf://me/pets needs the package huggingface_hub: .*'equipoise\[hub\]'"):
        hub("hf://me/pets")
