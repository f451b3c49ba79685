"""Prepare many images on all cores, in order, holding few of them at any time."""

import os
import warnings
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial

from equipoise.data.decode import Framing, Prepared, UnreadableError, prepare
from equipoise.data.sources import Contents

Progress = Callable[[int, int], None]  # called with how many images are done, and of how many
Outcome = Prepared | str  # an image, or why there is none

CHUNK_BYTES = 2**20  # of images prepared by one thread in one go
MOST_WORKERS = 16


def prepare_all(
    contents: Contents, framing: Framing, take: Callable[[int, Outcome], None], progress: Progress | None = None
) -> None:
    """Call `take` with every image's number and what became of it, in order, from this thread.

    Raises:
        UsageError: the disk fails.
    """
    count, chunk = len(contents.names), _chunk(framing)
    starts = range(0, count, chunk)

    def work(start: int) -> list[Outcome]:
        return [_outcome(contents, framing, index) for index in range(start, min(start + chunk, count))]

    with warnings.catch_warnings(), closing(_ordered(work, starts)) as done:
        warnings.filterwarnings("ignore", module="PIL")  # on single images: what matters comes as a reason
        for start, outcomes in zip(starts, done, strict=True):
            for index, outcome in enumerate(outcomes, start):
                take(index, outcome)
            if progress is not None:
                progress(start + len(outcomes), count)


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
