"""What is new in a run's files since the last look: rows of metrics, events, samples."""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from equipoise.errors import UsageError
from equipoise.reading import open_plain
from equipoise.runs import jsonl
from equipoise.runs.numbered import images_of, numbered_files
from equipoise.runs.run import CONFIG, GRID
from equipoise.serving.catalogue import health_of


class Event(NamedTuple):
    """Something that a watcher is told.

    Attributes:
        kind: name of the event.
        data: in JSON.
        place: from which to go on after it, or "" where it has none.
    """

    kind: str
    data: dict[str, Any]
    place: str = ""


class Place(NamedTuple):
    """How far a run's files were read: bytes of metrics, bytes of events, images of the last sample grid.

    `read` is a hash of the last of these bytes, by which another run's files are told, which have come to be longer.
    """

    metrics: int = 0
    events: int = 0
    samples: int = -1
    read: str = ""

    def __str__(self) -> str:
        return f"{self.read}-{self.metrics}-{self.events}-{self.samples}"

    @classmethod
    def parse(cls, text: str) -> "Place | None":
        """A place from its text; None if it is no such text."""
        read, *parts = text.split("-", 3)
        try:
            metrics, events, samples = (int(part[:18]) for part in parts)
        except ValueError:
            return None
        return cls(metrics, events, samples, read) if min(metrics, events, samples + 1) >= 0 else None


def place_now(folder: Path) -> Place:
    """The end of a run's files as they stand."""
    samples = numbered_files(folder / "samples", GRID)
    sizes = [_signature(folder / name)[0] for name in NAMES]
    place = Place(sizes[0], sizes[1], images_of(samples[-1]) if samples else -1)
    return place._replace(read=_hash_read(folder, place))


class Follower:
    """Follows the files of one run, which another process writes, on this machine or another."""

    def __init__(self, folder: Path, place: Place, after: int = -1) -> None:
        """Follow a run.

        Args:
            folder: the run's.
            place: from which to read on.
            after: images seen, up to which rows are passed over.
        """
        self.folder, self.place, self.after = folder, place, after
        self._seen: list[tuple[int, int, int]] = []
        self._samples_changed = -1

    def look(self) -> Iterator[Event]:
        """What is new; `gone` while the run is.

        A run that went back, as on divergence, or was begun anew, has other bytes where it was read: then there is one
        event `rewound`, after which its rows have to be read again.
        """
        if not (self.folder / CONFIG).exists():
            yield Event("gone", {})
            return
        before = self.place
        seen = [_signature(self.folder / name) for name in NAMES]
        if seen != self._seen or [size for size, *_ in seen] != [before.metrics, before.events]:
            lines = self._lines()
            # Asked after reading, amidst which the files may have been replaced.
            if (before.metrics or before.events) and before.read != _hash_read(self.folder, before):
                self.place = place_now(self.folder)
                yield Event("rewound", {}, str(self.place))
                return
            self._seen = seen
            yield from lines
        yield from self._new_samples()

    def _lines(self) -> list[Event]:
        """New lines; what was read together is sent again together if the connection breaks amidst it."""
        found = []
        for field, name in zip(("metrics", "events"), NAMES, strict=True):
            start = getattr(self.place, field)
            try:
                rows, end = jsonl.read_on(self.folder / name, start)
            except UsageError:
                continue
            if end == start:
                continue
            read: dict[str, Any] = {field: end}
            place = self.place._replace(**read)
            self.place = place._replace(read=_hash_read(self.folder, place))
            rows = [row for row in rows if row["images"] > self.after]
            for row in rows:
                place_after = str(self.place) if row is rows[-1] else ""
                found.append(
                    Event("metrics", row, place_after)
                    if field == "metrics"
                    else Event("health", health_of(row), place_after)
                )
        return found

    def _new_samples(self) -> Iterator[Event]:
        try:
            changed = (self.folder / "samples").stat().st_mtime_ns
        except OSError:
            return
        if changed == self._samples_changed:
            return
        self._samples_changed = changed
        for path in numbered_files(self.folder / "samples", GRID):
            if images_of(path) > self.place.samples:
                self.place = self.place._replace(samples=images_of(path))
                yield Event("sample", {"images": images_of(path)}, str(self.place))


NAMES = ("metrics.jsonl", "events.jsonl")


TAIL = 64  # bytes of a file that are hashed: a line's last figures


def _signature(path: Path) -> tuple[int, int, int]:
    """Size, time of change and number of a file; zeros if there is none."""
    try:
        stat = path.stat()
    except OSError:
        return 0, 0, 0
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def _hash_read(folder: Path, place: Place) -> str:
    """A hash of the last bytes that were read up to a place."""
    read = hashlib.sha256()
    for name, end in zip(NAMES, (place.metrics, place.events), strict=True):
        with suppress(OSError), open_plain(folder / name) as file:
            file.seek(max(0, end - TAIL))
            read.update(file.read(min(end, TAIL)))
    return read.hexdigest()[:12]
