"""Any data, packed once into an array at the run's resolution, and opened from there ever after."""

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
    atomic_file,
    atomic_folder,
    cache_errors,
    cache_folder,
    file_digest,
    locked,
    remove_abandoned,
    remove_leftovers,
    require_room,
)
from equipoise.data.formats import installed_plugins
from equipoise.data.framing import Fit, parse_framing
from equipoise.data.packed.images import ABOUT, DIGESTS, HELD_OUT, IMAGES, LABELS, Images, read_images
from equipoise.data.packed.workers import ProgressCallback, ReadReport, common_size, prepare_all
from equipoise.data.packed.writer import Writer
from equipoise.data.sizes import summarise
from equipoise.data.sources import find_source
from equipoise.data.sources.base import Annotations, Source, source_errors
from equipoise.data.sources.labels import open_labelled
from equipoise.errors import UsageError, printable
from equipoise.reading import expand_home

FORMAT = 5  # part of every key: raise it when the same data would be packed differently


def open_images(
    data: str | os.PathLike[str],
    resolution: int | str | None,
    *,
    channels: int | None = None,
    fit: Fit = "crop",
    background: str = "white",
    crop: int | None = None,
    border: str | None = None,
    label: str | None = None,
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
        crop: side in pixels of the centred square that is taken of each image before it is resized; smaller images
            are skipped.
        border: the plain colour around the images, with which those that are a little too small are padded; by default
            that of the data, where it has one.
        label: name of the column of labels, where the data has several; by default its usual one.
        cache: where packed data goes; see `cache_folder`.
        progress: called with the images done and their total while packing.

    Raises:
        UsageError: the data cannot be used, an option is not one of those offered, or the cache cannot be written.
    """
    source, folder = find_source(data), cache_folder(cache)
    files = {part: _stamp(part) for part in source.identity if isinstance(part, Path)}
    side = crop or 1 if resolution is None else resolution
    framing = parse_framing(side, channels, fit, background, crop, border or source.border)

    def fill(partial: Path) -> None:
        with open_labelled(source, label) as contents:
            frame = framing
            if resolution is None and crop is None:  # else all squares to crop have one size
                width, height = common_size(contents, source.name)
                frame = replace(framing, width=width, height=height)
            require_room(folder, len(contents.names) * (frame.channels or 1) * frame.height * frame.width)
            with Writer(partial / IMAGES, frame.height, frame.width, frame.channels) as writer:
                report = prepare_all(contents, frame, writer.append, progress)
                finish_pack(writer, report, contents, source=source.name, framing=repr(frame))
        if changed := next((file for file, before in files.items() if _stamp(file) != before), None):
            raise UsageError(f"{changed} has changed while it was packed: wait until it is whole, and try again")

    options = [repr(framing), *(["as they are"] if resolution is None else [])]
    options += [] if label is None else [f"labels {label}"]
    images = open_or_pack(folder, _key(source, options, folder), fill)
    return replace(images, notes=[printable(note) for note in (*source.notes, *images.notes)])


def _key(source: Source, options: list[str], folder: Path) -> str:
    """What would be packed of a source: the same for the same content and options, and for nothing else.

    Args:
        source: of the images.
        options: which decide on what is packed.
        folder: the cache, where digests of large files are noted.

    Raises:
        UsageError: a file of the source cannot be read.
    """
    parts = [str(FORMAT), *options]
    parts += [plugin.format for plugin in installed_plugins()]  # with them, more images can be read
    for part in source.identity:
        if isinstance(part, Path):
            with source_errors(part):
                parts.append(file_digest(part, folder / "digests"))
        else:
            parts.append(part)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _stamp(file: Path) -> tuple[int, int, int] | None:
    """What changes with a file's content, as far as that can be told without reading; None if it is not there."""
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def open_or_pack(folder: Path, key: str, fill: Callable[[Path], None]) -> Images:
    """Open the images packed under `key` in the cache `folder`; if there are none, have `fill` pack them.

    Args:
        folder: the cache.
        key: a name for what is packed, which is another for other images.
        fill: writes the images into a new, empty folder.

    Raises:
        UsageError: the cache cannot be written.
    """
    packs = folder / "images"
    packed = _read_if_whole(packs / key)
    if packed is not None:
        return packed
    with cache_errors(folder):
        packs.mkdir(parents=True, exist_ok=True)
        remove_abandoned(packs)  # to make room
        with locked(packs / f"{key}.lock"):
            if _read_if_whole(packs / key) is None:  # else another process was faster
                with atomic_folder(packs / key) as partial:
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
    crop: int | None = None,
    label: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    progress: ProgressCallback | None = None,
) -> Images:
    """Pack `data` into the cache, as `open_images` does, and also into the file `out` if one is named.

    An .npy takes the images (N, C, H, W); an .npz takes them as `images`, and if there are any the labels as `labels`
    and the data's own partition as `held_out`. Either
    is data for `open_images` again, appears whole or not at all, and never replaces a file.

    Raises:
        UsageError: as `open_images`; or `out` is of another kind, is there already, or cannot be written.
    """
    path = None if out is None else expand_home(out)
    if path is not None and path.suffix.lower() not in (".npy", ".npz"):
        raise UsageError(f"packed images are written as .npy, or with their labels as .npz, not as {path.name}")
    if path is not None and path.exists():
        raise UsageError(f"{path} is there already: remove it, or choose another name")
    images = open_images(
        data,
        resolution,
        channels=channels,
        fit=fit,
        background=background,
        crop=crop,
        label=label,
        cache=cache,
        progress=progress,
    )
    if path is None:
        return images
    if (width := images.shape[-1]) in (1, 3, 4):
        raise UsageError(
            f"an array of images {width} wide would be read as one of channels: choose another --resolution"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, path.name)
        with atomic_file(path) as partial:
            if path.suffix.lower() == ".npy":
                shutil.copyfile(images.path, partial)
            else:  # an .npz is a .zip of .npy files
                with zipfile.ZipFile(partial, "w") as archive:
                    archive.write(images.path, "images.npy")
                    for name, known in ((LABELS, images.labels), (HELD_OUT, images.partition)):
                        if known is not None:
                            archive.write(images.path.with_name(name), name)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}; choose another place") from error
    return images


