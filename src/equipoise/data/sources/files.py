"""Image files, in a folder however deep or in a .zip."""

import errno
import hashlib
import os
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from stat import S_ISDIR, S_ISLNK, S_ISREG
from typing import NamedTuple

from equipoise.data.decode import Pixels, UnreadableError, prepare, quiet_pillow
from equipoise.data.formats import HEAD, PLUGINS, is_hidden, is_image, looks_like_image
from equipoise.data.framing import Framing
from equipoise.data.sources import celeba
from equipoise.data.sources.annotations import annotate, is_annotation
from equipoise.data.sources.base import ARCHIVE_DAMAGE, Contents, Source, source_errors
from equipoise.data.sources.labels import plain_name
from equipoise.errors import UsageError, counted, reason
from equipoise.reading import read_bytes

MAX_FILE_BYTES = 256 * 2**20  # of one image, unpacked
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # whose output zipfile can bound, unlike that of others
OF_A_RUN = ("config.yaml", ".lock", "metrics.jsonl")  # the first of these, and one of the others, lie in a run's folder
KINDS = 5  # of left-out files that are named


class File(NamedTuple):
    """A file below a folder: its name from there, its size in bytes, and its date in nanoseconds."""

    name: str
    size: int
    changed: int


def folder(path: Path) -> Source | None:
    """Source of the images in a folder, at any depth; hidden files and folders are left out.

    Raises:
        UsageError: there are none, or the folder may not be read.
    """
    if not path.is_dir():
        return None
    with source_errors(path):
        files = sorted(_walk(path))
        images = [file for file in files if is_image(file.name) or _looks_like_image(path / file.name)]
    names = {file.name for file in images}
    others = [file.name for file in files if file.name not in names]
    if not images:
        raise UsageError(_no_images(path, others, empty=not any(path.iterdir())))
    # Reading every image to tell whether one has changed would take as long as packing them; names, sizes and dates do.
    listing = hashlib.sha256(os.fsencode(path.resolve()))
    for name, size, changed in images:
        denied = "" if os.access(path / name, os.R_OK) else "\0denied"  # which a new mode does not show in its date
        listing.update(os.fsencode(f"\0{name}\0{size}\0{changed}{denied}"))
    beside = {name: path / name for name in others if is_annotation(name)} | celeba.beside(path)
    identity = [part for name, file in beside.items() for part in (name, file)]
    return Source(
        str(path),
        ("folder", listing.hexdigest(), *identity),
        partial(_open_folder, path, [file.name for file in images], beside),
        left_out(others),
    )


def archive(path: Path) -> Source | None:
    """Source of the images in a .zip, which are read from it and never unpacked to disk."""
    if path.suffix.lower() != ".zip" or path.is_dir():
        return None
    beside = celeba.beside(path)
    identity = [part for name, file in beside.items() for part in (name, file)]
    return Source(str(path), ("zip", path, *identity), partial(_open_archive, path, beside))


def left_out(names: Iterable[str]) -> tuple[str, ...]:
    """Notes on files that are neither images that can be read nor say what these show: how many of which kind."""
    names = [name for name in names if not is_annotation(name)]
    kinds = Counter(PurePosixPath(name).suffix.lower() for name in names)
    notes = []
    for plugin in PLUGINS:
        count = sum(kinds.pop(suffix, 0) for suffix in plugin.suffixes)
        if count:
            notes.append(
                f"left out: {counted(count, f'{plugin.format} image')}, read after `pip install {plugin.package}`"
            )
    if kinds:
        listed = []
        for suffix, count in kinds.most_common(KINDS):
            example = next(name for name in names if PurePosixPath(name).suffix.lower() == suffix)
            listed.append(f"{count:,} {suffix or 'without a suffix'} (such as {example})")
        more = ", and other kinds" if len(kinds) > KINDS else ""
        notes.append(f"left out: {counted(kinds.total(), 'file')} of no known kind of image: {', '.join(listed)}{more}")
    return tuple(notes)


@contextmanager
def _open_folder(path: Path, names: Sequence[str], beside: Mapping[str, Path]) -> Iterator[Contents]:
    annotations = annotate(names, {name: partial(read_file, file) for name, file in beside.items()}, str(path))
    yield Contents(names=names, read=lambda index: read_file(path / names[index]), **vars(annotations))


