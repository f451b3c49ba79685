"""Where images come from. To take another kind of data, write its function and name it in SOURCES or NAMED."""

import difflib
import os
from pathlib import Path

from equipoise.data.shards.source import shards
from equipoise.data.sources.arrays import array
from equipoise.data.sources.base import Contents, Source, source_errors
from equipoise.data.sources.bundled import BUNDLED, bundled
from equipoise.data.sources.cifar import cifar
from equipoise.data.sources.faces import FACES, faces
from equipoise.data.sources.files import archive, folder
from equipoise.data.sources.hub import hub
from equipoise.data.sources.idx import idx
from equipoise.data.sources.parquet import parquet, split_of_folder
from equipoise.data.toys import TOYS
from equipoise.errors import UsageError

NAMED = (bundled, faces, hub, shards, split_of_folder)  # each gives a Source, or None where a name is not of its kind
SOURCES = (archive, array, parquet, shards, cifar, idx, folder)  # the same for a path

__all__ = ["BUNDLED", "SOURCES", "Contents", "Source", "find_source"]


def find_source(data: str | os.PathLike[str]) -> Source:
    """Find data by its name, or else a file or folder by path; write ./digits for a folder named like the former.

    Raises:
        UsageError: there is no such thing, it may not be read, or it is of no kind in SOURCES.
    """
    if isinstance(data, str):
        for named in NAMED:
            if (found := named(data)) is not None:
                return found
    with source_errors(Path(data)):
        path = Path(data).expanduser()
        if not str(data) or not path.exists():
            raise UsageError(_nothing_there(str(data)))
        if path.is_file():
            path.open("rb").close()
        for source in SOURCES if path.is_file() or path.is_dir() else ():
            found = source(path)
            if found is not None:
                return found
    raise UsageError(
        f"{path} is of no known kind: give a folder of images, a .zip of them, an .npz or .npy array, "
        f"an IDX file, batches of CIFAR, Parquet or Arrow files, .tar shards, or {_bundled()}"
    )


def _nothing_there(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), (*BUNDLED, FACES, *TOYS), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"check the path, or take {_bundled()}"
    return f"there is no file, folder or bundled data named {name!r}: {hint}"


def _bundled() -> str:
    return "the bundled " + " or ".join(repr(name) for name in BUNDLED)
