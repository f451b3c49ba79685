"""Sources of images. For another kind of data, write its function and list it in SOURCES or NAMED_SOURCES.

Such a function gets a path or a name and returns a `Source`, or None where that is not of its kind; the first that
returns one is taken, so the order matters: a folder of CIFAR's batches is not a folder of images.
"""

import difflib
import os
from contextlib import suppress
from pathlib import Path

from equipoise.data.formats import is_image
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
from equipoise.data.toys import NO_IMAGES, TOYS
from equipoise.errors import UsageError, quoted
from equipoise.reading import check_name, expand_home

NAMED_SOURCES = (bundled, faces, hub, shards, split_of_folder)
SOURCES = (archive, array, parquet, shards, cifar, idx, folder)

__all__ = ["BUNDLED", "NAMED_SOURCES", "SOURCES", "Contents", "Source", "border_of", "find_source"]


def border_of(data: str) -> str | None:
    """The plain colour around the images of a data set; None where it has none, or is not there any more.

    Only those kinds are asked that have one: neither is a folder listed for it, nor a server asked.
    """
    with suppress(UsageError), source_errors(Path(data)):
        source, path = bundled(data), expand_home(data)
        if source is None and (path.is_file() or path.is_dir()):  # a pipe or device would block
            source = idx(path)
        return source.border if source else None
    return None


def find_source(data: str | os.PathLike[str]) -> Source:
    """Source of data by its name, or else by its path; ./digits is a folder that is named like bundled data.

    Raises:
        UsageError: there is no such thing, it may not be read, or it is of no kind in SOURCES.
    """
    check_name(data)
    if data in TOYS:
        raise UsageError(NO_IMAGES.format(data))
    if isinstance(data, str):
        for named_source in NAMED_SOURCES:
            if (source := named_source(data)) is not None:
                return source
    bundled_names = "the bundled " + " or ".join(repr(name) for name in BUNDLED)
    with source_errors(Path(data)):
        path = expand_home(data)
        if not str(data) or not path.exists():
            near = difflib.get_close_matches(str(data).lower(), (*BUNDLED, FACES, *TOYS), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"check the path, or take {bundled_names}"
            raise UsageError(f"there is no file, folder or bundled data named {quoted(str(data))}: {hint}")
        if path.is_file():
            path.open("rb").close()  # a file that may not be read is refused here, before its kind is looked for
        for path_source in SOURCES if path.is_file() or path.is_dir() else ():  # a pipe or device would block
            if (source := path_source(path)) is not None:
                return source
    if is_image(path.name):
        raise UsageError(f"{path} is a single image: give the folder that holds it and others")
    raise UsageError(
        f"{path} is of no known kind: give a folder of images, a .zip of them, an .npz or .npy array, "
        f"an IDX file, batches of CIFAR, Parquet or Arrow files, .tar shards, or {bundled_names}"
    )
