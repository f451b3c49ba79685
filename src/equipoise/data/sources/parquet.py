"""Parquet and Arrow files, as the datasets library and others write them: one file, or a folder of the parts of a set.

Splits are read from the names: `data/train-00000-of-00004.parquet`, `test/data-00000-of-00001.arrow`. Where there are
training images these are taken; `folder#test` takes another split.
"""

import hashlib
import os
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import accumulate, chain, repeat
from pathlib import Path, PurePosixPath
from typing import NoReturn

from equipoise.data.digests import Stored
from equipoise.data.formats import is_image
from equipoise.data.sources.base import Contents, Source, source_errors
from equipoise.data.sources.columns import annotate, holds_names, image_column, opener
from equipoise.data.sources.extras import extra
from equipoise.data.sources.splits import SPLITS, TRAIN
from equipoise.data.sources.tables import ARROW, PARQUET, open_tables, read_schema
from equipoise.errors import UsageError, quoted
from equipoise.reading import expand_home

SHARD = re.compile(r"[-_.]?\d+(-of-\d+)?(-[0-9a-f]{16})?$")  # which part of a split a file is
PLAIN = ("", "data", "dataset", "part", "shard")  # file names that name no split


def parquet(path: Path) -> Source | None:
    """Source of a Parquet or Arrow file, or of a folder of such files: of its training images, if it has splits.

    Raises:
        UsageError: the folder has splits or sets of which one must be chosen, or the extra is missing.
    """
    if path.is_dir():
        return _folder(path, None, str(path))
    return source_of([path], path.parent, str(path)) if is_table(path.name) else None


def split_of_folder(name: str) -> Source | None:
    """Source of the split of a folder that is named behind a #, as in `photos#test`.

    Raises:
        UsageError: the folder has no such split.
    """
    folder, mark, split = name.rpartition("#")
    if not (mark and folder) or expand_home(name).exists() or not expand_home(folder).is_dir():
        return None
    source = _folder(expand_home(folder), split, name)
    if source is None:
        raise UsageError(
            f"{folder} holds no Parquet or Arrow files, so there is no split to choose: leave out #{split}"
        )
    return source


def is_table(name: str) -> bool:
    """Whether a file's name is that of images in Parquet or Arrow, rather than of notes about them."""
    path = PurePosixPath(name)
    notes = path.name.startswith((".", "cache-")) or path.stem == "metadata"  # as the datasets library leaves them
    return path.suffix.lower() in (*PARQUET, *ARROW) and not notes


def choose(names: Sequence[str], split: str | None, data: str) -> list[str]:
    """Files of a split, or of the training images, or all where there are no splits; Parquet rather than Arrow.

    Raises:
        UsageError: there is no such split, or it is not clear which files are wanted.
    """
    tables = [name for name in sorted(names) if is_table(name)]
    parquets = [name for name in tables if PurePosixPath(name).suffix.lower() in PARQUET]
    splits: dict[str, list[str]] = {}
    for name in parquets or tables:
        splits.setdefault(split_of(name), []).append(name)
    chosen = TRAIN if split is None else SPLITS.get(split.lower(), split)
    if chosen in splits:
        return _one_set(splits[chosen], data)
    known = [name for name in splits if name in SPLITS.values()]
    if split is None and (not known or len(splits) == 1):
        return parquets or tables
    listed = ", ".join(sorted(splits)) or "none"
    missing = "no training images" if split is None else f"no split {quoted(split)}"
    raise UsageError(f"{data} has {missing}, but the splits {listed}: choose one by writing #name behind it")


def split_of(name: str) -> str:
    """Name the split that a file is part of, by its own name or, where that is plain, by its folder's."""
    path = PurePosixPath(name)
    for part in (path.stem, *reversed(path.parent.parts)):
        plain = SHARD.sub("", part)
        for word in re.split(r"[-_. ]", plain):
            if word.lower() in SPLITS:
                return SPLITS[word.lower()]
        if plain not in PLAIN:
            return plain
    return ""


def source_of(paths: Sequence[Path], root: Path, name: str) -> Source:
    """Source of files below `root`, identified by their content and by what is known of the image files that they name.

    Raises:
        UsageError: the extra is missing, or a file is damaged or has no images.
    """
    with extra("hub", name):
        import pyarrow.parquet  # noqa: F401
    content = [part for path in paths for part in (path.name, path)]
    return Source(name, ("table", *content, *_named_files(paths, name)), partial(open_files, paths, root, name))


