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
from equipoise.data.decode import Fit, frame
from equipoise.data.feed import FeedBatch
from equipoise.data.shards.ahead import Ahead
from equipoise.data.shards.blocks import LARGEST_BLOCK, Block, Decoded, Plan, blocks, decoded, read
from equipoise.data.shards.counts import Counts
from equipoise.data.shards.fetch import Patience
from equipoise.data.shards.order import deal
from equipoise.data.shards.samples import Sample
from equipoise.data.shards.shard import find_shards
from equipoise.errors import UsageError

FORMAT = 1  # raise it when the same shards would be read in another order
LANES = 4  # shards read at a time
BLOCK = 2048  # images shuffled together, or as many as LARGEST_BLOCK holds
PROBED = 64  # images that decide on colour and labels


@dataclass
class Stream:
    """Images of one shape that come from shards.

    Attributes:
        plan: what is read, and how.
        fingerprint: sha256, in hexadecimal, of what decides on every batch: the shards' names and sizes, the first
            images as they are stored, the framing, the share held out, and how images are shuffled. Not the place of
            the shards, so they can move.
        patience: how to wait for servers.
    """

    plan: Plan = field(repr=False)
    fingerprint: str
    patience: Patience = field(repr=False)
    classes: int = field(default=0, init=False)  # how many labels there are, only all shards together say
    class_names: tuple[str, ...] | None = field(default=None, init=False)
    _key: tuple[int, int, int] = field(default=(-1, -1, -1), init=False, repr=False)
    _ahead: Ahead[Block] | None = field(default=None, init=False, repr=False)
    _block: Block | None = field(default=None, init=False, repr=False)

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
        """Images in an epoch of all processes, once all shards have been read to their ends, in this run or another."""
        counts = [self.plan.counts.get(number) for number in range(len(self.plan.shards))]
        return None if None in counts else sum(count for count in counts if count is not None)

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """Name and reason of images that could not be used so far, at most `blocks.MOST_SKIPPED`."""
        return sorted(self.plan.skipped.items())

    def draw(self, batch: int, seed: int, images_seen: int, rank: int = 0, size: int = 1) -> FeedBatch:
        """Give process `rank` of `size` its share of the batch that comes after `images_seen` images.

        That is a pure function of the arguments and of what the shards hold. Positions that follow each other are
        quick; others are sought, which is slow.

        Args:
            batch: images over all processes; like `images_seen`, a multiple of `size`.
            seed: of the order.
            images_seen: by all processes so far.
            rank: the process.
            size: how many processes there are.

        Raises:
            StreamBroken: a shard cannot be read on.
        """
        assert batch % size == 0 == images_seen % size and 0 <= rank < size  # noqa: S101, PT018
        position, end = images_seen // size, (images_seen + batch) // size
        pieces = []
        while position < end:
            block = self._block_at(position, (seed, rank, size))
            place = slice(position - block.first, min(len(block.pixels), end - block.first))
            pieces.append((block.pixels[place], None if block.labels is None else block.labels[place]))
            position += len(pieces[-1][0])
        images = torch.from_numpy(np.concatenate([pixels for pixels, _ in pieces]))
        if not self.labelled:
            return FeedBatch(images, None)
        return FeedBatch(
            images, torch.from_numpy(np.concatenate([labels for _, labels in pieces if labels is not None]))
        )

    def once(self, *, held_out: bool = False) -> Generator[Decoded, None, None]:
        """Read all shards once, in an order that never changes, and give what was found, on this process alone.

        Args:
            held_out: give the images held out from training, and only them; else only the others.

        Raises:
            StreamBroken: a shard cannot be read on.
        """
        order = [part.shard for part in deal(len(self.plan.shards), 0, 0, 0, 1)]
        found = chain.from_iterable(read(self.plan, number, self.patience, out=held_out) for number in order)
        with closing(decoded(found, self.plan)) as outcomes:
            yield from outcomes

    def close(self) -> None:
        """End what runs in the background; drawing would begin it anew."""
        if self._ahead is not None:
            self._ahead.close()
        self._ahead = self._block = None

    def _block_at(self, position: int, key: tuple[int, int, int]) -> Block:
        """Give the block that holds an image, by going on where possible, else by seeking."""
        block = self._block
        if self._ahead is None or key != self._key or block is None or not block.first <= position <= _end(block):
            self.close()
            self._key, stop = key, Event()
            self._ahead = Ahead(blocks(self.plan, *key, position, replace(self.patience, stop=stop)), stop)
            block = None
        while block is None or _end(block) <= position:
            self._block = block = None  # before the next one is asked for
            self._block = block = self._ahead.next()
        return block


