"""Images in arrays: .npy and .npz files, and the base of other array formats. Nothing is ever unpickled."""

import math
import os
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from equipoise.data.decode import Pixels
from equipoise.data.packed.rows import Array, Rows
from equipoise.data.pixels import to_uint8
from equipoise.data.sources.base import Contents, LabelsAndClasses, Source, source_errors
from equipoise.data.sources.labels import one_hot, truth_names
from equipoise.errors import MOST_QUOTED, MOST_REASON, UsageError, one_line, quoted, reason
from equipoise.reading import open_plain

IMAGE_KEYS = ("images", "image", "x", "X", "x_train", "X_train", "train_images", "data", "arr_0")
LABEL_KEYS = ("labels", "label", "y", "Y", "y_train", "Y_train", "train_labels", "targets", "arr_1")
HELD_OUT = "held_out"  # array of truth values: the images that the data itself holds out
MAX_LOADED_BYTES = 8 * 2**30  # of a compressed array, unpacked into memory; all others are read row by row
MAX_AXES = 32  # as many as every version of numpy allows
CHUNK_BYTES = 2**24  # of images whose range is computed at a time
TOLERANCE = 1e-4  # by which floats may miss their range
HINT = "store (N, H, W), (N, H, W, C) or (N, C, H, W) as uint8, or floats in [0, 1] or [-1, 1], with C = 1, 3 or 4"


def array(path: Path) -> Source | None:
    """Source of an .npy of images, or an .npz of images and maybe labels, named as in IMAGE_KEYS and LABEL_KEYS."""
    if path.is_dir():
        return None
    if path.suffix.lower() == ".npy":
        return Source(str(path), ("npy", path), partial(_open_npy, path))
    if path.suffix.lower() == ".npz":
        return Source(str(path), ("npz", path), partial(open_npz, path))
    return None


class Numbers(Sequence[str]):
    """Names "0", "1", .. of images that have none, without a list of millions of strings."""

    def __init__(self, count: int) -> None:
        self.numbers = range(count)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Any) -> Any:
        return str(self.numbers[index])


@contextmanager
def _open_npy(path: Path) -> Iterator[Contents]:
    with source_errors(path):
        images = npy_rows(path)
    yield contents_of(images, str(path))


def npy_rows(path: Path) -> Rows | Array:
    """The array of an .npy, read row by row where its layout allows it.

    Raises:
        OSError, ValueError, UsageError: it is not there, not an .npy, cut short, or pickled.
    """
    with path.open("rb") as file:
        return _rows(path, file)


@contextmanager
def open_npz(path: Path) -> Iterator[Contents]:
    """Images and labels of an .npz, read in place where they are not compressed.

    Raises:
        UsageError: the file is damaged, or no array in it can be images, or the labels do not fit.
    """
    with source_errors(path), zipfile.ZipFile(path) as members:
        keys = [name.removesuffix(".npy") for name in members.namelist() if name.endswith(".npy")]
        images = _member(path, members, key := _image_key(path, members, keys))
        if not images.shape:
            raise UsageError(f"the array {key!r} in {path} is a single number: {HINT}")
        label = next((key for key in LABEL_KEYS if key in keys), None)
        named = [*_columns(members, keys, len(images)), *([] if label is None else [label])]
        columns = {key: partial(_column, path, key, len(images)) for key in named}
        held_out = _partition(path, members, len(images)) if HELD_OUT in keys else None
    contents = replace(contents_of(images, str(path)), held_out=held_out)
    yield replace(contents, columns={key: columns[key] for key in columns if key != HELD_OUT}, label=label)


def read_npz(path: Path, names: Iterable[str]) -> dict[str, Array]:
    """Those of the arrays `names` that an .npz has, whole and by name.

    Raises:
        UsageError: it is not there, may not be read, is damaged, or holds pickled objects.
    """
    with source_errors(path):
        open_plain(path).close()
        with zipfile.ZipFile(path) as members:
            there = {name for name in names if f"{name}.npy" in members.namelist()}
            return {name: np.array(read_all(_member(path, members, name))) for name in there}


def contents_of(
    images: Rows | Array,
    name: str,
    labels: Array | None = None,
    classes: tuple[str, ...] | None = None,
) -> Contents:
    """Contents with images in any of the layouts and types that HINT lists, and integer labels (N,).

    Raises:
        UsageError: shape, type or range of the images is not one of those, or the labels do not fit.
    """
    arrange = _arrangement(images.shape, name)
    convert = _converter(images, name)
    return Contents(
        names=Numbers(len(images)),
        read=lambda index: convert(arrange(images[index : index + 1])[0]),
        labels=None if labels is None else as_labels(labels, len(images), classes, name)[0],
        classes=classes,
    )


