"""The order in which a process reads its share of the shards: a pure function of seed, process and position.

In an epoch, the shards stand in an order keyed by the seed and the epoch. Each process is assigned as many whole shards
as every other; the remainder, fewer shards than there are processes, is read by all, sample i by process i mod size.
So in an epoch every sample belongs to exactly one process, and no process needs to know what another has read. A
process reads several shards side by side, in lanes, and takes one sample of each in turn: samples that were written
one after the other come apart, while every file is still read from front to back.
"""

from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing
from typing import NamedTuple, Self

from equipoise.data.order import indices
from equipoise.data.shards.samples import Sample


class ShardSlice(NamedTuple):
    """The samples first, first + step, first + 2 step, .. of a shard."""

    shard: int
    first: int
    step: int

    def length(self, count: int) -> int:
        """Number of these samples, where the shard has `count`."""
        return len(range(self.first, count, self.step))


def assign_shards(shards: int, seed: int, epoch: int, rank: int, size: int) -> list[ShardSlice]:
    """Slices that process `rank` of `size` reads of `shards` shards in an epoch, in order."""
    order = [int(number) for number in indices(shards, shards, seed, epoch * shards)]
    whole = shards // size * size
    return [ShardSlice(shard, 0, 1) for shard in order[rank:whole:size]] + [
        ShardSlice(shard, rank, size) for shard in order[whole:]
    ]


Reader = Callable[[ShardSlice], Generator[Sample, None, None]]  # all samples of a slice's shard
KnownCount = Callable[[int], int | None]  # number of samples by the shard's number, if it is known


class Lane:
    """Slices of shards read one after the other."""

    def __init__(self, slices: list[ShardSlice], read: Reader, known_count: KnownCount) -> None:
        self.slices, self.read, self.known_count = deque(slices), read, known_count
        self.skipped = 0  # samples of the first slice, while it is not open
        self.samples: Generator[Sample, None, None] | None = None  # of the first slice, once it is open

    def next(self) -> Sample | None:
        """The next sample, or None at the end."""
        while self.slices:
            if self.samples is None:
                self.samples = self._open(self.slices[0], self.skipped)
            sample = next(self.samples, None)
            if sample is not None:
                return sample
            self._drop_first()
        return None

    def skip(self, count: int) -> int:
        """Skip `count` samples, or all that are left; return how many these were.

        Shards whose counts are known are not even opened, which is what makes resuming quick.
        """
        done = 0
        while done < count and self.slices:
            total = self.known_count(self.slices[0].shard)
            if self.samples is None and total is not None:
                step = min(count - done, self.slices[0].length(total) - self.skipped)
                self.skipped += step
                done += step
                if done < count:
                    self._drop_first()
            elif self.next() is not None:
                done += 1
        return done

    def close(self) -> None:
        """Close the shard that is open."""
        if self.samples is not None:
            self.samples.close()
            self.samples = None

    def _drop_first(self) -> None:
        self.close()
        self.slices.popleft()
        self.skipped = 0

    def _open(self, part: ShardSlice, skipped: int) -> Generator[Sample, None, None]:
        with closing(self.read(part)) as samples:
            for number, sample in enumerate(samples):
                place, remainder = divmod(number - part.first, part.step)
                if remainder == 0 and place >= skipped:
                    yield sample


class Interleaver:
    """One sample of each lane in turn, until all lanes are at their ends."""

    def __init__(self, slices: list[ShardSlice], lanes: int, read: Reader, known_count: KnownCount) -> None:
        self.lanes = deque(Lane(slices[lane::lanes], read, known_count) for lane in range(min(lanes, len(slices))))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Sample:
        while self.lanes:
            lane = self.lanes[0]
            sample = lane.next()
            if sample is not None:
                self.lanes.rotate(-1)
                return sample
            self.lanes.popleft()
        raise StopIteration

    def skip(self, count: int) -> int:
        """Skip `count` samples, or all that are left; return how many these were."""
        left = count
        while left and self.lanes:
            rounds = left // len(self.lanes)
            if rounds:  # whole rounds are the same number of samples from every lane
                done = [lane.skip(rounds) for lane in self.lanes]
                left -= sum(done)
                self.lanes = deque(lane for lane, steps in zip(self.lanes, done, strict=True) if steps == rounds)
                continue
            lane = self.lanes.popleft()
            if lane.skip(1):
                self.lanes.append(lane)
                left -= 1
        return count - left

    def close(self) -> None:
        """Close all lanes."""
        for lane in self.lanes:
            lane.close()
