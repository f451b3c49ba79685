"""Blocks of decoded images: the bounded buffer in which a stream is shuffled."""

import hashlib
import os
from collections import Counter, deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from equipoise.data.decode import Framing, Pixels, Prepared, UnreadableError, prepare
from equipoise.data.digests import content_digest, held_out
from equipoise.data.order import indices
from equipoise.data.shards.broken import StreamBroken
from equipoise.data.shards.counts import Counts
from equipoise.data.shards.fetch import Patience
from equipoise.data.shards.order import Part, Turns, deal
from equipoise.data.shards.samples import Sample, samples
from equipoise.data.shards.shard import Shard, opened
from equipoise.data.sources.base import Labels
from equipoise.data.sources.files import LARGEST_FILE

LARGEST_BLOCK = 256 * 2**20  # bytes of decoded images in a block; one is in use, another is being made
LARGEST_QUEUE = 256 * 2**20  # bytes of stored images that wait to be decoded
MOST_WORKERS = 16
MOST_SKIPPED = 1000  # images of which it is remembered why they could not be used

Decoded = tuple[Sample, Prepared | str]  # a sample, and its image or why there is none


@dataclass(frozen=True)
class Plan:
    """What a stream reads, and how.

    Attributes:
        shards: in the order of their pattern.
        framing: the images' shape, channels included.
        labelled: whether every image must have a class number.
        held_out: the share of images that training does not see.
        lanes: shards read at a time by each process.
        block: images shuffled together.
        counts: what is known of the shards.
        skipped: filled with what could not be used, by its name.
    """

    shards: list[Shard]
    framing: Framing
    labelled: bool
    held_out: float
    lanes: int
    block: int
    counts: Counts
    skipped: dict[str, str]

    def name_of(self, sample: Sample) -> str:
        """What to call an image in messages."""
        return f"{self.shards[sample.shard].name}/{sample.name}"


class Block(NamedTuple):
    """Shuffled images of a process.

    Attributes:
        first: how many images of this process come before them.
        pixels: (n, C, H, W).
        labels: (n,), or None.
    """

    first: int
    pixels: Pixels
    labels: Labels | None


def read(plan: Plan, number: int, patience: Patience, *, out: bool) -> Generator[Sample, None, None]:
    """Give the samples of a shard that are held out, or else those that are not, and learn how many these are."""
    count = 0
    with opened(plan.shards[number], patience) as tar:
        for sample in samples(tar):
            if patience.stop is not None and patience.stop.is_set():
                return
            if (plan.held_out > 0 and _held_out(sample.image, plan.held_out)) == out:
                count += 1
                sample.shard = number
                yield sample
    if not out:
        plan.counts.learn(number, count)


def decoded(found: Iterable[Sample], plan: Plan) -> Generator[Decoded, None, None]:
    """Decode samples in order, on several cores, holding few at a time; what cannot be used is noted."""
    workers = min(MOST_WORKERS, _cores())
    pending: deque[tuple[Sample, Future[Prepared | str]]] = deque()

    def finish() -> Decoded:
        sample, future = pending.popleft()
        image = future.result()
        if isinstance(image, str) and len(plan.skipped) < MOST_SKIPPED:
            plan.skipped[plan.name_of(sample)] = image
        return sample, image

    with ThreadPoolExecutor(workers, thread_name_prefix="equipoise-decode") as pool:
        try:
            for sample in found:
                pending.append((sample, pool.submit(_prepared, sample, plan)))
                while len(pending) > 8 * workers or sum(len(other.image) for other, _ in pending) > LARGEST_QUEUE:
                    yield finish()
            while pending:
                yield finish()
        finally:
            for _, future in pending:
                future.cancel()


