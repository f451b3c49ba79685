"""In which order a process reads its share of the shards: a pure function of seed, process and position.

An epoch's shards stand in an order keyed by the seed and the epoch. Each process is dealt as many whole shards as
every other; what is left over, fewer shards than there are processes, is read by all, sample i by process i mod size.
So within an epoch every sample belongs to exactly one process. A process reads several shards at a time, in lanes,
and takes one sample of each in turn.
"""

from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing
from typing import NamedTuple, Self

from equipoise.data.order import indices
from equipoise.data.shards.samples import Sample


class Part(NamedTuple):
    """The samples first, first + step, first + 2 step, .. of a shard."""

    shard: int
    first: int
    step: int

    def length(self, count: int) -> int:
        """How many these are of `count`."""
        return len(range(self.first, count, self.step))


def deal(shards: int, seed: int, epoch: int, rank: int, size: int) -> list[Part]:
    """Say what process `rank` of `size` reads of `shards` shards in an epoch, in order."""
    order = [int(number) for number in indices(shards, shards, seed, epoch * shards)]
    whole = shards // size * size
    return [Part(shard, 0, 1) for shard in order[rank:whole:size]] + [
        Part(shard, rank, size) for shard in order[whole:]
    ]


Read = Callable[[Part], Generator[Sample, None, None]]  # all samples of a part's shard
Known = Callable[[int], int | None]  # how many these are by the shard's number, if that is known


class Lane:
    """Parts read one after the other."""

    def __init__(self, parts: list[Part], read: Read, known: Known) -> None:
        self.parts, self.read, self.known = deque(parts), read, known
        self.passed = 0  # samples of the first part, while it is not open
        self.open: Generator[Sample, None, None] | None = None

    def next(self) -> Sample | None:
        """Give the next sample, or None at the end."""
        while self.parts:
            if self.open is None:
                self.open = self._opened(self.parts[0], self.passed)
            sample = next(self.open, None)
            if sample is not None:
                return sample
            self._drop()
        return None

    def advance(self, count: int) -> int:
        """Pass over `count` samples, or all that are left, and say how many; shards of known counts stay shut."""
        done = 0
        while done < count and self.parts:
            total = self.known(self.parts[0].shard)
            if self.open is None and total is not None:
                step = min(count - done, self.parts[0].length(total) - self.passed)
                self.passed += step
                done += step
                if done < count:
                    self._drop()
            elif self.next() is not None:
                done += 1
        return done

    def close(self) -> None:
        """Close what is open."""
        if self.open is not None:
            self.open.close()
            self.open = None

    def _drop(self) -> None:
        self.close()
        self.parts.popleft()
        self.passed = 0

    def _opened(self, part: Part, passed: int) -> Generator[Sample, None, None]:
        with closing(self.read(part)) as samples:
            for number, sample in enumerate(samples):
                place, other = divmod(number - part.first, part.step)
                if other == 0 and place >= passed:
                    yield sample


class Turns:
    """One sample of each lane in turn, until all are at their ends."""

    def __init__(self, parts: list[Part], lanes: int, read: Read, known: Known) -> None:
        self.lanes = deque(Lane(parts[lane::lanes], read, known) for lane in range(min(lanes, len(parts))))

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

    def advance(self, count: int) -> int:
        """Pass over `count` samples, or all that are left, and say how many."""
        left = count
        while left and self.lanes:
            rounds = left // len(self.lanes)
            if rounds:
                done = [lane.advance(rounds) for lane in self.lanes]
                left -= sum(done)
                self.lanes = deque(lane for lane, steps in zip(self.lanes, done, strict=True) if steps == rounds)
                continue
            lane = self.lanes.popleft()
            if lane.advance(1):
                self.lanes.append(lane)
                left -= 1
        return count - left

    def close(self) -> None:
        """Close all lanes."""
        for lane in self.lanes:
            lane.close()
