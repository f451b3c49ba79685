"""Any data, packed once to an array at the run's resolution, and opened at once ever after."""

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from equipoise.data.cache import (
    appearing,
    appearing_file,
    cache_folder,
    digest,
    locked,
    require_room,
    remove_abandoned,
    writing,
)
from equipoise.data.decode import Fit, Framing, frame
from equipoise.data.packed.images import ABOUT, DIGESTS, IMAGES, LABELS, Images, read_images
from equipoise.data.packed.workers import ProgressCallback, Tally, only_size, prepare_all
from equipoise.data.packed.writer import Writer
from equipoise.data.sizes import summarise
from equipoise.data.sources import Contents, Source, find_source
from equipoise.data.sources.base import Labels, reading
from equipoise.errors import UsageError

FORMAT = 3  # raise it when the same data would be packed differently


def open_images(
    data: str | os.PathLike[str],
    resolution: int | str | None,
    *,
    channels: int | None = None,
    fit: Fit = "crop",
    background: str = "white",
    cache: str | os.PathLike[str] | None = None,
    progress: ProgressCallback | None = None,
) -> Images:
    """Open the images of `data` as a packed array uint8 (N, C, H, W), packing them if need be.

    Args:
        data: the name of bundled data, or a path to anything that `equipoise.data.sources` knows.
        resolution: side of the images in pixels, or width and height such as "64x48", or None for the one size
            that all of them have.
        channels: 1 or 3, or None for 1 if no image has colour, else 3.
        fit: crop the centre, pad to the whole frame, or stretch to it.
        background: the colour behind transparent pixels and around padded images.
        cache: where packed data goes; see `cache_folder`.
        progress: called with the images done and their total while packing.

    Raises:
        UsageError: the data cannot be used, an option is not one of those offered, or the cache cannot be written.
    """
    framing = frame(1 if resolution is None else resolution, channels, fit, background)
    source, folder = find_source(data), cache_folder(cache)

    def fill(partial: Path) -> None:
        with source.contents() as contents:
            fitting = framing
            if resolution is None:
                width, height = only_size(contents, source.name)
                fitting = replace(framing, width=width, height=height)
            _pack(source, contents, fitting, partial, progress)

    return packed_once(folder, _key(source, framing, resolution is None, folder), fill)


def packed_once(folder: Path, key: str, fill: Callable[[Path], None]) -> Images:
    """Open what is packed under `key` in the cache `folder`; if nothing is, let `fill` pack it into a new folder.

    Raises:
        UsageError: the cache cannot be written.
    """
    packs = folder / "images"
    packed = _packed(packs / key)
    if packed is not None:
        return packed
    with writing(folder):
        packs.mkdir(parents=True, exist_ok=True)
        remove_abandoned(packs)  # to make room
        with locked(packs / f"{key}.lock"):
            if _packed(packs / key) is None:  # else another process was faster
                with appearing(packs / key) as partial:
                    fill(partial)
        remove_abandoned(packs)  # what died while this process waited for the lock
        return read_images(packs / key)


def pack(
    data: str | os.PathLike[str],
    resolution: int | str | None,
    out: str | os.PathLike[str] | None = None,
    *,
    channels: int | None = None,
    fit: Fit = "crop",
    background: str = "white",
    cache: str | os.PathLike[str] | None = None,
    progress: ProgressCallback | None = None,
) -> Images:
    """Pack `data` into the cache, as `open_images` does, and also into the file `out` if one is named.

    An .npy takes the images (N, C, H, W); an .npz takes them as `images`, and the labels, if any, as `labels`. Either
    is data for `open_images` again, appears whole or not at all, and never replaces a file.

    Raises:
        UsageError: as `open_images`; or `out` is of another kind, is there already, or cannot be written.
    """
    path = None if out is None else Path(out).expanduser()
    if path is not None and path.suffix.lower() not in (".npy", ".npz"):
        raise UsageError(f"packed images are written as .npy, or with their labels as .npz, not as {path.name}")
    if path is not None and path.exists():
        raise UsageError(f"{path} is there already: remove it, or choose another name")
    images = open_images(
        data, resolution, channels=channels, fit=fit, background=background, cache=cache, progress=progress
    )
    if path is not None:
        _save(images, path)
    return images


def _save(images: Images, path: Path) -> None:
    """Copy what was packed to a file of its own."""
    try:
        with appearing_file(path) as partial:
            if path.suffix.lower() == ".npy":
                shutil.copyfile(images.path, partial)
            else:
                with zipfile.ZipFile(partial, "w") as archive:
                    archive.write(images.path, "images.npy")
                    if images.labels is not None:
                        archive.write(images.path.with_name(LABELS), "labels.npy")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}; choose another place") from error


def _packed(folder: Path) -> Images | None:
    """Open `folder` if it is there and whole."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return read_images(folder)
    return None


def _key(source: Source, framing: Framing, as_they_are: bool, folder: Path) -> str:
    """Name what would be packed: the same for the same content and options, and for nothing else."""
    parts = [str(FORMAT), repr(framing), *(["as they are"] if as_they_are else [])]
    for part in source.identity:
        if isinstance(part, Path):
            with reading(part):
                parts.append(digest(part, folder / "digests"))
        else:
            parts.append(part)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _pack(
    source: Source, contents: Contents, framing: Framing, folder: Path, progress: ProgressCallback | None
) -> None:
    """Fill `folder` with the images, their labels and a note."""
    require_room(folder, len(contents.names) * (framing.channels or 1) * framing.height * framing.width)
    with Writer(folder / IMAGES, framing.height, framing.width, framing.channels) as writer:
        tally = prepare_all(contents, framing, writer.append, progress)
        labels = None if contents.labels is None else contents.labels[np.array(tally.kept, np.int64)]
        finish(writer, tally, labels, contents.classes, source=source.name, framing=repr(framing))


def finish(writer: Writer, tally: Tally, labels: Labels | None, names: tuple[str, ...] | None, **facts: str) -> None:
    """Write what belongs beside the images: their digests, the labels (N,) and their names if any, and a note."""
    tally.require_any(facts["source"])
    folder, fingerprint = writer.path.parent, writer.finish()
    np.save(folder / DIGESTS, np.array(tally.digests, np.uint64))
    if labels is not None:
        np.save(folder / LABELS, labels)
        fingerprint = hashlib.sha256(fingerprint.encode() + labels.astype("<i8").tobytes()).hexdigest()
    sizes = summarise(tally.sizes)
    about = {
        "format": FORMAT,
        **facts,
        "shape": writer.shape,
        "fingerprint": fingerprint,
        "sizes": {"smallest": sizes.smallest, "median": sizes.median, "largest": sizes.largest},
        "labelled": labels is not None,
        "classes": names,
        "skipped": tally.skipped,
    }
    (folder / ABOUT).write_text(json.dumps(about, indent=1))
