"""A whole epoch of a million images, streamed over HTTP by four processes: who saw what, in how much memory.

    python -m benchmarks.shard_epoch                       # 1,000,000 images in 100 shards, 1.6 GB of room
    python -m benchmarks.shard_epoch --images 40000 --out runs/index

Every image says its number. Each process writes the numbers that it saw, in order, to an index; all together must be
every number once. The results are written to docs/results/shard-epoch.md.
"""

import argparse
import io
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from equipoise.data.shards import open_stream

RESULT = Path(__file__).parents[1] / "docs" / "results" / "shard-epoch.md"
SIDE, PROCESSES, BATCH = 4, 4, 1000  # pixels; processes; images of a batch over all of them
FORK = multiprocessing.get_context("fork")
LOOKS = 10  # at the memory, over the epoch


def main() -> None:
    """Write the shards, stream them, check the index, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000, help="a multiple of 4,000")
    parser.add_argument("--out", type=Path, help="folder for the index; by default none is kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="shard-epoch-") as scratch:
        shards = max(PROCESSES, options.images // 10_000)
        write_shards(Path(scratch) / "shards", options.images, shards)
        out = options.out or Path(scratch) / "index"
        out.mkdir(parents=True, exist_ok=True)
        os.environ["EQUIPOISE_CACHE"] = f"{scratch}/cache"
        began = time.monotonic()
        with served(Path(scratch) / "shards") as url:
            memory = stream_epoch(f"{url}/s-{{000000..{shards - 1:06d}}}.tar", options.images, out)
        seconds = time.monotonic() - began
        seen = [np.load(out / f"rank-{rank}.npy") for rank in range(PROCESSES)]
    assert np.array_equal(np.sort(np.concatenate(seen)), np.arange(options.images)), "every image once"
    text = page(options.images, shards, seconds, seen, memory)
    if options.images == parser.get_default("images"):
        RESULT.write_text(text)
    print(text)


def write_shards(folder: Path, images: int, shards: int) -> None:
    """Write numbered images to WebDataset shards, as many to each, or one more."""
    folder.mkdir(parents=True)
    for shard in range(shards):
        numbers = range(images * shard // shards, images * (shard + 1) // shards)
        with (folder / f"s-{shard:06d}.tar").open("wb") as file:
            for number in numbers:
                data = png(number)
                file.write(tar_header(f"{number:08d}.png", len(data)) + data + bytes(-len(data) % 512))
            file.write(bytes(1024))


def png(number: int) -> bytes:
    """A gray image whose first three pixels are the bytes of its number."""
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    pixels[0, :3] = number >> 16, number >> 8 & 255, number & 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def tar_header(name: str, size: int) -> bytes:
    """The header of a plain file in a tar archive, POSIX 1003.1-1988: Python's own writer takes ten times as long."""
    fields = [name.encode().ljust(100, b"\0"), b"0000644\0", b"0000000\0", b"0000000\0", f"{size:011o}\0".encode()]
    head = b"".join([*fields, b"00000000000\0", b" " * 8, b"0", bytes(100), b"ustar\x0000", bytes(247)])
    return head[:148] + f"{sum(head):06o}\0 ".encode() + head[156:]


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder over HTTP from a process of its own; gives the URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    process = FORK.Process(target=server.serve_forever, daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        process.terminate()
        process.join()
        server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Send a file, and say nothing where the reader only wanted its size or its beginning."""
        with suppress(ConnectionError):
            super().copyfile(source, outputfile)


def stream_epoch(pattern: str, images: int, out: Path, batch: int = BATCH) -> NDArray[np.int64]:
    """Let PROCESSES processes stream an epoch, and each write `rank-N.npy`, the numbers it saw.

    Returns:
        Resident bytes of each process, (PROCESSES, LOOKS), at equal intervals over the epoch.

    Raises:
        RuntimeError: a process failed.
    """
    queue: Any = FORK.SimpleQueue()
    processes = [
        FORK.Process(target=_stream, args=(pattern, images, batch, rank, out, queue)) for rank in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise RuntimeError(f"processes ended with {[process.exitcode for process in processes]}")
    found = dict(queue.get() for _ in processes)
    return np.array([found[rank] for rank in range(PROCESSES)])


def _stream(pattern: str, images: int, batch: int, rank: int, out: Path, queue: Any) -> None:
    """One process: all its images of the first epoch, in order."""
    stream, seen, memory = open_stream(pattern, SIDE), [], []
    for position in range(0, images, batch):
        pixels = stream.draw(batch, 0, position, rank, PROCESSES).images.numpy().astype(np.int64)
        seen.append(pixels[:, 0, 0, 0] << 16 | pixels[:, 0, 0, 1] << 8 | pixels[:, 0, 0, 2])
        if (position + batch) * LOOKS // images > position * LOOKS // images:
            memory += [resident()] * ((position + batch) * LOOKS // images - position * LOOKS // images)
    stream.close()
    np.save(out / f"rank-{rank}.npy", np.concatenate(seen))
    queue.put((rank, memory))


def resident() -> int:
    """Bytes of this process in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def page(images: int, shards: int, seconds: float, seen: list[NDArray[np.int64]], memory: NDArray[np.int64]) -> str:
    """The page of results, in Markdown."""
    looks = [f"{share}0 %" for share in range(1, LOOKS + 1)]
    lines = [
        "# An epoch from shards over HTTP",
        "",
        f"`python -m benchmarks.shard_epoch`: {images:,} numbered images of {SIDE}×{SIDE} in {shards} shards, served",
        f"by Python's own server on the same machine, and streamed by {PROCESSES} processes in {seconds:,.0f} s "
        f"({images / seconds:,.0f} images/s)",
        f"on {os.cpu_count()} cores on which other work ran. Together the processes saw every image exactly once.",
        "",
        "| process | images | first ones seen | resident MiB after " + " | ".join(looks) + " |",
        "|---|---|---|" + "---|" * LOOKS,
    ]
    for rank, (numbers, sizes) in enumerate(zip(seen, memory, strict=True)):
        cells = " | ".join(f"{size / 2**20:,.0f}" for size in sizes)
        lines.append(f"| {rank} | {len(numbers):,} | {', '.join(map(str, numbers[:4]))} | {cells} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
