"""IDX files, gzipped or not, as MNIST, Fashion-MNIST and their like are distributed.

The format is described at http://yann.lecun.com/exdb/mnist/: two zero bytes, the type, the number of dimensions,
each dimension as four bytes, the highest first, and the values.
"""

import gzip
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from equipoise.data.packed.rows import Array, Rows
from equipoise.data.sources.arrays import MAX_LOADED_BYTES, contents_of, read_all
from equipoise.data.sources.base import Contents, Source, source_errors
from equipoise.errors import UsageError

BYTES = b"\x00\x00\x08"  # how an IDX file of unsigned bytes begins
GZIP = b"\x1f\x8b"
TRAINING = ("train-images-idx3-ubyte", "train-images.idx3-ubyte")  # the two spellings in use


def idx(path: Path) -> Source | None:
    """Source of an IDX file of images, or of a folder with those for training; labels lie beside, found by name.

    Raises:
        UsageError: the file holds labels, not images.
    """
    if path.is_dir():
        training = [file for name in TRAINING if (file := _plain_or_gzipped(path / name)) is not None]
        return idx(training[0]) if training else None
    dimensions = _dimensions(path)
    if dimensions is None:
        return None
    if dimensions < 3:
        raise UsageError(
            f"{path} holds labels or single values: give the file of the images, and these are found by name"
        )
    name = path.name.removesuffix(".gz")
    beside_it = name.replace("images", "labels").replace("idx3", "idx1")
    labels = None if beside_it == name else _plain_or_gzipped(path.with_name(beside_it))
    notes: tuple[str, ...] = ()
    if labels is not None and _dimensions(labels) != 1:
        notes, labels = (f"not used, as it holds no labels in the form of IDX: {labels.name}",), None
    beside = () if labels is None else ("labelled", labels)
    return Source(str(path), ("idx", path, *beside), partial(_open, path, labels), notes, border="black")


@contextmanager
def _open(path: Path, labels: Path | None) -> Iterator[Contents]:
    yield contents_of(_read(path), str(path), None if labels is None else read_all(_read(labels)))


def _plain_or_gzipped(path: Path) -> Path | None:
    return next((file for file in (path, path.with_name(f"{path.name}.gz")) if file.is_file()), None)


def _dimensions(path: Path) -> int | None:
    """Number of dimensions of an IDX file of unsigned bytes; None for any other file."""
    with _open_plain(path) as file:
        start = file.read(4)
    return start[3] if len(start) == 4 and start.startswith(BYTES) else None


def _read(path: Path) -> Rows | Array:
    """The array of an IDX file of unsigned bytes: read in place, or unpacked where it is gzipped."""
    with source_errors(path), _open_plain(path) as file:
        count = file.read(4)[3]
        shape: tuple[int, ...] = struct.unpack(f">{count}I", file.read(4 * count))
        size = math.prod(shape)
        if not isinstance(file, gzip.GzipFile) and path.stat().st_size == file.tell() + size > file.tell():
            return Rows(path, file.tell(), shape, np.dtype(np.uint8))
        if size > MAX_LOADED_BYTES:
            raise ValueError(f"its shape is {shape}, too large to be unpacked into memory")
        values = file.read(size + 1)  # one byte more, to notice a longer file without unpacking all of it
        if len(values) != size:
            raise ValueError(f"its values are more or fewer than its shape {shape} says")
    return np.frombuffer(values, np.uint8).reshape(shape)


@contextmanager
def _open_plain(path: Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """Open a file for reading, unpacked if it is gzipped."""
    with path.open("rb") as file:
        zipped = file.read(2) == GZIP
        file.seek(0)
        if not zipped:
            yield file
            return
        with gzip.GzipFile(fileobj=file) as unzipped:
            yield unzipped
