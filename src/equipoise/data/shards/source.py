"""Local shards as a source like any other, to be looked at or packed: an image is read where it lies in its archive."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from equipoise.data.decode import UnreadableError
from equipoise.data.shards.fetch import Patience
from equipoise.data.shards.samples import Sample, samples
from equipoise.data.shards.shard import Shard, find_shards, is_stream, is_url, opened
from equipoise.data.sources.base import Contents, Source
from equipoise.data.sources.files import LARGEST_FILE
from equipoise.errors import UsageError


def shards(data: str | Path) -> Source | None:
    """Take local shards by their brace pattern, or one by its path; see `is_stream`.

    Raises:
        UsageError: a shard is not there or may not be read, or the pattern is a URL.
    """
    pattern = str(data)
    if not is_stream(pattern):
        return None
    if is_url(pattern):
        raise UsageError(f"{pattern} can be trained on as it comes, but not packed or inspected: download it for that")
    found = find_shards(pattern, Patience())
    identity = [part for shard in found for part in (shard.name, Path(shard.place))]
    return Source(pattern, ("shards", *identity), partial(_open, pattern, found))


@contextmanager
def _open(pattern: str, shards: list[Shard]) -> Iterator[Contents]:
    places = [(shard, sample) for shard in shards for sample in _places(shard)]
    if not places:
        raise UsageError(f"{pattern} holds no images: give it samples with files that end in .png, .jpg or the like")
    labels = [sample.label for _, sample in places]
    yield Contents(
        names=[f"{shard.name}/{sample.name}" for shard, sample in places],
        read=lambda index: _read(*places[index]),
        labels=None if None in labels else np.array(labels, np.int64),
    )


def _places(shard: Shard) -> list[Sample]:
    """Find where the images of a shard lie.

    Raises:
        StreamBroken: it is cut off or damaged.
        UsageError: it is compressed.
    """
    with opened(shard, Patience()) as tar:
        if tar.compressed:
            raise UsageError(f"{shard.shown} is compressed and can only be read in order: run gunzip on it first")
        return list(samples(tar, images=False))


def _read(shard: Shard, sample: Sample) -> bytes:
    if sample.member.size > LARGEST_FILE:
        raise UnreadableError(f"{sample.member.size} bytes, of which {LARGEST_FILE} are read at most")
    with Path(shard.place).open("rb") as file:
        file.seek(sample.member.offset)
        return file.read(sample.member.size)
