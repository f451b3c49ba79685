"""Image files, in a folder however deep or in a .zip."""

import errno
import hashlib
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath

from equipoise.data.decode import Fit, Pixels, UnreadableError, parse_framing, prepare
from equipoise.data.sources.base import Contents, Source, source_errors
from equipoise.data.sources.labels import DATASET, label_images
from equipoise.errors import UsageError, reason
from equipoise.reading import read_bytes

SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx", ".avif", ".tga", ".ico", ".pcx"),
)
MAX_FILE_BYTES = 256 * 2**20  # of one image, unpacked
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # whose output zipfile can bound, unlike that of others


def folder(path: Path) -> Source | None:
    """Source of the images in a folder, at any depth; hidden files and folders are left out.

    Raises:
        UsageError: there are none, or the folder may not be read.
    """
    if not path.is_dir():
        return None
    with source_errors(path):
        images = sorted(_walk(path))
        if not images:
            raise UsageError(_no_images(path, any(path.iterdir())))
    # Reading every image to tell whether one has changed would take as long as packing them; names, sizes and dates do.
    listing = hashlib.sha256(os.fsencode(path.resolve()))
    for name, size, changed in images:
        listing.update(os.fsencode(f"\0{name}\0{size}\0{changed}"))
    labels = [path / DATASET] if (path / DATASET).is_file() else []
    return Source(
        str(path),
        ("folder", listing.hexdigest(), *labels),
        partial(_open_folder, path, [name for name, _, _ in images]),
    )


def archive(path: Path) -> Source | None:
    """Source of the images in a .zip, which are read from it and never unpacked to disk."""
    return Source(str(path), ("zip", path), partial(_open_archive, path)) if path.suffix.lower() == ".zip" else None


@contextmanager
def _open_folder(path: Path, names: Sequence[str]) -> Iterator[Contents]:
    with source_errors(path):
        dataset = read_file(path / DATASET) if (path / DATASET).is_file() else None
    yield Contents(names, lambda index: read_file(path / names[index]), *label_images(names, dataset, str(path)))


@contextmanager
def _open_archive(path: Path) -> Iterator[Contents]:
    with source_errors(path):
        opened = zipfile.ZipFile(path)
    with opened:
        entries = [info for info in opened.infolist() if not info.is_dir() and is_image(info.filename)]
        entries.sort(key=lambda info: (info.filename, info.header_offset))
        if not entries:
            raise UsageError(_no_images(path, bool(opened.infolist())))
        names = [info.filename for info in entries]
        with source_errors(path):
            dataset = _unpacked(opened, opened.getinfo(DATASET)) if DATASET in opened.NameToInfo else None
        yield Contents(names, lambda index: _unpacked(opened, entries[index]), *label_images(names, dataset, str(path)))


def read_file(path: Path) -> bytes:
    """Bytes of a file, of no more than MAX_FILE_BYTES."""
    try:
        return read_bytes(path, MAX_FILE_BYTES)
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        raise UnreadableError(reason(error)) from error


def _unpacked(opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    if entry.flag_bits & 1:
        raise UnreadableError("encrypted")
    if entry.compress_type not in METHODS:
        raise UnreadableError("compressed by a method other than deflate")
    if entry.file_size > MAX_FILE_BYTES:
        raise UnreadableError(f"{entry.file_size} bytes unpacked, of which {MAX_FILE_BYTES} are read at most")
    try:
        with opened.open(entry) as file:
            return file.read(entry.file_size + 1)  # without a number, zipfile unpacks all before it cuts
    except zipfile.BadZipFile as error:
        raise UnreadableError(f"damaged in the .zip ({reason(error)})") from error


def is_image(name: str) -> bool:
    """Whether a file's name, with / between its folders, is that of an image and not hidden."""
    path = PurePosixPath(name)
    hidden = any(part == "__MACOSX" or (part[0] == "." and part != "..") for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


def _walk(root: Path) -> Iterator[tuple[str, int, int]]:
    """Name below `root`, size in bytes and date in nanoseconds of each image; each folder is entered once."""
    visited: set[tuple[int, int]] = set()  # by device and inode, since links can lead in circles
    pending = [""]
    while pending:
        prefix = pending.pop()
        here = (root / prefix).stat()
        if (here.st_dev, here.st_ino) in visited:
            continue
        visited.add((here.st_dev, here.st_ino))
        with os.scandir(root / prefix) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                name = prefix + entry.name
                if entry.is_dir() and is_image(f"{entry.name}/a.png"):
                    pending.append(f"{name}/")
                elif is_image(entry.name) and (entry.is_file() or not os.path.exists(entry.path)):  # noqa: PTH110
                    stat = entry.stat(follow_symlinks=entry.is_file())  # a link to nothing is skipped with a reason
                    yield name, stat.st_size, stat.st_mtime_ns


def _no_images(path: Path, holds_anything: bool) -> str:
    what = "holds no images" if holds_anything else "is empty"
    return f"{path} {what}: give it files that end in .png, .jpg, .webp, .gif, .bmp, .tif or the like"


def read_image(
    path: Path, resolution: int | str, *, channels: int | None = None, fit: Fit = "crop", background: str = "white"
) -> Pixels:
    """Image of a file as uint8 (C, H, W); the options are those of `open_images`.

    Raises:
        UsageError: an option is wrong, or the file is missing, no image, or damaged.
    """
    framing = parse_framing(resolution, channels, fit, background)
    with source_errors(path):
        stored = read_file(path)
    try:
        return prepare(lambda: stored, framing).pixels
    except UnreadableError as error:
        raise UsageError(f"cannot read {path}: {error}; give another image") from error
