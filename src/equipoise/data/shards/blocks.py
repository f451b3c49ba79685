"""Blocks of decoded images: the bounded buffers in which a stream is shuffled."""

import hashlib
from collections import Counter, deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from equipoise.data.decode import Pixels, Prepared, UnreadableError, prepare, worker_count
from equipoise.data.digests import content_digest, held_out
from equipoise.data.framing import Framing
from equipoise.data.order import indices
from equipoise.data.shards.broken import StreamBroken
from equipoise.data.shards.counts import ShardCounts
from equipoise.data.shards.fetch import RetryPolicy
from equipoise.data.shards.order import Interleaver, ShardSlice, assign_shards
from equipoise.data.shards.samples import Sample, read_samples
from equipoise.data.shards.shard import Shard, open_shard
from equipoise.data.sources.base import Labels
from equipoise.data.sources.files import MAX_FILE_BYTES

MAX_BLOCK_BYTES = 256 * 2**20  # decoded images of a block; one block is in use while another is made
MAX_QUEUE_BYTES = 256 * 2**20  # stored images that wait to be decoded
MAX_SKIPPED = 1000  # images of which it is noted why they could not be used

Decoded = tuple[Sample, Prepared | str]  # a sample, and its image or the reason why there is none


@dataclass(frozen=True)
class Plan:
    """What a stream reads, and how.

    Attributes:
        shards: in the order of their pattern.
        framing: the images' shape, channels included.
        labelled: whether every image must have a class number.
        held_out: the share of images that training leaves out.
        lanes: shards that each process reads side by side.
        block: images shuffled together.
        counts: of the shards' images, as far as they are known.
        skipped: reasons why images could not be used, by their names; filled while reading.
        label: name of the class numbers, or None for the usual ones.
    """

    shards: list[Shard]
    framing: Framing
    labelled: bool
    held_out: float
    lanes: int
    block: int
    counts: ShardCounts
    skipped: dict[str, str]
    label: str | None = None

    def name_of(self, sample: Sample) -> str:
        """An image's name in messages."""
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

    @property
    def end(self) -> int:
        """How many images of this process there are with those of the block."""
        return self.first + len(self.pixels)


def read_shard(plan: Plan, number: int, retry: RetryPolicy, *, out: bool) -> Generator[Sample, None, None]:
    """Samples of a shard: those held out, or else those that are not, of which the number is then noted."""
    count = 0
    with open_shard(plan.shards[number], retry) as tar:
        for sample in read_samples(tar, plan.label):
            if retry.stop is not None and retry.stop.is_set():
                return
            is_out = False
            if plan.held_out > 0:  # else the digest is not worth its time
                digest = np.array([content_digest(sample.image)], np.uint64)
                is_out = bool(held_out(digest, plan.held_out)[0])
            if is_out == out:
                count += 1
                sample.shard = number
                yield sample
    if not out:
        plan.counts.set(number, count)


def decode_samples(samples: Iterable[Sample], plan: Plan) -> Generator[Decoded, None, None]:
    """Decode samples on several cores, in order, holding few at a time; note those that cannot be used in the plan."""
    workers = worker_count()
    pending: deque[tuple[Sample, Future[Prepared | str]]] = deque()

    def next_decoded() -> Decoded:
        sample, future = pending.popleft()
        image = future.result()
        if isinstance(image, str) and len(plan.skipped) < MAX_SKIPPED:
            plan.skipped[plan.name_of(sample)] = image
        return sample, image

    with ThreadPoolExecutor(workers, thread_name_prefix="equipoise-decode") as pool:
        try:
            for sample in samples:
                pending.append((sample, pool.submit(_decode, sample, plan)))
                while len(pending) > 8 * workers or sum(len(other.image) for other, _ in pending) > MAX_QUEUE_BYTES:
                    yield next_decoded()
            while pending:
                yield next_decoded()
        finally:  # after an error, or where the reader has stopped early
            for _, future in pending:
                future.cancel()


def _decode(sample: Sample, plan: Plan) -> Prepared | str:
    """The image of a sample, or the reason why it cannot be used."""
    if not sample.image:
        return f"{sample.member.size:,} bytes, of which from 1 to {MAX_FILE_BYTES:,} are read"
    if plan.labelled and sample.label is None:
        return f"without a class number in {plan.label or '.cls or .json'}, which others have"
    try:
        image = prepare(lambda: sample.image, plan.framing)
    except UnreadableError as error:
        return str(error)
    sample.image = b""  # no longer needed, and samples stay in memory until their block is whole
    return image


