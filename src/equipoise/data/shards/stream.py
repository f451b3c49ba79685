"""Training data that is never held as a whole: batches from shards, each a pure function of seed and position."""

import hashlib
import math
import os
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from threading import Event

import numpy as np
import torch

from equipoise.data.cache import cache_folder
from equipoise.data.decode import Pixels, quiet_pillow
from equipoise.data.feed import FeedBatch
from equipoise.data.framing import Fit, parse_framing
from equipoise.data.shards.blocks import MAX_BLOCK_BYTES, Block, Decoded, Plan, blocks, decode_samples, read_shard
from equipoise.data.shards.counts import ShardCounts
from equipoise.data.shards.fetch import RetryPolicy
from equipoise.data.shards.order import assign_shards
from equipoise.data.shards.prefetch import Prefetcher
from equipoise.data.shards.samples import Sample, left_out_note
from equipoise.data.shards.shard import find_shards
from equipoise.data.sources.base import Labels
from equipoise.data.sources.labels import listed
from equipoise.errors import UsageError, printable

FORMAT = 1  # part of the fingerprint: raise it when the same shards would be read in another order
LANES = 4  # shards read side by side
BLOCK = 2048  # images shuffled together, or as many as MAX_BLOCK_BYTES holds
PROBED = 64  # images that decide on colour and labels
UNCOUNTED = (
    "the class numbers of shards are not trained on, as how many classes there are shows only once all are read: "
    "to train on classes, make a file of them by `equipoise data pack --out`"
)


