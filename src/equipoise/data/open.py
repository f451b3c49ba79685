"""The images that train and those held out from it, whether they can be packed as a whole or come from shards."""

import hashlib
import os
from contextlib import closing
from pathlib import Path
from typing import Literal

import numpy as np

from equipoise.data.cache import cache_folder, require_room
from equipoise.data.decode import Fit
from equipoise.data.feed import Feed
from equipoise.data.packed.images import IMAGES, Images
from equipoise.data.packed.pack import FORMAT, finish, open_images, packed_once
from equipoise.data.packed.workers import ProgressCallback, Tally
from equipoise.data.packed.writer import Writer
from equipoise.data.shards import Stream, is_stream, open_stream
from equipoise.data.toys import TOYS
from equipoise.errors import UsageError

Part = Literal["train", "held-out", "all"]
MOST = 10_000  # images of shards that are packed to be compared with


def open_feed(
    data: str | os.PathLike[str],
    resolution: int | str,
    *,
    channels: int | None = None,
    fit: Fit = "crop",
    background: str = "white",
    held_out: float = 0.0,
    cache: str | os.PathLike[str] | None = None,
    progress: ProgressCallback | None = None,
) -> Feed:
    """Open what training draws from: shards as they come, toys as they are drawn, anything else packed first.

    Args:
        data: as in `open_images`, or shards as in `open_stream`, or the name of a toy.
        resolution: as in `open_images`, like what follows.
        channels: 1, 3 or None.
        fit: how images are brought into the frame.
        background: the colour behind and around them.
        held_out: the share of images that are left out, chosen by their content.
        cache: where packed data goes.
        progress: called while packing.

    Raises:
        UsageError: the data cannot be used, or all of it is held out.
    """
    if data in TOYS:
        return TOYS[os.fspath(data)]
    if is_stream(os.fspath(data)):
        return open_stream(
            os.fspath(data),
            resolution,
            channels=channels,
            fit=fit,
            background=background,
            held_out=held_out,
            cache=cache,
        )
    whole = open_images(
        data, resolution, channels=channels, fit=fit, background=background, cache=cache, progress=progress
    )
    kept = whole.split(held_out)[0]
    if not len(kept):
        raise UsageError(f"all {len(whole)} images of {data} are held out: lower --held-out, or bring more images")
    return kept


def open_part(
    data: str | os.PathLike[str],
    resolution: int | str,
    part: Part,
    *,
    channels: int | None = None,
    fit: Fit = "crop",
    background: str = "white",
    held_out: float = 0.0,
    most: int = MOST,
    cache: str | os.PathLike[str] | None = None,
    progress: ProgressCallback | None = None,
) -> Images:
    """Open a part of the data as packed images, which may be none, to compare with.

    Args:
        data: as in `open_feed`.
        resolution: as in `open_feed`.
        part: the images to train on, those held out, or all.
        channels: as in `open_feed`, like what follows.
        fit: how images are brought into the frame.
        background: the colour behind and around them.
        held_out: the share of images that do not train.
        most: of shards, no more images than these are packed, the first by an order of the shards that never changes.
        cache: where packed data goes.
        progress: called while packing.

    Raises:
        UsageError: the data cannot be used, or is a toy.
    """
    if data in TOYS:
        raise UsageError(f"{data} is a toy, of points and not of images: `equipoise train` and `evaluate` know it")
    share = 0.0 if part == "all" else held_out
    if is_stream(os.fspath(data)):
        none = part == "held-out" and share == 0
        stream = open_stream(
            os.fspath(data), resolution, channels=channels, fit=fit, background=background, held_out=share, cache=cache
        )
        images = _of_stream(stream, os.fspath(data), "train" if none else part, most, cache_folder(cache), progress)
        return images.split(0.0)[1] if none else images
    whole = open_images(
        data, resolution, channels=channels, fit=fit, background=background, cache=cache, progress=progress
    )
    return whole.split(share)[1 if part == "held-out" else 0]


def _of_stream(
    stream: Stream, name: str, part: Part, most: int, folder: Path, progress: ProgressCallback | None
) -> Images:
    """Pack the first images of a part of a stream."""
    versions = [shard.version for shard in stream.plan.shards]
    facts = (FORMAT, stream.fingerprint, versions, part, most)
    key = hashlib.sha256(repr(facts).encode("utf-8", "surrogateescape")).hexdigest()[:32]

    def fill(partial: Path) -> None:
        channels, height, width = stream.shape
        require_room(partial, most * channels * height * width)
        tally, labels = Tally(), []
        with (
            Writer(partial / IMAGES, height, width, channels) as writer,
            closing(stream.once(held_out=part == "held-out")) as found,
        ):
            for index, (sample, image) in enumerate(found):
                if isinstance(image, str):
                    tally.skip(stream.plan.name_of(sample), image)
                    continue
                writer.append(image.pixels)
                tally.keep(index, image)
                labels.append(sample.label or 0)
                if progress is not None:
                    progress(writer.count, most)
                if writer.count == most:
                    break
            if not labels and not tally.skipped:
                raise UsageError(f"none of the images of {name} is held out: raise --held-out, or bring more images")
            known = np.array(labels, np.int64) if stream.labelled else None
            finish(writer, tally, known, None, source=name, framing=repr(stream.plan.framing))

    return packed_once(folder, key, fill)