def blocks(
    plan: Plan, seed: int, rank: int, size: int, position: int, retry: RetryPolicy
) -> Generator[Block, None, None]:
    """Blocks of process `rank` of `size`, endlessly, from the one that holds its image `position` on.

    An earlier block may come first. An epoch's last block is shorter, and no block spans two epochs.

    Raises:
        StreamBroken: a shard cannot be read on, or there is nothing to read.
    """
    first, epoch = 0, 0
    while retry.stop is None or not retry.stop.is_set():
        slices = assign_shards(len(plan.shards), seed, epoch, rank, size)
        counts = [plan.counts.get(part.shard) for part in slices]
        length = None  # images of this epoch, where all counts are known
        if None not in counts:
            length = sum(part.length(count or 0) for part, count in zip(slices, counts, strict=True))
        if length is None or first + length > position:  # else the whole epoch is skipped without a read
            start = max(0, position - first)
            length = yield from _epoch_blocks(plan, slices, (seed, rank, epoch), first, start, retry)
        if length == 0:
            less = "a lower --held-out, " if plan.held_out else ""
            raise StreamBroken(
                f"the shards give process {rank} no images in epoch {epoch}: use {less}fewer --devices, or more shards"
            )
        first, epoch = first + length, epoch + 1


def _epoch_blocks(
    plan: Plan, slices: list[ShardSlice], key: tuple[int, int, int], first: int, start: int, retry: RetryPolicy
) -> Generator[Block, None, int]:
    """Blocks of one epoch from the one that holds its image `start` on; returns the number of images in the epoch.

    Args:
        plan: what is read.
        slices: of the shards, for this process and epoch.
        key: seed, rank and epoch, which decide how blocks are shuffled.
        first: images of this process in the epochs before.
        start: where to begin in this epoch.
        retry: for servers.
    """
    ended: list[ShardSlice] = []  # since the last block
    unusable: Counter[int] = Counter()  # samples by the number of their shard

    def read(part: ShardSlice) -> Generator[Sample, None, None]:
        yield from read_shard(plan, part.shard, retry, out=False)
        ended.append(part)

    with closing(Interleaver(slices, plan.lanes, read, plan.counts.get)) as samples:
        # Shuffling needs whole blocks: a seek goes to the start of a block, and its first images are decoded again.
        start = start // plan.block * plan.block
        done = samples.skip(start)
        while done >= start:
            with closing(decode_samples(islice(samples, plan.block), plan)) as images:
                decoded = list(images)
            if not decoded:
                break
            unusable.update(sample.shard for sample, image in decoded if isinstance(image, str))
            _refuse_unusable_shards(ended, unusable, plan)
            if done and all(isinstance(image, str) for _, image in decoded):
                # The images of the block before stand in, so that an epoch's short last block stops no run.
                with closing(_epoch_blocks(plan, slices, key, first, done - plan.block, retry)) as earlier:
                    _, pixels, labels = next(earlier)
                count = len(decoded)
                block = Block(first + done, pixels[:count], None if labels is None else labels[:count])
            else:
                # Every block is shuffled by a seed of its own, from what names it.
                digest = hashlib.blake2b(repr((*key, done // plan.block)).encode(), digest_size=8).digest()
                block = _shuffle(first + done, decoded, plan, int.from_bytes(digest, "big"))
            done += len(decoded)
            decoded.clear()  # the block holds copies of the pixels
            yield block
            del block  # else it would be held while the next one is made
        return done


def _refuse_unusable_shards(ended: list[ShardSlice], unusable: Counter[int], plan: Plan) -> None:
    """Refuse shards that were read to their ends, and of which nothing could be used."""
    for part in ended:
        count = part.length(plan.counts.known[part.shard])
        if count and unusable[part.shard] == count:
            _refuse(plan.shards[part.shard], plan)
    ended.clear()


def _refuse(shard: Shard, plan: Plan) -> None:
    of_it = (item for item in plan.skipped.items() if item[0].startswith(f"{shard.name}/"))
    name, reason = next(of_it, (shard.name, "unreadable"))
    raise StreamBroken(
        f"no image of {shard.display_name} can be used, such as {name} ({reason}): get or write it again"
    )


def _shuffle(first: int, decoded: list[Decoded], plan: Plan, seed: int) -> Block:
    """Shuffle samples to a block, which has as many images as there are samples.

    The place of an image that cannot be used is taken by the next one that can. So positions depend on the number of
    samples alone, which is known before they are decoded, and a seek needs to decode nothing.
    """
    places = [place for place, (_, image) in enumerate(decoded) if not isinstance(image, str)]
    usable = [(sample, image.pixels) for sample, image in decoded if not isinstance(image, str)]
    if not usable:
        _refuse(plan.shards[decoded[0][0].shard], plan)
    order = np.searchsorted(places, indices(len(decoded), len(decoded), seed, 0))
    chosen = [usable[number % len(usable)] for number in order]
    pixels = np.stack([pixels for _, pixels in chosen])
    labels = np.array([sample.label for sample, _ in chosen], np.int64) if plan.labelled else None
    return Block(first, pixels, labels)
