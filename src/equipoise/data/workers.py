"""Prepare many images on all cores, in order, holding few of them at any time."""

import os
import warnings
from collections import Counter, deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

from equipoise.data.decode import Framing, Pixels, Prepared, UnreadableError, prepare
from equipoise.data.sizes import Size
from equipoise.data.sources import Contents
from equipoise.errors import UsageError

Progress = Callable[[int, int], None]  # called with how many images are done, and of how many
Outcome = Prepared | str  # an image, or why there is none

CHUNK_BYTES = 2**20  # of images prepared by one thread in one go
MOST_WORKERS = 16
NAMED = 3  # images named in a message


@dataclass
class Tally:
    """What became of images: the numbers of those kept, their sizes and modes, and why others were skipped."""

    kept: list[int] = field(default_factory=list)
    sizes: Counter[Size] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def keep(self, index: int, image: Prepared) -> None:
        """Count an image that could be read."""
        self.kept.append(index)
        self.sizes[image.size] += 1
        self.modes[image.mode] += 1

    def skip(self, name: str, reason: str) -> None:
        """Note an image that could not be read; what a terminal would not show in its name is escaped."""
        self.skipped.append(("".join(c if c.isprintable() else ascii(c)[1:-1] for c in name), reason))

    def require_any(self, source: str) -> None:
        """Raise UsageError, which says why, if no image was kept."""
        if not self.kept:
            count = len(self.skipped)
            reasons = ", ".join(f"{name} ({reason})" for name, reason in self.skipped[:NAMED])
            more = f" and {count - NAMED} more" if count > NAMED else ""
            raise UsageError(f"none of the {count} images in {source} can be read: {reasons}{more}; write them again")


def prepare_all(
    contents: Contents, framing: Framing, take: Callable[[Pixels], None], progress: Progress | None = None
) -> Tally:
    """Call `take` with the pixels of every image that can be read, in order, from this thread.

    Raises:
        UsageError: the disk fails.
    """
    count, chunk, tally = len(contents.names), _chunk(framing), Tally()
    starts = range(0, count, chunk)

    def work(start: int) -> list[Outcome]:
        return [_outcome(contents, framing, index) for index in range(start, min(start + chunk, count))]

    with warnings.catch_warnings(), closing(_ordered(work, starts)) as done:
        warnings.filterwarnings("ignore", module="PIL")  # on single images: what matters comes as a reason
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


def _outcome(contents: Contents, framing: Framing, index: int) -> Outcome:
    try:
        return prepare(partial(contents.open, index), framing, contents.ground)
    except UnreadableError as error:
        return str(error)


def _ordered(work: Callable[[int], list[Outcome]], starts: range) -> Generator[list[Outcome], None, None]:
    workers = min(MOST_WORKERS, _cores())
    pending: deque[Future[list[Outcome]]] = deque()
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
