"""CIFAR-10 and CIFAR-100, Python or binary version, as a .tar.gz, a folder or a single batch.

The formats are described at https://www.cs.toronto.edu/~kriz/cifar.html. The Python version is made of pickles,
which can run any program when loaded. Here they cannot: `_InertUnpickler` lets a pickle name nothing but what numpy
describes arrays with, and even those names stand for objects that do nothing. The arrays are then read from that
description.
"""

import io
import math
import pickle
import re
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from equipoise.data.packed.rows import Array
from equipoise.data.sources.arrays import as_labels, contents_of
from equipoise.data.sources.base import Contents, Source, source_errors
from equipoise.errors import UsageError, reason

BATCH = re.compile(r"(data_batch_\d+|test_batch|train|test)(\.bin)?")
TRAINING = re.compile(r"(data_batch_\d+|train)(\.bin)?")
META = ("batches.meta", "meta")
NAMES = {  # of classes, in the binary version, and the labels that they name
    "batches.meta.txt": "labels",
    "fine_label_names.txt": "fine_labels",
    "coarse_label_names.txt": "coarse_labels",
}
TARS = (".tar.gz", ".tgz", ".tar")
MAX_FILE_BYTES = 2**30  # bytes; the largest file of either set has 155 MB
SHAPE = (3, 32, 32)  # of an image, (C, H, W)
ALLOWED = {  # names in a pickle, by module
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}

BYTE_TYPES = (("u1",), (b"u1",))  # arguments of the dtype uint8 in a pickle

Files = dict[str, Callable[[], bytes]]  # reads a file, by its name
Labelled = dict[str, Array]  # labels (N,) by their name, the usual ones first


def cifar(path: Path) -> Source | None:
    """Source of the training batches in a .tar.gz or folder, or of one batch by its file; class names lie beside."""
    if path.name.lower().endswith(TARS):
        return Source(str(path), ("cifar", path), partial(_open_tar, path))
    folder, pattern = (path, TRAINING) if path.is_dir() else (path.parent, BATCH)
    batches = sorted(folder.iterdir()) if path.is_dir() else [path]
    batches = [batch for batch in batches if pattern.fullmatch(batch.name) and batch.is_file()]
    if path.is_dir():  # which may be one of images, with a file of text called `train`
        batches = [batch for batch in batches if batch.suffix == ".bin" or _begins_as_pickle(batch)]
    if not batches:
        return None
    files = [*batches, *(folder / name for name in (*META, *NAMES) if (folder / name).is_file())]
    for file in files:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise UsageError(f"{file} has more than {MAX_FILE_BYTES:,} bytes, as no file of CIFAR's has: get it again")
    identity = [part for file in files for part in (file.name, file)]
    return Source(str(path), ("cifar", *identity), partial(_open_files, path, files))


def _begins_as_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1) in (b"\x80", b"(")


@contextmanager
def _open_files(path: Path, files: list[Path]) -> Iterator[Contents]:
    with source_errors(path):
        contents = _contents({file.name: file.read_bytes for file in files}, path)
    yield contents


@contextmanager
def _open_tar(path: Path) -> Iterator[Contents]:
    with source_errors(path), tarfile.open(path) as tar:
        members = {
            Path(member.name).name: member for member in tar if member.isfile() and member.size <= MAX_FILE_BYTES
        }
        needed = {
            name: member
            for name, member in members.items()
            if name in META or name in NAMES or TRAINING.fullmatch(name)
        }

        def read(member: tarfile.TarInfo) -> bytes:
            file = tar.extractfile(member)
            return b"" if file is None else file.read()

        contents = _contents({name: partial(read, member) for name, member in sorted(needed.items())}, path)
    yield contents