@dataclass
class Stream:
    """Images of one shape that come from shards: a `Feed`.

    Attributes:
        plan: what is read, and how.
        fingerprint: SHA-256, in hexadecimal, of what decides on every batch: the shards' names and sizes, the first
            images as they are stored, the framing, the share held out, and how images are shuffled. Not the place of
            the shards, so they can move.
        retry: how to wait for servers.
        notes: what is not used, as far as the first samples show it.
    """

    plan: Plan = field(repr=False)
    fingerprint: str
    retry: RetryPolicy = field(repr=False)
    classes: int = field(default=0, init=False)  # the number of classes is known only from all shards together
    class_names: tuple[str, ...] | None = field(default=None, init=False)
    notes: list[str] = field(default_factory=list)
    _readers: dict[tuple[int, int, int], "_Reader"] = field(default_factory=dict, init=False, repr=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        framing = self.plan.framing
        assert framing.channels is not None  # noqa: S101
        return framing.channels, framing.height, framing.width

    @property
    def labelled(self) -> bool:
        """Whether images have class numbers."""
        return self.plan.labelled

    @property
    def count(self) -> int | None:
        """None: what is known of the images in all shards grows while they are read, and no run may depend on that."""
        return None

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """Name and reason of images that could not be used so far, at most `blocks.MAX_SKIPPED`."""
        return sorted(self.plan.skipped.items())

    def draw(
        self, batch: int, seed: int, images_seen: int, rank: int = 0, size: int = 1, readers: int | None = None
    ) -> FeedBatch:
        """Share of process `rank` of `size` in the batch that comes after `images_seen` images.

        That is a pure function of the arguments and of the shards' content. Positions that follow each other are quick;
        others need a seek, which is slow.

        Args:
            batch: images over all processes, a multiple of `size` and of `readers`.
            seed: of the order.
            images_seen: by all processes so far, a multiple of `readers`.
            rank: the process.
            size: number of processes.
            readers: number of processes that the shards are dealt to, one share of each batch from each; by default
                `size`. Of another number, this process reads every share that its own overlaps.

        Raises:
            StreamBroken: a shard cannot be read on.
        """
        readers = size if readers is None else readers
        assert batch % size == 0 and 0 <= rank < size  # noqa: S101, PT018
        assert batch % readers == 0 == images_seen % readers  # noqa: S101
        own, share = batch // size, batch // readers
        pieces, needed = [], set()
        row, end = rank * own, (rank + 1) * own
        while row < end:
            reader, first = divmod(row, share)
            last = min(share, first + end - row)
            needed.add((seed, reader, readers))
            position = images_seen // readers
            pieces += self._reader((seed, reader, readers)).read(position + first, position + last)
            row += last - first
        for key in self._readers.keys() - needed:  # another seed, or other processes
            self._readers.pop(key).close()
        images = torch.from_numpy(np.concatenate([pixels for pixels, _ in pieces]))
        if not self.labelled:
            return FeedBatch(images, None)
        return FeedBatch(
            images, torch.from_numpy(np.concatenate([labels for _, labels in pieces if labels is not None]))
        )

    def single_pass(self, *, held_out: bool = False) -> Generator[Decoded, None, None]:
        """All samples of all shards once, in an order that never changes, on this process alone.

        Args:
            held_out: the images held out from training, and only them; else only the others.

        Raises:
            StreamBroken: a shard cannot be read on.
        """
        order = [part.shard for part in assign_shards(len(self.plan.shards), 0, 0, 0, 1)]
        samples = chain.from_iterable(read_shard(self.plan, number, self.retry, out=held_out) for number in order)
        with closing(decode_samples(samples, self.plan)) as images:
            yield from images

    def close(self) -> None:
        """End what runs in the background; drawing would begin it anew."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def _reader(self, key: tuple[int, int, int]) -> "_Reader":
        return self._readers.setdefault(key, _Reader(self.plan, key, self.retry))


class _Reader:
    """The images that the shards give to one of several processes: those of `key`, a seed, a rank and a size."""

    def __init__(self, plan: Plan, key: tuple[int, int, int], retry: RetryPolicy) -> None:
        self.plan, self.key, self.retry = plan, key, retry
        self.prefetcher: Prefetcher[Block] | None = None
        self.block: Block | None = None

    def read(self, position: int, end: int) -> list[tuple[Pixels, Labels | None]]:
        """Images `position` to `end` - 1 with their labels, in pieces.

        Raises:
            StreamBroken: a shard cannot be read on.
        """
        pieces = []
        while position < end:
            block = self._block_at(position)
            place = slice(position - block.first, min(len(block.pixels), end - block.first))
            pieces.append((block.pixels[place], None if block.labels is None else block.labels[place]))
            position += len(pieces[-1][0])
        return pieces

    def close(self) -> None:
        """End what runs in the background."""
        if self.prefetcher is not None:
            self.prefetcher.close()
        self.prefetcher = self.block = None

    def _block_at(self, position: int) -> Block:
        """The block that holds an image: the present one or one that follows, else by a seek."""
        block = self.block
        follows = block is not None and block.first <= position <= block.end
        if self.prefetcher is None or not follows:
            self.close()
            stop = Event()
            found = blocks(self.plan, *self.key, position, replace(self.retry, stop=stop))
            self.prefetcher, block = Prefetcher(found, stop), None
        while block is None or block.end <= position:
            self.block = block = None  # freed before the next one is asked for, so that there are never three
            self.block = block = self.prefetcher.next()
        return block


def open_stream(
    pattern: str,
    resolution: int | str,
    *,
    channels: int | None = None,
    fit: Fit = "crop",
    background: str = "white",
    crop: int | None = None,
    border: str | None = None,
    label: str | None = None,
    held_out: float = 0.0,
    cache: str | os.PathLike[str] | None = None,
    retry: RetryPolicy | None = None,
    lanes: int = LANES,
    block: int = BLOCK,
    max_block_bytes: int = MAX_BLOCK_BYTES,
) -> Stream:
    """Open WebDataset shards by a brace pattern, local or over HTTP, without reading more than their beginning.

    Args:
        pattern: such as `faces-{000..127}.tar` or `https://host/faces-{000..127}.tar.gz`.
        resolution: of the images; see `parse_framing`.
        channels: 1 or 3, or None for 1 if none of the first images has colour, else 3.
        fit: crop the centre, pad or stretch.
        background: the colour behind transparent pixels and around padded images.
        crop: side in pixels of the centred square that is taken of each image first.
        border: the plain colour around the images; see `open_images`.
        label: name of the class number in each sample's .json; by default `label`, or what a .cls holds.
        held_out: the share of images that training leaves out, chosen by their content.
        cache: where the number of images in each shard is noted; see `cache_folder`.
        retry: how to wait for servers.
        lanes: shards that each process reads side by side; part of the order.
        block: images shuffled together; part of the order.
        max_block_bytes: decoded images of a block, which is the smaller for it; part of the order, too.

    Raises:
        UsageError: the pattern or an option is none, or a shard is not there, or there are no images.
        StreamBroken: a shard cannot be read.
    """
    framing, retry = parse_framing(resolution, channels, fit, background, crop, border), retry or RetryPolicy()
    if not 0 <= held_out < 1:
        raise UsageError(f"the share held out must be from 0 to less than 1, not {held_out}")
    shards = find_shards(pattern, retry)
    folder = cache_folder(cache) / "shards"
    probe = Plan(shards, framing, False, 0.0, lanes, block, ShardCounts(folder, shards, 0.0), {}, label)
    with closing(_first_samples(probe, retry)) as samples:
        first = list(islice(samples, PROBED))
    # Decoding empties the samples, so their digest comes first.
    stored = hashlib.sha256(b"".join(hashlib.sha256(sample.image).digest() for sample in first)).hexdigest()
    labelled = _all_labelled(first, label, pattern)
    channels = _count_channels(first, probe)
    framing = replace(framing, channels=channels)
    block = max(1, min(block, max_block_bytes // (channels * math.prod((framing.height, framing.width)))))
    counts = ShardCounts(folder, shards, held_out)
    plan = Plan(shards, framing, labelled, held_out, lanes, block, counts, {}, label)
    names = [(shard.name, shard.size) for shard in shards]
    facts = (FORMAT, names, stored, framing, labelled, held_out, lanes, block, *([] if label is None else [label]))
    fingerprint = hashlib.sha256(repr(facts).encode("utf-8", "surrogateescape")).hexdigest()
    notes = [printable(f"of the first {len(first):,} samples, {note}") for note in left_out_note(first)]
    return Stream(plan, fingerprint, retry, [*notes, UNCOUNTED] if labelled else notes)


def _all_labelled(samples: list[Sample], label: str | None, pattern: str) -> bool:
    """Whether all samples have a class number.

    Raises:
        UsageError: some have none, and one called `label` is asked for.
    """
    labelled = bool(samples) and all(sample.label is not None for sample in samples)
    if label is not None and not labelled:
        known = listed(list(samples[0].labels)) if samples and samples[0].labels else "none"
        raise UsageError(
            f"the first images of {pattern} do not all have labels called {label!r}; the first has {known}: choose "
            "another, or leave --label out"
        )
    return labelled


def _count_channels(samples: list[Sample], plan: Plan) -> int:
    """3 if any of the samples has colour, else 1; decoding empties them.

    Raises:
        UsageError: none can be read.
    """
    with quiet_pillow(), closing(decode_samples(iter(samples), plan)) as images:
        depths = [len(image.pixels) for _, image in images if not isinstance(image, str)]
    if not depths:
        reasons = ", ".join(f"{name} ({reason})" for name, reason in list(plan.skipped.items())[:3])
        raise UsageError(
            f"no image can be read in {plan.shards[0].display_name}{reasons and ': '}{reasons}: write the shards again"
        )
    return max(depths)


def _first_samples(plan: Plan, retry: RetryPolicy) -> Generator[Sample, None, None]:
    """Samples of the first shard that has any."""
    for number in range(len(plan.shards)):
        count = 0
        for sample in read_shard(plan, number, retry, out=False):
            count += 1
            yield sample
        if count:
            return
