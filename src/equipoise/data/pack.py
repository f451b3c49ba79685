"""Any data, packed once to a memory-mapped array at the run's resolution, and opened at once ever after."""

import hashlib
import json
import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np

from equipoise.data.cache import appearing, cache_folder, digest, locked, require_room, sweep, writing
from equipoise.data.decode import Fit, Framing, frame
from equipoise.data.images import ABOUT, IMAGES, LABELS, Images, read_images
from equipoise.data.sizes import Size, summarise
from equipoise.data.sources import Contents, Source, find_source
from equipoise.data.sources.base import reading
from equipoise.data.workers import Outcome, Progress, prepare_all
from equipoise.data.writer import Writer
from equipoise.errors import UsageError

FORMAT = 1  # raise it when the same data would be packed differently
NAMED = 3  # images named in a message


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
    with suppress(OSError, ValueError, KeyError):
        return read_images(packs / key)
    with writing(folder):
        packs.mkdir(parents=True, exist_ok=True)
        sweep(packs)
        with locked(packs / f"{key}.lock"):
            with suppress(OSError, ValueError, KeyError):  # another process was faster
                return read_images(packs / key)
            with appearing(packs / key) as partial, source.contents() as contents:
                _pack(source, contents, framing, partial, progress)
            return read_images(packs / key)


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
    count = len(contents.names)
    require_room(folder, count * (framing.channels or 1) * framing.height * framing.width)
    sizes: Counter[Size] = Counter()
    kept: list[int] = []
    skipped: list[tuple[str, str]] = []

    def take(index: int, outcome: Outcome) -> None:
        if isinstance(outcome, str):
            skipped.append((printable(contents.names[index]), outcome))
            return
        writer.append(outcome.pixels)
        sizes[outcome.size] += 1
        kept.append(index)

    with Writer(folder / IMAGES, framing.height, framing.width, framing.channels) as writer:
        prepare_all(contents, framing, take, progress)
        fingerprint = writer.finish()
    if not kept:
        raise UsageError(none_readable(source.name, skipped))
    if contents.labels is not None:
        labels = contents.labels[kept]
        np.save(folder / LABELS, labels)
        fingerprint = hashlib.sha256(fingerprint.encode() + labels.astype("<i8").tobytes()).hexdigest()
    summary = summarise(sizes)
    about = {
        "format": FORMAT,
        "source": printable(source.name),
        "framing": repr(framing),
        "shape": writer.shape,
        "fingerprint": fingerprint,
        "sizes": {"smallest": summary.smallest, "median": summary.median, "largest": summary.largest},
        "labelled": contents.labels is not None,
        "classes": contents.classes,
        "skipped": skipped,
    }
    (folder / ABOUT).write_text(json.dumps(about, indent=1))


def printable(name: str) -> str:
    """Escape what a terminal would not show as it is."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def none_readable(name: str, skipped: list[tuple[str, str]]) -> str:
    """Say that not one image of a source could be read, and why."""
    reasons = ", ".join(f"{image} ({reason})" for image, reason in skipped[:NAMED])
    more = f" and {len(skipped) - NAMED} more" if len(skipped) > NAMED else ""
    return f"none of the {len(skipped)} images in {name} can be read: {reasons}{more}; write or download them again"