def open_stream(
    pattern: str,
    resolution: int | str,
    *,
    channels: int | None = None,
    fit: Fit = "crop",
    background: str = "white",
    held_out: float = 0.0,
    cache: str | os.PathLike[str] | None = None,
    patience: Patience | None = None,
    lanes: int = LANES,
    block: int = BLOCK,
) -> Stream:
    """Open shards of WebDataset by a brace pattern, local or over HTTP, without reading more than their beginning.

    Args:
        pattern: such as `faces-{000..127}.tar` or `https://host/faces-{000..127}.tar.gz`.
        resolution: of the images; see `frame`.
        channels: 1 or 3, or None for 1 if none of the first images has colour, else 3.
        fit: crop the centre, pad or stretch.
        background: the colour behind transparent pixels and around padded images.
        held_out: the share of images that training does not see, chosen by their content.
        cache: where it is remembered how many images each shard has; see `cache_folder`.
        patience: how to wait for servers.
        lanes: shards that each process reads at a time; part of the order.
        block: images shuffled together; part of the order.

    Raises:
        UsageError: the pattern or an option is none, or a shard is not there, or there are no images.
        StreamBroken: a shard cannot be read.
    """
    framing, patience = frame(resolution, channels, fit, background), patience or Patience()
    if not 0 <= held_out < 1:
        raise UsageError(f"the share held out must be from 0 to less than 1, not {held_out}")
    shards = find_shards(pattern, patience)
    memory = cache_folder(cache) / "shards"
    plan = Plan(shards, framing, False, 0.0, lanes, block, Counts(memory, shards, 0.0), {})
    with closing(_first(plan, patience)) as first:
        probed = list(islice(first, PROBED))
    stored = hashlib.sha256(b"".join(hashlib.sha256(sample.image).digest() for sample in probed)).hexdigest()
    labelled = bool(probed) and all(sample.label is not None for sample in probed)
    with closing(decoded(iter(probed), plan)) as outcomes:
        depths = [len(image.pixels) for _, image in outcomes if not isinstance(image, str)]
    if not depths:
        reasons = ", ".join(f"{name} ({reason})" for name, reason in list(plan.skipped.items())[:3])
        raise UsageError(
            f"no image can be read in {shards[0].shown}{reasons and ': '}{reasons}: write the shards again"
        )
    framing = replace(framing, channels=max(depths))
    block = max(1, min(block, LARGEST_BLOCK // (max(depths) * math.prod((framing.height, framing.width)))))
    counts = Counts(memory, shards, held_out)
    plan = Plan(shards, framing, labelled, held_out, lanes, block, counts, {})
    names = [(shard.name, shard.size) for shard in shards]
    facts = (FORMAT, names, stored, framing, labelled, held_out, lanes, block)
    return Stream(plan, hashlib.sha256(repr(facts).encode("utf-8", "surrogateescape")).hexdigest(), patience)


def _first(plan: Plan, patience: Patience) -> Generator[Sample, None, None]:
    """Give the samples of the first shard that has any."""
    found = False
    for number in range(len(plan.shards)):
        if not found:
            for sample in read(plan, number, patience, out=False):
                found = True
                yield sample


def _end(block: Block) -> int:
    return block.first + len(block.pixels)
