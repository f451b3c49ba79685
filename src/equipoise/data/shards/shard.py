"""Shards by a brace pattern, such as `faces-{000..127}.tar` or `https://host/faces-{000..127}.tar`: which there are."""

import math
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
from equipoise.data.shards.fetch import Download, Facts, Patience, ask, changed, shown
from equipoise.data.shards.tar import DamagedTarError, Tar
from equipoise.data.sources.base import reading
from equipoise.data.sources.cifar import BATCH
from equipoise.errors import UsageError

MOST_SHARDS = 100_000
ASKED_TOGETHER = 16  # shards whose sizes are asked for at the same time
PEEKED = 16  # members looked at to tell CIFAR's archive from a shard
TARS = (".tar", ".tar.gz", ".tgz")
RANGE = re.compile(r"\{(-?\d{1,18}|[A-Za-z])\.\.(-?\d{1,18}|[A-Za-z])(?:\.\.-?\d{1,18})?\}")


@dataclass(frozen=True)
class Shard:
    """One archive.

    Attributes:
        place: its path or URL.
        size: in bytes; None where a server does not tell.
        version: changes when the content does, as far as that can be told without reading.
    """

    place: str
    size: int | None
    version: str

    @property
    def name(self) -> str:
        """The file's name alone."""
        return PurePosixPath(self.shown).name if is_url(self.place) else Path(self.place).name

    @property
    def shown(self) -> str:
        """What to call it in messages."""
        return shown(self.place) if is_url(self.place) else self.place


def is_url(place: str) -> bool:
    """Whether this is a URL that can be read."""
    return place.lower().startswith(("http://", "https://"))


def is_stream(data: str) -> bool:
    """Whether `data` names shards: a URL or brace pattern of .tar or .tar.gz, or one such file that is not CIFAR's."""
    if is_url(data):
        return True
    if not data.lower().endswith(TARS):
        return False
    path = Path(data).expanduser()
    return not _is_cifar(path) if path.is_file() else "{" in data


def expand(pattern: str) -> list[str]:
    """Expand the braces of a pattern; a file whose name has braces itself stands for itself.

    Raises:
        UsageError: braces do not match, or there would be more than MOST_SHARDS.
    """
    if not is_url(pattern) and Path(pattern).expanduser().is_file():
        return [str(Path(pattern).expanduser())]
    if _upper_bound(pattern) > MOST_SHARDS:
        raise UsageError(f"{pattern} stands for more than {MOST_SHARDS:,} shards: correct its braces")
    try:
        places = list(braceexpand(pattern, escape=False))
    except ValueError as error:
        raise UsageError(f"the braces of {pattern} do not match: write it like shard-{{000..127}}.tar") from error
    (frequent, times), *_ = Counter(places).most_common(1)
    if times > 1:
        raise UsageError(f"{pattern} names {frequent} {times} times: correct its braces")
    return [place if is_url(place) else str(Path(place).expanduser()) for place in places]


def find_shards(pattern: str, patience: Patience) -> list[Shard]:
    """Find every shard of a pattern, in its order.

    Raises:
        UsageError: the pattern is none, or a shard is not there or may not be read.
    """
    places, stop = expand(pattern), Event()
    patience = replace(patience, stop=stop)

    def find(place: str) -> Shard:
        if not is_url(place):
            return _find_local(place, pattern, len(places))
        facts = ask(place, patience)
        return Shard(place, facts.size, facts.version)

    with ThreadPoolExecutor(ASKED_TOGETHER, thread_name_prefix="equipoise-shards") as pool:
        try:
            return list(pool.map(find, places))
        finally:
            stop.set()  # where one is missing, or the user has had enough, the others give up
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def opened(shard: Shard, patience: Patience) -> Iterator[Tar]:
    """Open a shard for one pass.

    Raises:
        StreamBroken: it cannot be read, at any time while this lasts; the message says where and what to do.
    """
    try:
        with _file(shard, patience) as file:
            yield Tar(file)
    except DamagedTarError as error:
        raise StreamBroken(
            f"{shard.shown} {error}: get or write it again, or leave it out of the pattern in a new run"
        ) from error
    except StreamBroken:
        raise
    except OSError as error:
        raise StreamBroken(
            f"cannot read {shard.shown} ({error.strerror or error}): bring it back, then resume"
        ) from error


def _file(shard: Shard, patience: Patience) -> BinaryIO:
    if is_url(shard.place):
        return cast(BinaryIO, Download(shard.place, patience, Facts(shard.size, shard.version)))
    path = Path(shard.place)
    if changed(Facts(shard.size, shard.version), Facts(path.stat().st_size, str(path.stat().st_mtime_ns))):
        raise StreamBroken(
            f"{shard.shown} has changed since the run began: bring the old file back, or start a new run"
        )
    return path.open("rb")


def _find_local(place: str, pattern: str, count: int) -> Shard:
    path = Path(place)
    if not path.is_file():
        what = f"is no file, one of the {count:,} shards of {pattern}" if count > 1 else "is no file"
        raise UsageError(f"{place} {what}: check the path and its braces")
    with reading(path):
        path.open("rb").close()
        stat = path.stat()
    return Shard(place, stat.st_size, str(stat.st_mtime_ns))


def _upper_bound(pattern: str) -> int:
    """No fewer than the names that a pattern expands to, without expanding it."""
    ranges = [_length(*match.groups()) for match in RANGE.finditer(pattern)]
    lists = [match[0].count(",") + 1 for match in re.finditer(r"\{[^{}]*,[^{}]*\}", pattern)]
    nested = pattern.count(",") + 1 if re.search(r"\{[^}]*\{", pattern) else 1
    return math.prod(ranges) * math.prod(lists) * nested


def _length(first: str, last: str) -> int:
    if first.lstrip("-").isdigit() and last.lstrip("-").isdigit():
        return abs(int(first) - int(last)) + 1
    return 52


def _is_cifar(path: Path) -> bool:
    """Whether one of an archive's first members is a batch of CIFAR."""
    try:
        with path.open("rb") as file:
            members = (member for member, _ in zip(Tar(file).members(), range(PEEKED), strict=False))
            return any(BATCH.fullmatch(PurePosixPath(member.name).name) for member in members)
    except (OSError, DamagedTarError):
        return False
