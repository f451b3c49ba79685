"""Real shards, and a real HTTP server that fails on purpose."""

import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import webdataset
from PIL import Image

from equipoise.data.shards import RetryPolicy

QUICK = RetryPolicy(waits=(0.01, 0.02, 0.04), timeout=2.0)


@lru_cache
def png(number: int, side: int = 4) -> bytes:
    """A gray image that says its number: the first pixel is its high byte, the others the low."""
    pixels = np.full((side, side), number % 256, np.uint8)
    pixels[0, 0] = number // 256
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def numbers(images: object) -> list[int]:
    """The numbers that images (n, 1, 4, 4) say."""
    pixels = np.asarray(images).astype(int)
    return (pixels[:, 0, 0, 0] * 256 + pixels[:, 0, 1, 1]).tolist()


def shards(folder: Path, counts: list[int], *, suffix: str = "tar") -> str:
    """Write numbered images, so many a shard, with WebDataset's own writer; gives the pattern."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    for place, count in enumerate(counts):
        with webdataset.TarWriter(str(folder / f"s-{place:03d}.{suffix}")) as writer:
            for _ in range(count):
                writer.write({"__key__": f"{number:06d}", "png": png(number), "cls": str(number % 7)})
                number += 1
    return f"{folder}/s-{{000..{len(counts) - 1:03d}}}.{suffix}"


def tar(path: Path, files: dict[str, bytes] | list[tuple[str, bytes]], **options: object) -> str:
    """Write an archive of files by Python's own writer."""
    with tarfile.open(path, "w", **options) as archive:
        for name, data in files.items() if isinstance(files, dict) else files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return str(path)


@dataclass
class Server:
    """Serves files, and misbehaves as it is told.

    Attributes:
        url: without a slash at its end.
        log: method, path and Range of every request.
        misbehave: called with the handler and the number of the request for that path; True if it has answered.
        ranges: whether parts of files are served.
        tags: whether files have an ETag, made of `version`.
    """

    folder: Path
    url: str = ""
    log: list[tuple[str, str]] = field(default_factory=list)
    misbehave: Callable[[BaseHTTPRequestHandler, int], bool] = lambda handler, number: False
    ranges: bool = True
    tags: bool = True
    version: str = "1"


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    told = Server(folder)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *words: object) -> None: ...

        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            told.log.append((self.path, asked))
            full = [path for path, part in told.log if path == self.path and part != "bytes=0-0"]
            if asked != "bytes=0-0" and told.misbehave(self, len(full)):
                return
            data = (told.folder / self.path.lstrip("/").partition("?")[0]).read_bytes()
            tag = f'"{told.version}"'
            start = 0
            if asked and told.ranges and self.headers.get("If-Range", tag) == tag:
                start, end = (int(part or len(data) - 1) for part in asked.removeprefix("bytes=").split("-"))
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{end}/{len(data)}")
                body = data[start : end + 1]
            else:
                self.send_response(200)
                body = data
            if told.tags:
                self.send_header("ETag", tag)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    told.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield told
    server.shutdown()
    server.server_close()


def cut(handler: BaseHTTPRequestHandler, data: bytes, after: int) -> bool:
    """Promise a whole file, and hang up after some bytes."""
    handler.send_response(200)
    handler.send_header("ETag", '"1"')
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data[:after])
    handler.wfile.flush()
    handler.close_connection = True
    return True
