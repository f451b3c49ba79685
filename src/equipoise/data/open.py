"""Data of any kind, opened once: the images that train, and those held out from them to compare with."""

import hashlib
import os
from collections.abc import Mapping
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from equipoise.data.cache import cache_folder
from equipoise.data.decode import quiet_pillow
from equipoise.data.digests import AUTO_SHARE, HeldOut
from equipoise.data.feed import Feed
from equipoise.data.framing import Fit
from equipoise.data.packed.images import IMAGES, Images
from equipoise.data.packed.pack import FORMAT, finish_pack, open_images, open_or_pack
from equipoise.data.packed.workers import ProgressCallback, ReadReport
from equipoise.data.packed.writer import Writer
from equipoise.data.shards import Stream, is_stream, open_stream
from equipoise.data.shards.shard import is_url
from equipoise.data.sources import BUNDLED
from equipoise.data.sources.base import Annotations
from equipoise.data.sources.faces import FACES
from equipoise.data.sources.hub import SCHEME as HUB
from equipoise.data.toys import NO_IMAGES, TOYS
from equipoise.errors import UsageError
from equipoise.reading import expand_home

Part = Literal["train", "held-out", "test", "all"]
MAX_SHARD_IMAGES = 10_000  # images of shards that are packed to compare with


def open_dataset(
    data: str | os.PathLike[str],
    resolution: int | str,
    *,
    channels: int | None = None,
    fit: Fit = "crop",
    background: str = "white",
    crop: int | None = None,
    border: str | None = None,
    label: str | None = None,
    held_out: HeldOut = 0.0,
    test: float = 0.0,
    cache: str | os.PathLike[str] | None = None,
    progress: ProgressCallback | None = None,
) -> "Dataset":
    """Open data once, for all that is done with it: toys are drawn, shards are streamed, all else is packed.

    Nothing is read before the feed or a split is needed.

    Args:
        data: as in `open_images`, or shards as in `open_stream`, or the name of a toy.
        resolution: as in `open_images`, like what follows.
        channels: 1, 3 or None.
        fit: how images are brought into the frame.
        background: the colour behind and around them.
        crop: side in pixels of the centred square that is taken of each image first; by default none is.
        border: the plain colour around them, by default that of the data, where it has one.
        label: name of the column of labels, where the data has several; by default its usual one.
        held_out: share of the images that do not train, chosen by their content; or auto for those that the data itself
            holds out, else AUTO_SHARE.
        test: share of the images that are kept for a last test, beside those held out.
        cache: folder of packed data; see `cache_folder`.
        progress: called while packing.
    """
    options = {
        "channels": channels,
        "fit": fit,
        "background": background,
        "crop": crop,
        "border": border,
        "label": label,
        "cache": cache,
    }
    return Dataset(as_text(data), resolution, options, held_out, progress, test)


def is_path(data: str) -> bool:
    """Whether `find_source` takes `data` for a path, and not for a name, though a file of that name may lie here."""
    return not (data in {*BUNDLED, *TOYS} or data.partition(":")[0] == FACES or data.startswith(HUB) or is_url(data))


def as_text(data: str | os.PathLike[str]) -> str:
    """Name of `data` as text: of a path that is called like data with a name, with ./ before it."""
    text = os.fspath(data)
    return text if isinstance(data, str) or is_path(text) else f".{os.sep}{text}"


def place_of(data: str) -> str | None:
    """The absolute path of data that lie on this machine now; None for bundled data, URLs, and what is not there."""
    if not data or not is_path(data):
        return None
    path = os.path.abspath(expand_home(data))  # noqa: PTH100  # not resolved: links may be moved
    places = [path, path.rpartition("#")[0]]  # of tables, a split may be named behind a #
    if is_stream(data):
        places.append(os.path.dirname(path.partition("{")[0]))  # noqa: PTH120  # of shards by a pattern, their folder
    return path if any(os.path.exists(place) for place in places) else None  # noqa: PTH110  # of any name