def _image_key(path: Path, members: zipfile.ZipFile, keys: list[str]) -> str:
    for key in IMAGE_KEYS:
        if key in keys:
            return key
    shapes = {}
    for key in keys:
        with members.open(f"{key}.npy") as file:
            shapes[key] = _header(file, members.getinfo(f"{key}.npy").file_size)[0]
    deep = [key for key, shape in shapes.items() if len(shape) in (3, 4)]
    if len(deep) == 1:
        return deep[0]
    listed = one_line(", ".join(f"{key} {shape}" for key, shape in shapes.items()), MOST_REASON) or "nothing"
    raise UsageError(f"{path} holds no array named {', '.join(IMAGE_KEYS)}, but {listed}: save the images as 'images'")


def _columns(members: zipfile.ZipFile, keys: Sequence[str], count: int) -> Iterator[str]:
    """Names of the arrays that can be labels of `count` images: of whole numbers or truth values, one an image."""
    for key in keys:
        info = members.getinfo(f"{key}.npy")
        with members.open(info) as file:
            shape, _, dtype = _header(file, info.file_size)
        if shape in ((count,), (count, 1)) and dtype.kind in "biu":
            yield key


def _partition(path: Path, members: zipfile.ZipFile, count: int) -> NDArray[np.bool_] | None:
    """The images that an .npz holds out; None where the array of that name is no list.

    Raises:
        UsageError: it is one, but not of truth values, one an image.
    """
    info = members.getinfo(f"{HELD_OUT}.npy")
    with members.open(info) as file:
        shape, _, dtype = _header(file, info.file_size)
    if len(shape) != 1 and shape[1:] != (1,):
        return None
    if shape[0] != count or dtype != np.bool_:
        found = f"{one_line(str(dtype), MOST_QUOTED)} {quoted(shape)}"
        raise UsageError(
            f"{HELD_OUT!r} in {path} must be {count} truth values, one an image, not {found}: mend or remove it"
        )
    return read_all(_member(path, members, HELD_OUT)).reshape(-1)


def _column(path: Path, key: str, count: int) -> LabelsAndClasses:
    with source_errors(path), zipfile.ZipFile(path) as members:
        values = read_all(_member(path, members, key))
    classes = truth_names(key) if values.dtype == np.bool_ else None
    return as_labels(values.astype(np.int64) if classes else values, count, classes, str(path))


def _member(path: Path, members: zipfile.ZipFile, key: str) -> Rows | Array:
    """An array of an .npz: in place where it is stored as it is, else unpacked, up to MAX_LOADED_BYTES."""
    info = members.getinfo(f"{key}.npy")
    with members.open(info) as stream:
        shape, _, dtype = _header(stream, info.file_size)
    if info.compress_type == zipfile.ZIP_STORED:
        # zipfile does not say where a member's bytes begin: after its local header, whose last two fields, from byte 26
        # on, are the lengths of the name and of the extra data that follow it.
        with path.open("rb") as file:
            file.seek(info.header_offset + 26)
            name_length, extra_length = struct.unpack("<HH", file.read(4))
            file.seek(name_length + extra_length, os.SEEK_CUR)
            return _rows(path, file)
    if math.prod(shape) * dtype.itemsize > MAX_LOADED_BYTES:
        raise UsageError(f"{path} unpacks to {info.file_size} bytes: save it with np.savez, uncompressed")
    with members.open(info) as stream:
        values: Array = np.lib.format.read_array(stream, allow_pickle=False)
        return values


def _rows(path: Path, file: BinaryIO) -> Rows | Array:
    """The .npy that begins at the position of `file`: row by row where its rows lie together, else memory-mapped."""
    shape, fortran, dtype = _header(file, path.stat().st_size)
    if 0 in shape or not shape:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", file.tell(), shape, "F") if fortran else Rows(path, file.tell(), shape, dtype)


def read_all(values: Rows | Array) -> Array:
    """All of a small array."""
    return values[:] if isinstance(values, Rows) else values