def _named_files(paths: Sequence[Path], name: str) -> tuple[str, ...]:
    """Digest of names, sizes and dates of the image files that the rows name, where the first holds no image itself."""
    schema = read_schema(paths[0])
    column = image_column(schema, name)
    if not holds_names(schema.field(column).type):
        return ()
    tables = open_tables(paths)
    with source_errors(paths[0]):
        first = tables.column(column)(0).as_py() if sum(tables.counts) else None
    if not isinstance(first, dict) or first["bytes"] is not None:
        return ()
    listing, folders = hashlib.sha256(), chain.from_iterable(map(repeat, (p.parent for p in paths), tables.counts))
    for folder, value in zip(folders, tables.whole(column).to_pylist(), strict=True):
        named = str((value or {}).get("path"))
        with suppress(OSError, ValueError):  # what is not there is told where it is read
            stat = (folder / named).stat()
            listing.update(f"\0{named}\0{stat.st_size}\0{stat.st_mtime_ns}".encode())
    return (listing.hexdigest(),)


@contextmanager
def open_files(paths: Sequence[Path], root: Path, name: str) -> Iterator[Contents]:
    """Images and labels in the rows of Parquet or Arrow files, one file after the other.

    Raises:
        UsageError: a file is damaged, has no images, or has other columns than the first.
    """
    tables = open_tables(paths)
    column = image_column(tables.schemas[0], name)
    type_ = tables.schemas[0].field(column).type
    for path, schema in zip(paths, tables.schemas, strict=True):
        if schema.names.count(column) != 1 or schema.field(column).type != type_:
            raise UsageError(f"{path} has not the same column {column!r} as {paths[0]}: give one set of data at a time")
    if not sum(tables.counts):
        raise UsageError(f"{name} has no rows: write it again")
    annotations = annotate(tables.schemas[0], tables.whole, name, images=column)
    starts = list(accumulate(tables.counts, initial=0))
    value, stored = tables.column(column), opener(type_, root)

    def read(row: int) -> Stored:
        return stored(value(row), paths[bisect_right(starts, row) - 1].parent)

    yield Contents(names=[f"row {row}" for row in range(starts[-1])], read=read, **vars(annotations))


def _folder(path: Path, split: str | None, name: str) -> Source | None:
    names, images = [], False
    with source_errors(path):
        for here, folders, files in os.walk(path, onerror=_raise):
            folders[:] = [folder for folder in folders if not folder.startswith(".")]  # in place: os.walk enters these
            images = images or any(map(is_image, files))
            names += [
                Path(here, file).relative_to(path).as_posix()
                for file in files
                if is_table(file) and Path(here, file).is_file()
            ]
    if not names:
        return None
    if images and split is None and _is_about_images(path / names[0]):
        return None
    return source_of([path / chosen for chosen in choose(names, split, name)], path, name)


def _is_about_images(file: Path) -> bool:
    """Whether a table only tells of images that lie beside it, as img2dataset leaves one beside each folder."""
    try:
        schema = open_tables([file]).schemas[0]
    except ImportError:  # `source_of` says what to install
        return False
    try:
        image_column(schema, str(file))
    except UsageError:
        return True
    return False


def _raise(error: OSError) -> NoReturn:
    """So that a folder which may not be read is told, where os.walk passes over it."""
    raise error


def _one_set(names: list[str], data: str) -> list[str]:
    """The files of one split, if they lie together rather than in folders of different sets."""
    folders = {str(_set_of(name)) for name in names}
    if len(folders) > 1 and "default" not in folders:
        listed = ", ".join(sorted(folders))
        raise UsageError(f"{data} holds several sets, in {listed}: give one of these folders, as {data}/{min(folders)}")
    return names if len(folders) == 1 else [name for name in names if str(_set_of(name)) == "default"]


def _set_of(name: str) -> PurePosixPath:
    folder = PurePosixPath(name).parent
    return folder.parent if SHARD.sub("", PurePosixPath(name).stem) in PLAIN and folder.parts else folder