def _contents(files: Files, path: Path) -> Contents:
    batches = [name for name in files if BATCH.fullmatch(name)]
    if not batches:
        raise UsageError(f"{path} holds no batches of CIFAR: if it holds images, unpack it and give the folder")
    parsed = [(_binary if name.endswith(".bin") else _pickled)(files[name](), name) for name in batches]
    if any(labels.keys() != parsed[0][1].keys() for _, labels in parsed):
        raise UsageError(f"{path} holds batches of CIFAR-10 and of CIFAR-100: give a folder for each")
    images = np.concatenate([batch for batch, _ in parsed]).reshape(-1, *SHAPE)
    labels = {key: np.concatenate([labels[key] for _, labels in parsed]) for key in parsed[0][1]}
    classes = _classes(files)
    usual, *others = labels  # of CIFAR-100 the finer
    contents = contents_of(images, str(path), labels[usual], classes.get(usual))
    columns = {key: partial(as_labels, labels[key], len(images), classes.get(key), str(path)) for key in labels}
    return replace(contents, columns=columns, label=usual) if others else contents


def _binary(data: bytes, name: str) -> tuple[Array, Labelled]:
    """Images (N, 3072) and labels (N,) of a binary batch; CIFAR-100 has two labels, the second the finer."""
    labels = ["labels"] if "batch" in name else ["coarse_labels", "fine_labels"]
    record = len(labels) + math.prod(SHAPE)
    if not data or len(data) % record:
        raise ValueError(f"{name} is no whole number of records of {record} bytes")
    records = np.frombuffer(data, np.uint8).reshape(-1, record)
    return records[:, len(labels) :], {key: records[:, place] for place, key in reversed(list(enumerate(labels)))}


def _pickled(data: bytes, name: str) -> tuple[Array, Labelled]:
    """Images (N, 3072) and labels (N,) of a pickled batch."""
    batch = _unpickle(data, name)
    images = _as_array(batch.get("data"))
    labels: Labelled = {key: np.array(batch[key]) for key in ("labels", "fine_labels", "coarse_labels") if key in batch}
    shapes = {values.shape for values in labels.values()}
    if images is None or images.shape != (len(images), math.prod(SHAPE)) or shapes != {(len(images),)}:
        raise ValueError(f"{name} is not a batch of images 32x32x3 and their labels")
    return images, labels


def _classes(files: Files) -> dict[str, tuple[str, ...]]:
    """Names of the classes, by the labels that they name."""
    classes: dict[str, tuple[str, ...]] = {}
    for name in files:
        if name in NAMES:
            classes[NAMES[name]] = tuple(files[name]().decode("ascii", "replace").split())
        if name in META:
            meta = _unpickle(files[name](), name)
            for key in NAMES.values():
                names = meta.get(f"{key[:-1]}_names")
                if names is not None:
                    classes[key] = tuple(
                        n.decode("ascii", "replace") if isinstance(n, bytes) else str(n) for n in names
                    )
    return classes


def _unpickle(data: bytes, name: str) -> dict[str, Any]:
    try:
        content = _InertUnpickler(io.BytesIO(data), encoding="bytes").load()
        return {key.decode() if isinstance(key, bytes) else str(key): value for key, value in content.items()}
    except Exception as error:  # a damaged pickle raises anything
        raise ValueError(f"{name} is no pickle of CIFAR ({reason(error)})") from error


def _as_array(value: Any) -> Array | None:
    """Array of bytes from its description, in either of the two ways that numpy pickles arrays."""
    match value:
        case _Inert(name="_reconstruct", state=(_, tuple() as shape, dtype, fortran, raw)):
            pass
        case _Inert(name="_frombuffer", arguments=(raw, dtype, tuple() as shape, "C" | "F" as order)):
            fortran = order == "F"
        case _:
            return None
    if isinstance(raw, _Inert) and raw.name == "encode":
        raw = str(raw.arguments[0]).encode("latin1")
    if not isinstance(raw, bytes | bytearray) or not isinstance(dtype, _Inert) or dtype.arguments[:1] not in BYTE_TYPES:
        return None
    values = np.frombuffer(raw, np.uint8)
    return values.reshape(shape[::-1]).T if fortran else values.reshape(shape)


class _Inert:
    """Stand-in for whatever a pickle names: it calls nothing, and stores its arguments and state."""

    name = ""
    arguments: tuple[Any, ...] = ()
    state: Any = None

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _InertUnpickler(pickle._Unpickler):
    """Unpickler that builds a description of arrays and runs nothing.

    It is the one in Python, since the one in C allocates whatever size a damaged pickle claims.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise ValueError(f"it asks for {module}.{name}, which no batch needs")
        return type(name, (_Inert,), {"name": name})