def _header(file: IO[bytes], size: int) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, Fortran order and type by the header of an .npy in a file of `size` bytes; `file` is then at its data."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the .npy format is for arrays with named fields")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        with warnings.catch_warnings():  # as Python, what is damaged may be warned of
            warnings.simplefilter("ignore")
            shape, fortran, dtype = read(file)
    except Exception as error:  # numpy parses it as Python, and damaged ones raise nearly anything
        raise ValueError(f"its header is damaged ({reason(error)})") from error
    if not _is_shape(shape):
        raise ValueError(f"its shape {quoted(shape)} is none")
    if dtype.hasobject:
        raise UsageError(f"an array holds pickled objects, which are never loaded: {HINT}")
    # A header can claim any shape; what the file cannot hold must not be allocated.
    if math.prod(shape) * dtype.itemsize > size - file.tell():
        raise ValueError(f"it is shorter than its shape {quoted(shape)} says")
    return shape, fortran, dtype


def _is_shape(shape: tuple[Any, ...]) -> bool:
    """Whether these are lengths of axes: True and -1 are integers for numpy's reader, too."""
    return len(shape) <= MAX_AXES and all(type(length) is int and 0 <= length < 2**63 for length in shape)


def _arrangement(shape: tuple[int, ...], name: str) -> Callable[[Array], Array]:
    """Function that rearranges images of any layout to (n, H, W), (n, H, W, 3) or (n, H, W, 4)."""
    if 0 in shape:
        raise UsageError(f"{name} has the shape {quoted(shape)}, no images at all: {HINT}")
    if len(shape) == 3 and shape[-1] not in (3, 4):
        return lambda images: images
    if len(shape) == 4 and shape[-1] in (1, 3, 4):
        return (lambda images: images[..., 0]) if shape[-1] == 1 else lambda images: images
    if len(shape) == 4 and shape[1] in (1, 3, 4):
        return (lambda images: images[:, 0]) if shape[1] == 1 else lambda images: np.moveaxis(images, 1, -1)
    raise UsageError(f"{name} has the shape {quoted(shape)}: {HINT}")


def _converter(pixels: Rows | Array, name: str) -> Callable[[Array], Pixels]:
    """Function that converts values to bytes; floats lie in [-1, 1] if any is below zero, else in [0, 1]."""
    if pixels.dtype == np.uint8:
        return lambda values: values
    if not np.issubdtype(pixels.dtype, np.floating):
        raise UsageError(f"{name} holds {one_line(str(pixels.dtype), MOST_QUOTED)}: {HINT}")
    images = max(1, CHUNK_BYTES // (math.prod(pixels.shape[1:]) * pixels.dtype.itemsize))
    chunks = (pixels[start : start + images] for start in range(0, len(pixels), images))
    extremes = np.array([(float(chunk.min()), float(chunk.max())) for chunk in chunks])
    low, high = float(extremes.min()), float(extremes.max())
    if not (low >= -1 - TOLERANCE and high <= 1 + TOLERANCE):  # false for NaN, too
        raise UsageError(f"{name} holds floats from {low:g} to {high:g}: {HINT}")
    if low < -TOLERANCE:
        return lambda values: to_uint8(torch.from_numpy(values.astype(np.float32))).numpy()
    return lambda values: to_uint8(torch.from_numpy(values.astype(np.float32) * 2 - 1)).numpy()


def as_labels(labels: Array, count: int, classes: tuple[str, ...] | None, name: str) -> LabelsAndClasses:
    """Labels (N,) of whole numbers, (N,), (N, 1) or one-hot (N, K), and the names of their classes.

    Raises:
        UsageError: they are of another shape or type, or of no class.
    """
    numbers = one_hot(labels)
    labels = labels if numbers is None else numbers
    if labels.shape not in ((count,), (count, 1)) or not np.issubdtype(labels.dtype, np.integer):
        found = f"{one_line(str(labels.dtype), MOST_QUOTED)} {quoted(labels.shape)}"
        raise UsageError(
            f"the labels in {name} must be {count} integers, one an image, not {found}: mend or remove them"
        )
    if labels.max() >= 2**63:
        raise UsageError(f"the labels in {name} must be below 2^63, but reach {labels.max()}: mend or remove them")
    if classes is not None and not 0 <= labels.min() <= labels.max() < len(classes):
        found = f"from {labels.min()} to {labels.max()}"
        raise UsageError(f"the labels in {name} must name one of {len(classes)} classes, but are {found}: mend them")
    return labels.reshape(count).astype(np.int64), classes
