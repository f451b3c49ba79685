"""Local shards as a source like any other, to inspect or pack: images are read in place, wherever in their archive."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from equipoise.data.decode import UnreadableError
from equipoise.data.shards.fetch import RetryPolicy
from equipoise.data.shards.samples import CLASS, LABEL, Sample, left_out_note, read_samples
from equipoise.data.shards.shard import Shard, find_shards, is_stream, is_url, open_shard
from equipoise.data.sources.base import Contents, Source
from equipoise.data.sources.files import MAX_FILE_BYTES
from equipoise.data.sources.labels import number_values
from equipoise.errors import UsageError


def shards(data: str | Path) -> Source | None:
    """Source of local shards by their brace pattern, or of one by its path; see `is_stream`.

    Raises:
        UsageError: a shard is not there or may not be read, or the pattern is a URL.
    """
    pattern = str(data)
    if not is_stream(pattern):
        return None
    if is_url(pattern):
        raise UsageError(f"{pattern} can be trained on as it comes, but not packed or inspected: download it for that")
    found = find_shards(pattern, RetryPolicy())
    identity = [part for shard in found for part in (shard.name, Path(shard.place))]
    return Source(pattern, ("shards", *identity), partial(_open, pattern, found))


@contextmanager
def _open(pattern: str, shards: list[Shard]) -> Iterator[Contents]:
    places: list[tuple[Shard, Sample]] = []
    for shard in shards:
        with open_shard(shard, RetryPolicy()) as tar:
            if tar.compressed:
                raise UsageError(
                    f"{shard.display_name} is compressed and can only be read in order: run gunzip on it first"
                )
            places += [(shard, sample) for sample in read_samples(tar, images=False)]
    if not places:
        raise UsageError(f"{pattern} holds no images: give it samples with files that end in .png, .jpg or the like")
    samples = [sample for _, sample in places]
    labels = {name: [sample.labels.get(name) for sample in samples] for name in samples[0].labels}
    columns = {name: partial(number_values, values, name, pattern) for name, values in labels.items()}
    whole = [name for name, values in labels.items() if None not in values]
    usual = next((name for name in (CLASS, LABEL) if name in whole), None)

    def read(index: int) -> bytes:
        shard, sample = places[index]
        if sample.member.size > MAX_FILE_BYTES:
            raise UnreadableError(f"{sample.member.size} bytes, of which {MAX_FILE_BYTES} are read at most")
        with Path(shard.place).open("rb") as file:
            file.seek(sample.member.offset)
            return file.read(sample.member.size)

    yield Contents(
        names=[f"{shard.name}/{sample.name}" for shard, sample in places],
        read=read,
        labels=None if usual is None else np.array(labels[usual], np.int64),
        columns=columns,
        label=usual,
        notes=left_out_note(samples),
    )
