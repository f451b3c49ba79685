"""The runs that are served, by ids from which no path can be made."""

import hashlib
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter

from equipoise.errors import UsageError, printable
from equipoise.reading import parse_json
from equipoise.runs import jsonl
from equipoise.runs.checkpoint import CheckpointError, read_tensors
from equipoise.runs.listing import RunStatus, find_runs, read_status, standing
from equipoise.runs.lock import LOCK
from equipoise.runs.run import CONFIG, Run
from equipoise.serving.refusal import Refusal

SCAN_SECONDS = 1.0  # between two looks for new runs
ID_DIGITS = 12
LOOKED_AT = (CONFIG, "metrics.jsonl", "events.jsonl", LOCK, "checkpoints", "samples")  # what tells that a run changed

Signature = tuple[tuple[int, int] | None, ...]


class Traits(BaseModel):
    """What a checkpoint's facts say of the images.

    Attributes:
        shape: (C, H, W).
        classes: in the data.
        imported: whether the weights came from elsewhere: then there is no discriminator.
    """

    shape: tuple[int, int, int]
    classes: int = 0
    imported: bool = False


TRAITS = TypeAdapter(Traits)


@dataclass
class Entry:
    """A run in the catalogue, and what was read of it."""

    id: str
    folder: Path
    name: str
    signature: Signature = ()
    status: dict[str, Any] = field(default_factory=dict)
    run: Run | None = None
    config_signature: Signature = ()
    traits: tuple[Traits, bool] | None = None  # and whether the discriminator is an autoencoder
    lock: threading.RLock = field(default_factory=threading.RLock)


class Catalogue:
    """Finds runs below some folders, and reads how they are; safe in any thread.

    Args:
        roots: runs, and folders of runs.

    Raises:
        UsageError: one of them is not there, or may not be read.
    """

    def __init__(self, roots: tuple[Path, ...]) -> None:
        self.roots = roots
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._scanned = -SCAN_SECONDS
        self._scan()

    def entries(self) -> Mapping[str, Entry]:
        """All runs by id, as they were a second ago at most."""
        with self._lock:
            if time.monotonic() - self._scanned >= SCAN_SECONDS:
                try:
                    self._scan()
                except UsageError:  # the folder has gone, with all that it held
                    self._entries = {}
                self._scanned = time.monotonic()
            return self._entries

    def _scan(self) -> None:
        found = {}
        for root in self.roots:
            for folder in find_runs(root):
                run_id = id_of(folder)
                name = printable(str(folder.relative_to(root)) if folder != root else folder.resolve().name)
                found[run_id] = self._entries.get(run_id) or Entry(run_id, folder, name)
        self._entries = found

    def entry(self, run_id: str) -> Entry:
        """The run of that id.

        Raises:
            Refusal: there is none, or there is no longer.
        """
        entry = self.entries().get(run_id)
        if entry is None or not (entry.folder / CONFIG).exists():
            raise Refusal(404, "there is no run of this id: GET /api/v1/runs lists them")
        return entry

    def run(self, run_id: str) -> Run:
        """The run of that id, opened.

        Raises:
            Refusal: there is none.
            UsageError: its configuration cannot be read.
        """
        entry = self.entry(run_id)
        signature = _signature(entry.folder, (CONFIG,))
        with entry.lock:
            if entry.run is None or signature != entry.config_signature:
                try:
                    entry.run, entry.config_signature, entry.traits = Run.open(entry.folder), signature, None
                except UsageError:
                    self.entry(run_id)  # it may be deleted just now
                    raise
            return entry.run

    def traits(self, run_id: str) -> tuple[Traits, bool] | None:
        """Shape and classes of a run's images, and whether its discriminator encodes; None before a checkpoint."""
        entry = self.entry(run_id)
        run = self.run(run_id)
        with entry.lock:
            entry.traits = entry.traits or _read_traits(run)
            return entry.traits

    def status(self, run_id: str) -> dict[str, Any]:
        """How a run is, as JSON.

        Raises:
            Refusal: there is none.
        """
        entry = self.entry(run_id)
        with entry.lock:
            signature = _signature(entry.folder, LOOKED_AT)
            # That a process no longer holds a run's lock shows in no file's time.
            if signature != entry.signature or entry.status.get("state") == "running":
                entry.status = {"id": run_id, "name": entry.name, **self._read_status(entry)}
                entry.signature = signature
            return entry.status

    def statuses(self) -> list[dict[str, Any]]:
        """How all runs are, by name."""
        found = []
        for run_id in list(self.entries()):
            try:
                found.append(self.status(run_id))
            except Refusal:  # deleted meanwhile
                continue
        return sorted(found, key=lambda status: str(status["name"]))

    def newest(self, statuses: list[dict[str, Any]]) -> str | None:
        """Id of the run that was begun or resumed last, of those that run if any does."""
        running = [status for status in statuses if status["state"] == "running"] or statuses
        entries = self.entries()
        begun = {status["id"]: _begun(entries[status["id"]].folder) for status in running if status["id"] in entries}
        return max(begun, key=lambda run_id: begun[run_id], default=None)

    def _read_status(self, entry: Entry) -> dict[str, Any]:
        status = read_status(entry.folder, lambda _: self.run(entry.id))
        config, traits = None, None
        with suppress(UsageError, Refusal):  # which the status says in its own words
            config, traits = self.run(entry.id).config, self.traits(entry.id)
        toy = bool(config and config.toy)
        generates = bool(traits and config and not toy and not config.tasks.inpaint)
        return {
            **_plain(status),
            "health": _health(entry.folder),
            "toy": toy,
            "classes": traits[0].classes if traits and config and config.tasks.classify else 0,
            "can": {
                "generate": generates,
                "encode": generates,
                "reconstruct": bool(generates and traits and traits[1]),
                "nearest": bool(generates and traits and not traits[0].imported),
            },
        }


def id_of(folder: Path) -> str:
    """The id of the run in a folder: the same for the same place, and nothing that leads back to it."""
    return hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:ID_DIGITS]


def _plain(status: RunStatus) -> dict[str, Any]:
    return {name: value for name, value in asdict(status).items() if name not in ("path", "health")}


def _health(folder: Path) -> list[dict[str, Any]]:
    """What is wrong with a run: evidence, meaning and remedy."""
    try:
        events = standing(jsonl.read_end(folder / "events.jsonl"))
    except UsageError:
        return []
    return [health_of(event) for event in events.values()]


def health_of(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event as a finding in words: its parts, or all of its sentence as evidence where it has none."""
    parts = {"evidence": event["message"], "meaning": "", "remedy": ""}
    return {**parts, **event}


def _read_traits(run: Run) -> tuple[Traits, bool] | None:
    for path in reversed(run.checkpoints()):
        try:
            traits = parse_json(TRAITS, read_tensors(path, metadata_only=True)[1].get("facts", ""))
        except (CheckpointError, ValueError):
            continue
        return traits, run.config.network.codes > 0 and not traits.imported
    return None


def _signature(folder: Path, names: tuple[str, ...]) -> Signature:
    """Sizes and times of change of some files of a folder; None for one that is not there."""
    found: list[tuple[int, int] | None] = []
    for name in names:
        try:
            stat = (folder / name).stat()
        except OSError:
            found.append(None)
        else:
            found.append((stat.st_size, stat.st_mtime_ns))
    return tuple(found)


def _begun(folder: Path) -> int:
    """When a process last began to write into a run, or it was made, in nanoseconds."""
    signature = _signature(folder, (LOCK, CONFIG))
    return max((entry[1] for entry in signature if entry), default=0)
