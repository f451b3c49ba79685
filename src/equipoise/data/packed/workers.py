"""Prepare many images on all cores, in order, holding few of them at any time."""

import os
import warnings
from array import array
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from equipoise.data.decode import Framing, Pixels, Prepared, UnreadableError, prepare, upright_size
from equipoise.data.sizes import Size
from equipoise.data.sources import Contents
from equipoise.errors import UsageError

ProgressCallback = Callable[[int, int], None]  # called with how many images are done, and of how many
Outcome = Prepared | str  # an image, or why there is none
Result = TypeVar("Result")

CHUNK_BYTES = 2**20  # of images prepared by one thread in one go
MOST_WORKERS = 16
NAMED = 3  # images named in a message


@dataclass
class Tally:
    """What became of images: the numbers of those kept, their digests, sizes and modes, and why others were skipped."""

    kept: "array[int]" = field(default_factory=lambda: array("q"))
    digests: "array[int]" = field(default_factory=lambda: array("Q"))
    sizes: Counter[Size] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def keep(self, index: int, image: Prepared) -> None:
        """Count an image that could be read."""
        self.kept.append(index)
        self.digests.append(image.digest)
        self.sizes[image.size] += 1
        self.modes[image.mode] += 1

    def skip(self, name: str, reason: str) -> None:
        """Note an image that could not be read."""
        self.skipped.append((shown(name), reason))

    def require_any(self, source: str) -> None:
        """Raise UsageError, which says why, if no image was kept."""
        if not self.kept:
            count = len(self.skipped)
            reasons = ", ".join(f"{name} ({reason})" for name, reason in self.skipped[:NAMED])
            more = f" and {count - NAMED} more" if count > NAMED else ""
            raise UsageError(f"none of the {count} images in {source} can be read: {reasons}{more}; write them again")


def shown(name: str) -> str:
    """Escape what a terminal would not show in a name."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


def prepare_all(
    contents: Contents, framing: Framing, take: Callable[[Pixels], None], progress: ProgressCallback | None = None
) -> Tally:
    """Call `take` with the pixels of every image that can be read, in order, from this thread.

    Raises:
        UsageError: the disk fails.
    """
    count, chunk, tally = len(contents.names), _chunk(framing), Tally()
    starts = range(0, count, chunk)

    def work(start: int) -> list[Outcome]:
        return [_outcome(contents, framing, index) for index in range(start, min(start + chunk, count))]

    with _quiet(), closing(_ordered(work, starts)) as done:
        for start, outcomes in zip(starts, done, strict=True):
            for index, outcome in enumerate(outcomes, start):
                if isinstance(outcome, str):
                    tally.skip(contents.names[index], outcome)
                else:
                    take(outcome.pixels)
                    tally.keep(index, outcome)
            if progress is not None:
                progress(start + len(outcomes), count)
    return tally


def only_size(contents: Contents, source: str) -> Size:
    """Find the size (width, height) that all readable images share, from their heads; where none is readable, (1, 1).

    Raises:
        UsageError: they differ, or the disk fails.
    """

    def size(index: int) -> Size | None:
        try:
            return upright_size(partial(contents.read, index))
        except UnreadableError:
            return None  # packing will skip it, and say why

    with _quiet(), closing(_ordered(size, range(len(contents.names)))) as found:
        sizes = Counter(one for one in found if one is not None)
    if len(sizes) > 1:
        common = ", ".join(f"{width}x{height}" for (width, height), _ in sizes.most_common(NAMED))
        more = f" and {len(sizes) - NAMED} more" if len(sizes) > NAMED else ""
        raise UsageError(f"the images in {source} are of {len(sizes)} sizes, {common}{more}: give one by --resolution")
    return next(iter(sizes), (1, 1))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Pillow's warnings on single images to itself: what matters comes as a reason."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


def _outcome(contents: Contents, framing: Framing, index: int) -> Outcome:
    try:
        return prepare(partial(contents.read, index), framing, contents.ground)
    except UnreadableError as error:
        return str(error)


def _ordered(work: Callable[[int], Result], starts: range) -> Generator[Result, None, None]:
    workers = min(MOST_WORKERS, _cores())
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="equipoise-data") as pool:
        try:
            for start in starts:
                pending.append(pool.submit(work, start))
                if len(pending) >= 3 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _chunk(framing: Framing) -> int:
    return max(1, min(64, CHUNK_BYTES // (framing.height * framing.width * (framing.channels or 3))))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
