"""Shards named by a brace pattern, such as `faces-{000..127}.tar` or `https://host/faces-{000..127}.tar`."""

import math
import os
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from threading import Event
from typing import BinaryIO, cast

from braceexpand import braceexpand

from equipoise.data.shards.broken import StreamBroken
from equipoise.data.shards.fetch import Download, FileStamp, RetryPolicy, redacted, request_stamp
from equipoise.data.shards.tar import DamagedTarError, Tar
from equipoise.data.sources.base import source_errors
from equipoise.data.sources.cifar import BATCH
from equipoise.errors import UsageError
from equipoise.reading import expand_home

MAX_SHARDS = 100_000
PARALLEL_REQUESTS = 16  # for the sizes of shards
PEEKED = 16  # members looked at to tell CIFAR's archive from a shard
TARS = (".tar", ".tar.gz", ".tgz")
RANGE = re.compile(r"\{(-?\d{1,18}|[A-Za-z])\.\.(-?\d{1,18}|[A-Za-z])(?:\.\.-?\d{1,18})?\}")


@dataclass(frozen=True)
class Shard:
    """One archive.

    Attributes:
        place: its path or URL.
        size: in bytes; None where its server does not give it.
        version: changes when the content does, as far as that can be told without reading.
    """

    place: str
    size: int | None
    version: str

    @property
    def name(self) -> str:
        """The file's name alone."""
        return PurePosixPath(self.display_name).name if is_url(self.place) else Path(self.place).name

    @property
    def display_name(self) -> str:
        """Path or URL for messages, without what may be secret."""
        return redacted(self.place) if is_url(self.place) else self.place


def is_url(place: str) -> bool:
    """Whether this is a URL that can be read."""
    return place.lower().startswith(("http://", "https://"))


def is_stream(data: str) -> bool:
    """Whether `data` names shards: a URL or brace pattern of .tar or .tar.gz, or one such file that is not CIFAR's."""
    if is_url(data):
        return True
    if not data.lower().endswith(TARS):
        return False
    path = expand_home(data)
    if not is_file(path):
        return "{" in data
    try:
        with path.open("rb") as file:
            members = (member for member, _ in zip(Tar(file).members(), range(PEEKED), strict=False))
            return not any(BATCH.fullmatch(PurePosixPath(member.name).name) for member in members)
    except (OSError, DamagedTarError):
        return True  # reading it as a shard gives the reason


def is_file(path: Path) -> bool:
    """Whether there is such a file: of a name that is too long, as a list in braces may be, there is none."""
    return os.path.isfile(path)  # noqa: PTH113  # where Path's own raises OSError


def expand(pattern: str) -> list[str]:
    """Paths or URLs that a brace pattern stands for; a file whose name has braces itself stands for itself.

    Raises:
        UsageError: braces do not match, or there would be more than MAX_SHARDS.
    """
    if not is_url(pattern) and is_file(expand_home(pattern)):
        return [str(expand_home(pattern))]
    # Bounded before it is expanded, for a few characters can stand for more names than there is memory. This is no
    # fewer than the names: the product of all ranges, of all lists and, if braces are nested, of all commas.
    ranges = [_range_length(*match.groups()) for match in RANGE.finditer(pattern)]
    lists = [match[0].count(",") + 1 for match in re.finditer(r"\{[^{}]*,[^{}]*\}", pattern)]
    nested = pattern.count(",") + 1 if re.search(r"\{[^}]*\{", pattern) else 1
    if math.prod(ranges) * math.prod(lists) * nested > MAX_SHARDS:
        raise UsageError(f"{pattern} stands for more than {MAX_SHARDS:,} shards: correct its braces")
    try:
        places = list(braceexpand(pattern, escape=False))
    except ValueError as error:
        raise UsageError(f"the braces of {pattern} do not match: write it like shard-{{000..127}}.tar") from error
    (frequent, times), *_ = Counter(places).most_common(1)
    if times > 1:
        raise UsageError(f"{pattern} names {frequent} {times} times: correct its braces")
    return [place if is_url(place) else str(expand_home(place)) for place in places]


def _range_length(first: str, last: str) -> int:
    """Length of {first..last}: of numbers, or else of letters, of which there are 52 at most."""
    if first.lstrip("-").isdigit() and last.lstrip("-").isdigit():
        return abs(int(first) - int(last)) + 1
    return 52


def find_shards(pattern: str, retry: RetryPolicy) -> list[Shard]:
    """All shards of a pattern, in its order.

    Raises:
        UsageError: the pattern is none, or a shard is not there or may not be read.
    """
    places, stop = expand(pattern), Event()
    retry = replace(retry, stop=stop)

    def find(place: str) -> Shard:
        if is_url(place):
            stamp = request_stamp(place, retry)
            return Shard(place, stamp.size, stamp.version)
        path = Path(place)
        if not path.is_file():
            what = f"is no file, one of the {len(places):,} shards of {pattern}" if len(places) > 1 else "is no file"
            raise UsageError(f"{place} {what}: check the path and its braces")
        with source_errors(path):
            path.open("rb").close()
            stat = path.stat()
        return Shard(place, stat.st_size, str(stat.st_mtime_ns))

    with ThreadPoolExecutor(PARALLEL_REQUESTS, thread_name_prefix="equipoise-shards") as pool:
        try:
            return list(pool.map(find, places))
        finally:
            stop.set()  # where one is missing, or after Ctrl-C, the others give up
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def open_shard(shard: Shard, retry: RetryPolicy) -> Iterator[Tar]:
    """Open a shard for one pass.

    Raises:
        StreamBroken: it cannot be read, at any time while this lasts; the message says where and what to do.
    """
    try:
        with _open_file(shard, retry) as file:
            yield Tar(file)
    except DamagedTarError as error:
        raise StreamBroken(
            f"{shard.display_name} {error}: get or write it again, or leave it out of the pattern in a new run"
        ) from error
    except StreamBroken:
        raise
    except OSError as error:
        raise StreamBroken(
            f"cannot read {shard.display_name} ({error.strerror or error}): bring it back, then resume"
        ) from error


def _open_file(shard: Shard, retry: RetryPolicy) -> BinaryIO:
    stamp = FileStamp(shard.size, shard.version)
    if is_url(shard.place):
        return cast(BinaryIO, Download(shard.place, retry, stamp))
    path = Path(shard.place)
    if stamp.contradicts(FileStamp(path.stat().st_size, str(path.stat().st_mtime_ns))):
        raise StreamBroken(
            f"{shard.display_name} has changed since the run began: bring the old file back, or start a new run"
        )
    return path.open("rb")