def _read_if_whole(folder: Path) -> Images | None:
    with suppress(OSError, ValueError, UsageError):
        return read_images(folder)
    return None


def finish_pack(writer: Writer, report: ReadReport, known: Annotations, **facts: str) -> None:
    """Write what belongs beside the images: digests, what is known of those that could be read, and about.json."""
    report.require_any(facts["source"])
    folder, fingerprint, readable = writer.path.parent, writer.finish(), np.array(report.readable, np.int64)
    np.save(folder / DIGESTS, np.array(report.digests, np.uint64))
    if known.labels is not None:
        labels = known.labels[readable]
        np.save(folder / LABELS, labels)
        fingerprint = hashlib.sha256(fingerprint.encode() + labels.astype("<i8").tobytes()).hexdigest()
    if known.held_out is not None:
        np.save(folder / HELD_OUT, known.held_out[readable])
    sizes = summarise(report.sizes)
    about = {
        "format": FORMAT,
        **{key: printable(fact) for key, fact in facts.items()},
        "shape": writer.shape,
        "fingerprint": fingerprint,
        "sizes": {"smallest": sizes.smallest, "median": sizes.median, "largest": sizes.largest},
        "labelled": known.labels is not None,
        "classes": None if known.classes is None else [printable(name) for name in known.classes],
        "partitioned": known.held_out is not None,
        "skipped": [(printable(name), printable(why)) for name, why in report.skipped],
        "notes": [printable(note) for note in (*known.notes, *report.notes)],
    }
    (folder / ABOUT).write_text(json.dumps(about, indent=1))
