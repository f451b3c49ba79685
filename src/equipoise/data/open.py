"""The images that train and those held out from it, whether they can be packed as a whole or come from shards."""

import hashlib
import os
from collections.abc import Mapping
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

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
MAX_OF_SHARDS = 10_000  # images of shards that are packed to be compared with


def open_dataset(
    data: str | os.PathLike[str],
    resolution: int | str,
    *,
    channels: int | None = None,
    fit: Fit = "crop",
    background: str = "white",
    held_out: float = 0.0,
    cache: str | os.PathLike[str] | None = None,
    progress: ProgressCallback | None = None,
) -> "Dataset":
    """Open data once, for all that is done with it: shards as they come, toys as they are drawn, all else packed.

    Nothing is read before the feed or a split is asked for.

    Args:
        data: as in `open_images`, or shards as in `open_stream`, or the name of a toy.
        resolution: as in `open_images`, like what follows.
        channels: 1, 3 or None.
        fit: how images are brought into the frame.
        background: the colour behind and around them.
        held_out: share of the images that do not train, chosen by their content.
        cache: where packed data goes.
        progress: called while packing.
    """
    options = {"channels": channels, "fit": fit, "background": background, "cache": cache}
    return Dataset(os.fspath(data), resolution, options, held_out, progress)


class Dataset:
    """Data opened once: what trains, what is held out from it, and all of it; made by `open_dataset`."""

    def __init__(
        self,
        name: str,
        resolution: int | str,
        options: Mapping[str, Any],
        held_out: float,
        progress: ProgressCallback | None,
    ) -> None:
        self.name, self.resolution, self.options = name, resolution, options
        self.held_out, self.progress = held_out, progress

    @cached_property
    def feed(self) -> Feed:
        """What training draws batches from.

        Raises:
            UsageError: the data cannot be used, or all of it is held out.
        """
        if self.name in TOYS:
            return TOYS[self.name]
        if is_stream(self.name):
            return self._stream
        kept = self._images.split(self.held_out)[0]
        if not len(kept):
            raise UsageError(
                f"all {len(self._images)} images of {self.name} are held out: lower --held-out, or bring more images"
            )
        return kept

    def split(self, part: Part, *, max_images: int = MAX_OF_SHARDS) -> Images:
        """A part of the data as packed images, which may be none, to compare with.

        Args:
            part: the images that train, those held out, or all.
            max_images: of shards, no more than these are packed, the first by an order that never changes.

        Raises:
            UsageError: the data cannot be used, or is a toy.
        """
        if self.name in TOYS:
            raise UsageError(
                f"{self.name} is a toy, of points and not of images: `equipoise train` and `evaluate` know it"
            )
        if not is_stream(self.name):
            if part == "all":
                return self._images
            return self._images.split(self.held_out)[1 if part == "held-out" else 0]
        everything = part == "all" or self.held_out == 0
        stream = self._open_stream(0.0) if everything and self.held_out else self._stream
        if part == "held-out" and everything:  # none are, but they have a shape
            return self._pack_stream(stream, "train", max_images).split(0.0)[1]
        return self._pack_stream(stream, part, max_images)

    def close(self) -> None:
        """End what runs in the background."""
        if "feed" in vars(self):
            self.feed.close()

    @cached_property
    def _images(self) -> Images:
        return open_images(self.name, self.resolution, **self.options, progress=self.progress)

    @cached_property
    def _stream(self) -> Stream:
        return self._open_stream(self.held_out)

    def _open_stream(self, held_out: float) -> Stream:
        return open_stream(self.name, self.resolution, **self.options, held_out=held_out)

    def _pack_stream(self, stream: Stream, part: Part, max_images: int) -> Images:
        folder = cache_folder(self.options["cache"])
        return _of_stream(stream, self.name, part, max_images, folder, self.progress)


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