def blocks(
    plan: Plan, seed: int, rank: int, size: int, position: int, patience: Patience
) -> Generator[Block, None, None]:
    """Give the blocks of process `rank` of `size`, endlessly, from the one that holds its image `position` on.

    An earlier block may come first. An epoch's last block is the shorter for it, and no block spans two epochs.

    Raises:
        StreamBroken: a shard cannot be read on, or there is nothing to read.
    """
    first, epoch = 0, 0
    while patience.stop is None or not patience.stop.is_set():
        parts = deal(len(plan.shards), seed, epoch, rank, size)
        length = _length(parts, plan.counts)
        if length is None or first + length > position:
            length = yield from _epoch(plan, parts, (seed, rank, epoch), first, max(0, position - first), patience)
        if length == 0:
            raise StreamBroken(
                f"the shards give process {rank} no images in epoch {epoch}: use fewer --devices, or more shards"
            )
        first, epoch = first + length, epoch + 1


def _epoch(
    plan: Plan, parts: list[Part], key: tuple[int, int, int], first: int, start: int, patience: Patience
) -> Generator[Block, None, int]:
    """Give the blocks of one epoch from the one that holds its image `start` on; return the images passed."""
    ended: list[Part] = []
    failed: Counter[int] = Counter()

    def reading(part: Part) -> Generator[Sample, None, None]:
        yield from read(plan, part.shard, patience, out=False)
        ended.append(part)

    with closing(Turns(parts, plan.lanes, reading, plan.counts.get)) as turns:
        start = start // plan.block * plan.block
        done = turns.advance(start)
        while done >= start and (found := _gather(turns, plan, failed)):
            _refuse_dead(ended, failed, plan)
            block = _shuffled(first + done, found, plan, _digest(*key, done // plan.block))
            done += len(found)
            found.clear()
            yield block
            del block  # else it would be held while the next is made
        return done


def _gather(turns: Turns, plan: Plan, failed: Counter[int]) -> list[Decoded]:
    """Decode the samples of a block, and count those of each shard that cannot be used."""
    with closing(decoded(islice(turns, plan.block), plan)) as found:
        block = list(found)
    failed.update(sample.shard for sample, image in block if isinstance(image, str))
    return block


def _refuse_dead(ended: list[Part], failed: Counter[int], plan: Plan) -> None:
    """Refuse shards that were read to their ends and of which nothing could be used."""
    for part in ended:
        count = part.length(plan.counts.known[part.shard])
        if count and failed[part.shard] == count:
            _refuse(plan.shards[part.shard], plan)
    ended.clear()


def _refuse(shard: Shard, plan: Plan) -> None:
    name, reason = next(iter(plan.skipped.items()), (shard.name, "unreadable"))
    raise StreamBroken(f"no image of {shard.shown} can be used, such as {name} ({reason}): get or write it again")


def _shuffled(first: int, found: list[Decoded], plan: Plan, seed: int) -> Block:
    """Shuffle what was found; the place of an image that cannot be used is taken by the next one that can."""
    places = [place for place, (_, image) in enumerate(found) if not isinstance(image, str)]
    usable = [(sample, image.pixels) for sample, image in found if not isinstance(image, str)]
    if not usable:
        _refuse(plan.shards[found[0][0].shard], plan)
    order = np.searchsorted(places, indices(len(found), len(found), seed, 0))
    chosen = [usable[number % len(usable)] for number in order]
    pixels = np.stack([pixels for _, pixels in chosen])
    labels = np.array([sample.label for sample, _ in chosen], np.int64) if plan.labelled else None
    return Block(first, pixels, labels)


def _length(parts: list[Part], counts: Counts) -> int | None:
    """How many images these parts give, or None where that is not known of every shard."""
    length = 0
    for part in parts:
        count = counts.get(part.shard)
        if count is None:
            return None
        length += part.length(count)
    return length


def _held_out(image: bytes, share: float) -> bool:
    return bool(held_out(np.array([content_digest(image)], np.uint64), share)[0])


def _prepared(sample: Sample, plan: Plan) -> Prepared | str:
    """Decode one image, or say why it cannot be used."""
    if not sample.image:
        return f"{sample.member.size:,} bytes, of which from 1 to {LARGEST_FILE:,} are read"
    if plan.labelled and sample.label is None:
        return "without a class number in .cls or .json, which others have"
    try:
        image = prepare(lambda: sample.image, plan.framing)
    except UnreadableError as error:
        return str(error)
    sample.image = b""  # nobody asks for it again
    return image


def _digest(*key: int) -> int:
    """A seed of its own for every block."""
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest(), "big")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