@contextmanager
def _open_archive(path: Path, beside: Mapping[str, Path]) -> Iterator[Contents]:
    with source_errors(path):
        opened = zipfile.ZipFile(path)
    with opened:
        files = [(plain_name(info.filename), info) for info in opened.infolist() if not info.filename.endswith("/")]
        files = [(name, info) for name, info in files if not is_hidden(name)]
        with source_errors(path):
            images = [each for each in files if is_image(each[0]) or _entry_looks_like_image(opened, *each)]
        images.sort(key=lambda image: (image[0], image[1].header_offset))
        offsets = {info.header_offset for _, info in images}
        others = {name: info for name, info in files if info.header_offset not in offsets}
        if not images:
            raise UsageError(_no_images(path, others, empty=not opened.infolist()))
        names = [name for name, _ in images]
        inside = {name: partial(_unpacked, opened, info) for name, info in others.items() if is_annotation(name)}
        outside = {name: partial(read_file, file) for name, file in beside.items()}
        annotations = annotate(names, {**inside, **outside}, str(path))
        notes = (*left_out(others), *annotations.notes)
        facts = {**vars(annotations), "notes": notes}
        yield Contents(names=names, read=lambda index: _unpacked(opened, images[index][1]), **facts)


def _looks_like_image(path: Path) -> bool:
    if path.suffix:
        return False
    try:
        with path.open("rb") as file:
            return looks_like_image(file.read(HEAD))
    except OSError:
        return False


def _entry_looks_like_image(opened: zipfile.ZipFile, name: str, entry: zipfile.ZipInfo) -> bool:
    if PurePosixPath(name).suffix or entry.flag_bits & 1 or entry.compress_type not in METHODS:
        return False
    try:
        with opened.open(entry) as file:
            return looks_like_image(file.read(HEAD))
    except ARCHIVE_DAMAGE:
        return False


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


def _walk(root: Path) -> Iterator[File]:
    """All files below `root` that are not hidden, and links to nowhere; each folder is entered once, but none of a run.

    A run that trains on the folder in which it lies would find other images there with every sample that it draws.
    """
    visited: set[tuple[int, int]] = set()  # by device and inode, since links can lead in circles
    pending = [""]
    while pending:
        prefix = pending.pop()
        here = (root / prefix).stat()
        if (here.st_dev, here.st_ino) in visited:
            continue
        visited.add((here.st_dev, here.st_ino))
        with os.scandir(root / prefix) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
            names = {entry.name for entry in entries}
            if prefix and OF_A_RUN[0] in names and not names.isdisjoint(OF_A_RUN[1:]):
                continue
            for entry in entries:
                name, stat = prefix + entry.name, _stat(entry)
                if is_hidden(entry.name):
                    continue
                if S_ISDIR(stat.st_mode):
                    pending.append(f"{name}/")
                elif S_ISREG(stat.st_mode) or S_ISLNK(stat.st_mode):
                    yield File(name, stat.st_size, stat.st_mtime_ns)


def _stat(entry: "os.DirEntry[str]") -> os.stat_result:
    """Status of what an entry leads to; of a link to nowhere or to itself its own, so that it is skipped in words."""
    try:
        return entry.stat()
    except OSError:
        return entry.stat(follow_symlinks=False)


def _no_images(path: Path, others: Iterable[str], *, empty: bool) -> str:
    notes = left_out(others)
    what = "is empty" if empty else f"holds no images{' (' if notes else ''}{'; '.join(notes)}{')' if notes else ''}"
    return f"{path} {what}: give it files that end in .png, .jpg, .webp, .gif, .bmp, .tif or the like"


def read_image(path: Path, framing: Framing) -> Pixels:
    """Image of a file as uint8 (C, H, W).

    Raises:
        UsageError: the file is missing, no image, or damaged.
    """
    with source_errors(path):
        stored = read_file(path)
    try:
        with quiet_pillow():
            return prepare(lambda: stored, framing).pixels
    except UnreadableError as error:
        raise UsageError(f"cannot read {path}: {error}; give another image") from error
