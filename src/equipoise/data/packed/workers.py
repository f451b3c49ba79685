"""Many images prepared on all cores, in order, of which few are in memory at any time."""

from array import array
from collections import Counter, deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from equipoise.data.decode import Pixels, Prepared, UnreadableError, prepare, quiet_pillow, upright_size, worker_count
from equipoise.data.framing import Framing
from equipoise.data.sizes import Size
from equipoise.data.sources import Contents
from equipoise.errors import UsageError, printable

ProgressCallback = Callable[[int, int], None]  # called with the number of images done, and of all
Result = TypeVar("Result")

CHUNK_BYTES = 2**20  # of images prepared by one thread at a time
NAMED = 3  # images named in a message
DARK_BITS = 14  # of values that look dark among those of 16 bits


@dataclass
class ReadReport:
    """Which images of a source could be read and which not, in their order.

    Attributes:
        readable: numbers of the images that could be read.
        digests: their content digests.
        sizes: how often each (width, height) occurs among them.
        modes: how often each of Pillow's pixel formats does.
        skipped: name and reason of the images that could not be read.
        deep: how many of them are gray, of 16 bits.
        peak: the largest value of those.
    """

    # Arrays, since lists of Python integers take five times the memory, for millions of images.
    readable: "array[int]" = field(default_factory=lambda: array("q"))
    digests: "array[int]" = field(default_factory=lambda: array("Q"))
    sizes: Counter[Size] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    deep: int = 0
    peak: int = 0

    def add(self, index: int, image: Prepared) -> None:
        """Count an image that could be read."""
        self.readable.append(index)
        self.digests.append(image.digest)
        self.sizes[image.size] += 1
        self.modes[image.mode] += 1
        if image.peak is not None:
            self.deep, self.peak = self.deep + 1, max(self.peak, image.peak)

    def skip(self, name: str, reason: str) -> None:
        """Note an image that could not be read."""
        self.skipped.append((printable(name), reason))

    @property
    def notes(self) -> list[str]:
        """What a user should know of the images that could be read, in sentences."""
        bits = self.peak.bit_length()
        if not self.deep or bits > DARK_BITS:
            return []
        return [
            f"the {self.deep:,} gray images of 16 bits reach no more than {self.peak:,} of 65,535, and come out dark: "
            f"if they hold {bits} bits, multiply their values by {2 ** (16 - bits):,}"
        ]

    def require_any(self, source: str) -> None:
        """Raise UsageError, with the reasons, if no image could be read."""
        if not self.readable:
            count = len(self.skipped)
            reasons = ", ".join(f"{name} ({reason})" for name, reason in self.skipped[:NAMED])
            more = f" and {count - NAMED} more" if count > NAMED else ""
            raise UsageError(
                f"none of the {count} images in {source} can be read: {reasons}{more}; replace or mend them"
            )


def prepare_all(
    contents: Contents,
    framing: Framing,
    append: Callable[[Pixels], None],
    progress: ProgressCallback | None = None,
    *,
    chunk_bytes: int = CHUNK_BYTES,
    workers: int | None = None,
) -> ReadReport:
    """Prepare every image that can be read.

    Args:
        contents: the images.
        framing: the shape to bring them to.
        append: called with the pixels (C, H, W) of each, in order, from this thread.
        progress: called with the number of images done, and of all.
        chunk_bytes: of images prepared by one thread at a time.
        workers: threads, one a core unless given; Pillow lets them run side by side.

    Raises:
        UsageError: the disk fails.
    """
    report = ReadReport()
    with closing(prepare_each(contents, framing, progress, chunk_bytes=chunk_bytes, workers=workers)) as images:
        for index, image in enumerate(images):
            if isinstance(image, str):
                report.skip(contents.names[index], image)
            else:
                append(image.pixels)
                report.add(index, image)
    return report


def prepare_each(
    contents: Contents,
    framing: Framing,
    progress: ProgressCallback | None = None,
    *,
    chunk_bytes: int = CHUNK_BYTES,
    workers: int | None = None,
) -> Generator[Prepared | str, None, None]:
    """Every image in order, as `prepare_all` takes them: prepared, or why it cannot be used.

    Raises:
        UsageError: the disk fails.
    """
    count = len(contents.names)
    # Small images are handed to threads in chunks, since handing over takes longer than decoding one.
    chunk = max(1, min(64, chunk_bytes // (framing.height * framing.width * (framing.channels or 3))))

    def prepare_one(index: int) -> Prepared | str:
        try:
            return prepare(partial(contents.read, index), framing)
        except UnreadableError as error:
            return str(error)

    def prepare_chunk(start: int) -> list[Prepared | str]:
        return [prepare_one(index) for index in range(start, min(start + chunk, count))]

    done = 0
    with quiet_pillow(), closing(_ordered_map(prepare_chunk, range(0, count, chunk), workers)) as chunks:
        for images in chunks:
            yield from images
            done += len(images)
            if progress is not None:
                progress(done, count)


def common_size(contents: Contents, source: str) -> Size:
    """(width, height) that all readable images share, by their heads; (1, 1) where none is readable.

    Raises:
        UsageError: they differ, or the disk fails.
    """

    def size(index: int) -> Size | None:
        try:
            return upright_size(partial(contents.read, index))
        except UnreadableError:
            return None  # packing skips it, and says why

    with quiet_pillow(), closing(_ordered_map(size, range(len(contents.names)))) as results:
        sizes = Counter(result for result in results if result is not None)
    if len(sizes) > 1:
        common = ", ".join(f"{width}x{height}" for (width, height), _ in sizes.most_common(NAMED))
        more = f" and {len(sizes) - NAMED} more" if len(sizes) > NAMED else ""
        raise UsageError(f"the images in {source} are of {len(sizes)} sizes, {common}{more}: give one by --resolution")
    return next(iter(sizes), (1, 1))


def _ordered_map(
    work: Callable[[int], Result], items: range, workers: int | None = None
) -> Generator[Result, None, None]:
    """Results of `work` in the order of `items`, computed ahead by three items a thread and no more.

    `Executor.map` would hold the results of all items that the reader has not come to.
    """
    workers = workers or worker_count()
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="equipoise-data") as pool:
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) >= 3 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:  # after an error, or where the reader has stopped early
            for future in pending:
                future.cancel()
