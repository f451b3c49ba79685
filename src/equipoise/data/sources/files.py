"""Image files, in a folder however deep or in a .zip; the names of their folders are their labels, if one deep."""

import hashlib
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from equipoise.data.decode import UnreadableError, readable_formats
from equipoise.data.sources.base import Contents, Labels, Source, reading
from equipoise.errors import UsageError

SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx", ".avif", ".tga", ".ico", ".pcx"),
)
LARGEST_ENTRY = 256 * 2**20  # bytes of one image in a .zip, unpacked
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile bounds what these unpack to; others it does not


def folder(path: Path) -> Source | None:
    """Find the images in a folder, at any depth; hidden files and folders are left out.

    Raises:
        UsageError: there are none, or the folder may not be read.
    """
    if not path.is_dir():
        return None
    with reading(path):
        found = sorted(_walk(path), key=lambda item: item[0])
        if not found:
            raise UsageError(_no_images(path, any(path.iterdir())))
    listing = "\0".join(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}" for name, stat in found)
    digest = hashlib.sha256(f"{path.resolve()}\0{listing}".encode("utf-8", "surrogateescape")).hexdigest()
    return Source(str(path), ("folder", digest), partial(_open_folder, path, [name for name, _ in found]))


def archive(path: Path) -> Source | None:
    """Take the images in a .zip, read where they lie and never unpacked to disk."""
    return Source(str(path), ("zip", path), partial(_open_archive, path)) if path.suffix.lower() == ".zip" else None


@contextmanager
def _open_folder(path: Path, names: Sequence[str]) -> Iterator[Contents]:
    formats = readable_formats()
    yield Contents(names, lambda index: Image.open(path / names[index], formats=formats), *class_labels(names))


@contextmanager
def _open_archive(path: Path) -> Iterator[Contents]:
    formats = readable_formats()
    with reading(path):
        opened = zipfile.ZipFile(path)
    with opened:
        entries = [info for info in opened.infolist() if not info.is_dir() and is_image(info.filename)]
        entries.sort(key=lambda info: (info.filename, info.header_offset))
        if not entries:
            raise UsageError(_no_images(path, bool(opened.infolist())))
        names = [info.filename for info in entries]
        yield Contents(
            names,
            lambda index: Image.open(BytesIO(_unpacked(opened, entries[index])), formats=formats),
            *class_labels(names),
        )


def _unpacked(opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    if entry.flag_bits & 1:
        raise UnreadableError("encrypted")
    if entry.compress_type not in METHODS:
        raise UnreadableError("compressed by a method other than deflate")
    if entry.file_size > LARGEST_ENTRY:
        raise UnreadableError(f"{entry.file_size} bytes unpacked, of which {LARGEST_ENTRY} are read at most")
    try:
        return opened.read(entry)
    except zipfile.BadZipFile as error:
        raise UnreadableError(f"damaged in the .zip ({error})") from error


def is_image(name: str) -> bool:
    """Say whether a file's name, with / between its folders, is that of an image and not hidden."""
    path = PurePosixPath(name)
    hidden = any(part == "__MACOSX" or (part[0] == "." and part != "..") for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


def class_labels(names: Sequence[str]) -> tuple[Labels | None, tuple[str, ...] | None]:
    """Label images by their folders, if every image lies exactly one deep below the folder that holds them all.

    Gives labels (N,) that number the sorted names of two or more folders, and those names; else None and None.
    """
    folders = [list(PurePosixPath(name).parts[:-1]) for name in names]
    depth = len(folders[0])
    if not depth or any(len(parts) != depth or parts[:-1] != folders[0][:-1] for parts in folders):
        return None, None
    classes, labels = np.unique([parts[-1] for parts in folders], return_inverse=True)
    return (labels.astype(np.int64), tuple(classes.tolist())) if len(classes) > 1 else (None, None)


def _walk(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Give each image's name below `root` and its size and date; links are followed, each folder once."""
    seen: set[tuple[int, int]] = set()
    below = [""]
    while below:
        prefix = below.pop()
        here = (root / prefix).stat()
        if (here.st_dev, here.st_ino) in seen:
            continue
        seen.add((here.st_dev, here.st_ino))
        with os.scandir(root / prefix) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                name = prefix + entry.name
                if entry.is_dir() and is_image(f"{entry.name}/a.png"):
                    below.append(f"{name}/")
                elif is_image(entry.name) and (entry.is_file() or not os.path.exists(entry.path)):  # noqa: PTH110
                    yield (
                        name,
                        entry.stat(follow_symlinks=entry.is_file()),
                    )  # a link to nothing is skipped with a reason


def _no_images(path: Path, holds_anything: bool) -> str:
    what = "holds no images" if holds_anything else "is empty"
    return f"{path} {what}: give it files that end in .png, .jpg, .webp, .gif, .bmp, .tif or the like"