class Dataset:
    """Data opened by `open_dataset`: a feed for training, and splits to compare with."""

    def __init__(
        self,
        name: str,
        resolution: int | str,
        options: Mapping[str, Any],
        held_out: HeldOut,
        progress: ProgressCallback | None,
        test: float = 0.0,
    ) -> None:
        self.name, self.resolution, self.options = name, resolution, options
        self.held_out, self.progress, self.test = held_out, progress, test

    @cached_property
    def feed(self) -> Feed:
        """Endless batches for training.

        Raises:
            UsageError: the data cannot be used, or all of it is held out.
        """
        if self._toy is not None:
            return self._toy
        if is_stream(self.name):
            if self.test:
                raise UsageError(f"--test needs packed images, and {self.name} is a stream: leave it out")
            return self._stream
        training, _ = self._chosen.split(self.held_out, self.test)
        if not len(training):
            raise UsageError(
                f"all {len(self._images)} images of {self.name} are held out: lower --held-out, or bring more images"
            )
        return training

    def split(self, part: Part, *, max_images: int = MAX_SHARD_IMAGES) -> Images:
        """A part of the data as packed images to compare with; of it there may be none.

        Args:
            part: the images that train, those held out, those kept for a test, or all.
            max_images: of shards, no more than these are packed, the first by an order that never changes.

        Raises:
            UsageError: the data cannot be used, or is a toy.
        """
        if self._toy is not None:
            raise UsageError(NO_IMAGES.format(self.name))
        if not is_stream(self.name):
            if part == "all":
                return self._images
            if part == "test":
                return self._images.tested(self.test)[1]
            return self._chosen.split(self.held_out, self.test)[1 if part == "held-out" else 0]
        if part == "test":
            raise UsageError(f"{self.name} is a stream, of which nothing is kept for a test: use another split")
        share = AUTO_SHARE if self.held_out == "auto" else self.held_out
        if part == "all" and share:  # the stream that trains leaves out what is held out
            return self._pack_stream(self._open_stream(0.0), part, max_images)
        if part == "held-out" and not share:  # none are, but they have a shape
            return self._pack_stream(self._stream, "train", max_images).split(0.0)[1]
        return self._pack_stream(self._stream, part, max_images)

    @property
    def holds_out(self) -> str:
        """What is held out, in a word: the share, or `own` for what the data itself holds out."""
        if self.held_out == "auto" and not is_stream(self.name) and self._images.partition is not None:
            return "own"
        return f"{AUTO_SHARE if self.held_out == 'auto' else self.held_out:g}"

    def close(self) -> None:
        """End what runs in the background, and close files."""
        for part in ("feed", "_images"):
            if part in vars(self):  # else asking for it would open the data
                getattr(self, part).close()

    @property
    def _toy(self) -> Feed | None:
        return TOYS.get(self.name)

    @cached_property
    def _images(self) -> Images:
        return open_images(self.name, self.resolution, **self.options, progress=self.progress)

    @property
    def _chosen(self) -> Images:
        """All images but those that are kept for a test."""
        return self._images.tested(self.test)[0]

    @cached_property
    def _stream(self) -> Stream:
        return self._open_stream(self.held_out)

    def _open_stream(self, held_out: HeldOut) -> Stream:
        share = AUTO_SHARE if held_out == "auto" else held_out
        return open_stream(self.name, self.resolution, **self.options, held_out=share)

    def _pack_stream(self, stream: Stream, part: Part, max_images: int) -> Images:
        """Pack the first images of a part of shards, so that evaluation reads them like all others."""
        versions = [shard.version for shard in stream.plan.shards]
        facts = (FORMAT, stream.fingerprint, versions, part, max_images)
        key = hashlib.sha256(repr(facts).encode("utf-8", "surrogateescape")).hexdigest()[:32]

        def fill(partial: Path) -> None:
            channels, height, width = stream.shape
            report, labels = ReadReport(), []
            with (
                quiet_pillow(),
                Writer(partial / IMAGES, height, width, channels) as writer,
                closing(stream.single_pass(held_out=part == "held-out")) as images,
            ):
                for index, (sample, image) in enumerate(images):
                    labels.append(sample.label or 0)
                    if isinstance(image, str):
                        report.skip(stream.plan.name_of(sample), image)
                        continue
                    writer.append(image.pixels)
                    report.add(index, image)
                    if self.progress is not None:
                        self.progress(writer.count, max_images)
                    if writer.count == max_images:
                        break
                if not labels:
                    what = "held out: raise" if part == "held-out" else "left to train on: lower"
                    raise UsageError(f"none of the images of {self.name} is {what} --held-out, or bring more images")
                known = Annotations(labels=np.array(labels, np.int64) if stream.labelled else None)
                finish_pack(writer, report, known, source=self.name, framing=repr(stream.plan.framing))

        return open_or_pack(cache_folder(self.options["cache"]), key, fill)
