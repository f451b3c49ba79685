"""What is new in a run's files since the last look: rows of metrics, events, samples."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from equipoise.errors import UsageError
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
    """How far a run's files were read: bytes of metrics, bytes of events, images of the last sample grid."""

    metrics: int = 0
    events: int = 0
    samples: int = -1

    def __str__(self) -> str:
        return f"{self.metrics}-{self.events}-{self.samples}"

    @classmethod
    def parse(cls, text: str) -> "Place | None":
        """A place from its text; None if it is no such text."""
        parts = text.split("-", 2)
        try:
            place = cls(*(int(part[:20]) for part in parts))
        except (TypeError, ValueError):
            return None
        return place if len(parts) == 3 and min(place.metrics, place.events, place.samples + 1) >= 0 else None


def place_now(folder: Path) -> Place:
    """The end of a run's files as they stand."""
    samples = numbered_files(folder / "samples", GRID)
    sizes = [_size(folder / name) for name in ("metrics.jsonl", "events.jsonl")]
    return Place(sizes[0], sizes[1], images_of(samples[-1]) if samples else -1)


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
        self._samples_changed = -1

    def look(self) -> Iterator[Event]:
        """What is new; `gone` once the run is.

        A run that went back, as on divergence, or was begun anew, has shorter files: then there is one event `rewound`,
        after which its rows have to be read again.
        """
        if not (self.folder / CONFIG).exists():
            yield Event("gone", {})
            return
        if any(_size(self.folder / name) < at for name, at in zip(NAMES, self.place, strict=False)):
            self.place = place_now(self.folder)
            yield Event("rewound", {}, str(self.place))
            return
        yield from self._lines()
        yield from self._new_samples()

    def _lines(self) -> Iterator[Event]:
        for field, name in zip(("metrics", "events"), NAMES, strict=True):
            start = getattr(self.place, field)
            if _size(self.folder / name) == start:
                continue
            try:
                rows, end = jsonl.read_on(self.folder / name, start)
            except UsageError:
                continue
            rows = [row for row in rows if row["images"] > self.after]
            self.place = self.place._replace(**{field: end})
            for row in rows:
                # What was read together is sent again together if the connection breaks amidst it.
                place = str(self.place) if row is rows[-1] else ""
                yield Event("metrics", row, place) if field == "metrics" else Event("health", health_of(row), place)

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


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
