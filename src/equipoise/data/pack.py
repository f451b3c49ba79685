"""Any data, packed once to a memory-mapped array at the run's resolution, and opened at once ever after."""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

import numpy as np

from equipoise.data.cache import appearing, cache_folder, digest, locked, require_room, sweep, writing
from equipoise.data.decode import Fit, Framing, frame
from equipoise.data.images import ABOUT, IMAGES, LABELS, Images, read_images
from equipoise.data.sizes import summarise
from equipoise.data.sources import Contents, Source, find_source
from equipoise.data.sources.base import reading
from equipoise.data.workers import Progress, prepare_all
from equipoise.data.writer import Writer

FORMAT = 1  # raise it when the same data would be packed differently


def open_images(
    data: str | os.PathLike[str],
    resolution: int,
    *,
    channels: int | None = None,
    fit: Fit = "crop",
    background: str = "white",
    cache: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Images:
    """Open the images of `data` as a packed array uint8 (N, C, resolution, resolution), packing them if need be.

    Args:
        data: the name of bundled data, or a path to anything that `equipoise.data.sources` knows.
        resolution: side of the images in pixels.
        channels: 1 or 3, or None for 1 if no image has colour, else 3.
        fit: crop the centre, pad to a square, or stretch to one.
        background: the colour behind transparent pixels and around padded images.
        cache: where packed data goes; see `cache_folder`.
        progress: called with the images done and their total while packing.

    Raises:
        UsageError: the data cannot be used, an option is not one of those offered, or the cache cannot be written.
    """
    framing = frame(resolution, channels, fit, background)
    source = find_source(data)
    folder = cache_folder(cache)
    packs, key = folder / "images", _key(source, framing, folder)
    packed = _packed(packs / key)
    if packed is not None:
        return packed
    with writing(folder):
        packs.mkdir(parents=True, exist_ok=True)
        sweep(packs)  # to make room
        with locked(packs / f"{key}.lock"):
            if _packed(packs / key) is None:  # else another process was faster
                with appearing(packs / key) as partial, source.contents() as contents:
                    _pack(source, contents, framing, partial, progress)
        sweep(packs)  # what died while this process waited for the lock
        return read_images(packs / key)


def _packed(folder: Path) -> Images | None:
    """Open `folder` if it is there and whole."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return read_images(folder)
    return None


def _key(source: Source, framing: Framing, folder: Path) -> str:
    """Name what would be packed: the same for the same content and options, and for nothing else."""
    parts = [str(FORMAT), repr(framing)]
    for part in source.identity:
        if isinstance(part, Path):
            with reading(part):
                parts.append(digest(part, folder / "digests"))
        else:
            parts.append(part)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _pack(source: Source, contents: Contents, framing: Framing, folder: Path, progress: Progress | None) -> None:
    """Fill `folder` with the images, their labels and a note."""
    require_room(folder, len(contents.names) * (framing.channels or 1) * framing.height * framing.width)
    with Writer(folder / IMAGES, framing.height, framing.width, framing.channels) as writer:
        tally = prepare_all(contents, framing, writer.append, progress)
        fingerprint = writer.finish()
    tally.require_any(source.name)
    if contents.labels is not None:
        labels = contents.labels[tally.kept]
        np.save(folder / LABELS, labels)
        fingerprint = hashlib.sha256(fingerprint.encode() + labels.astype("<i8").tobytes()).hexdigest()
    sizes = summarise(tally.sizes)
    about = {
        "format": FORMAT,
        "source": source.name,
        "framing": repr(framing),
        "shape": writer.shape,
        "fingerprint": fingerprint,
        "sizes": {"smallest": sizes.smallest, "median": sizes.median, "largest": sizes.largest},
        "labelled": contents.labels is not None,
        "classes": contents.classes,
        "skipped": tally.skipped,
    }
    (folder / ABOUT).write_text(json.dumps(about, indent=1))
