"""The runs below a folder, and how each of them is: from the ends of its files, so that hundreds take seconds."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter

from equipoise.config.arguments import checked
from equipoise.errors import UsageError, reason
from equipoise.reading import check_name, parse_json
from equipoise.runs import jsonl
from equipoise.runs.checkpoint import CheckpointError, read_tensors
from equipoise.runs.lock import LOCK, locked_if_free
from equipoise.runs.numbered import images_of, numbered_files
from equipoise.runs.run import CHECKPOINT, CONFIG, Run

State = Literal["running", "finished", "interrupted", "diverged", "imported", "empty", "unreadable"]
CONVERGED = "converged"  # kind of the event with which a run ends by its scores, before its last image
LATEST = 10  # checkpoints and samples between which the speed is taken
SHORTEST = 1.0  # seconds between their times, in which files are copied rather than trained


@dataclass(frozen=True)
class RunStatus:
    """How a run is.

    Attributes:
        path: the run's folder.
        state: running (a living process holds its lock), finished, interrupted (`resume` goes on with it), diverged,
            imported (the weights of a generator from elsewhere), empty (it has no checkpoint), or unreadable.
        title: objective and data, such as "began on digits".
        images: seen by its last line of metrics if it is running, else by the checkpoint that `resume` goes on from.
        total: images to train on.
        images_per_second: over the last checkpoints and samples of its last process, by the times of these files; None
            where they do not tell.
        seconds_left: at that speed; None unless it is running.
        kid: the last that was logged.
        score: the sentence with which the training ended.
        health: kinds of the warnings and errors that stand, such as "mode-collapse"; empty if there are none.
        note: a sentence on what is wrong with the folder, or "".
    """

    path: Path
    state: State
    title: str = ""
    images: int = 0
    total: int = 0
    images_per_second: float | None = None
    seconds_left: float | None = None
    kid: float | None = None
    score: str | None = None
    health: tuple[str, ...] = ()
    note: str = ""


class _Plateau(BaseModel):
    converged: bool = False


class _Facts(BaseModel):
    """What a status needs of a checkpoint's facts."""

    plateau: _Plateau = _Plateau()
    imported: bool = False


FACTS = TypeAdapter(_Facts)


@checked
def list_runs(path: Path | str = "runs") -> list[RunStatus]:
    """How every run in the folder `path` is, itself and nested folders included, in the order of their names.

    Folders that are no runs are passed over, and symbolic links not followed; a damaged run is listed as unreadable,
    with a note that says why.

    Raises:
        UsageError: there is no such folder, or it may not be read.
    """
    return [read_status(folder) for folder in find_runs(path)]


def find_runs(path: Path | str) -> Iterator[Path]:
    """Folders of runs in `path`: those with a config.yaml and what a run writes beside it, or with our checkpoints.

    Raises:
        UsageError: as `list_runs`.
    """
    check_name(path)
    try:
        os.scandir(path).close()
    except OSError as error:
        raise UsageError(f"cannot list the runs in {path}: {reason(error)}; give the folder that holds them") from error
    for place, folders, names in os.walk(path):
        folders.sort()
        folder = Path(place)
        begun = CONFIG in names and not {LOCK, "metrics.jsonl"}.isdisjoint(names)
        if begun or ("checkpoints" in folders and numbered_files(folder / "checkpoints", CHECKPOINT)):
            folders[:] = [name for name in folders if name not in ("checkpoints", "samples")]
            yield folder


def read_status(folder: Path, open_run: Callable[[Path], Run] = Run.open) -> RunStatus:
    """How the run in `folder` is, opened by `open_run`; nothing in it is changed."""
    with locked_if_free(folder) as free:
        pass  # let go at once: a process that wants to go on with the run must not be refused
    try:
        return _status(open_run(folder), free)
    except UsageError as error:
        return RunStatus(folder, "running" if free is False else "unreadable", note=str(error))


def _status(run: Run, free: bool | None) -> RunStatus:
    rows, events = (jsonl.read_end(run.path / name) for name in ("metrics.jsonl", "events.jsonl"))
    running, note = free is False, "" if free is not None else "whether a process trains it cannot be told"
    checkpoint, damage = _newest_checkpoint(run)
    images = images_of(checkpoint[0]) if checkpoint else 0
    if running and rows:
        images = rows[-1]["images"]
    health = standing(events)
    state: State = "interrupted"
    if running:
        state = "running"
    elif checkpoint is None:
        state = "unreadable" if damage else "empty"
    elif checkpoint[1].imported:
        state = "imported"
    elif images >= run.config.images or _has_converged(run, checkpoint[1], images, events):
        state = "finished"
    elif any(event["level"] == "error" and kind != "data" for kind, event in health.items()):
        state = "diverged"

    speed = _speed(run, rows[-1:] if running else [])
    scores = [row["message"] for row in events if row["kind"] == "score" and row["images"] == images]
    return RunStatus(
        run.path,
        state,
        f"{run.config.objective_name} on {run.config.data}",
        images,
        run.config.images,
        speed,
        max(0, run.config.images - images) / speed if running and speed else None,
        next((row["kid"] for row in reversed(rows) if "kid" in row), None),
        scores[-1] if scores and state == "finished" else None,
        tuple(health),
        "; ".join(filter(None, [note, damage])),
    )


def converged_after(run: Run) -> int | None:
    """Images after which a run that was to stop once converged has converged; None where it has not, or need not."""
    checkpoint, _ = _newest_checkpoint(run)
    if checkpoint is None:
        return None
    images = images_of(checkpoint[0])
    return images if _has_converged(run, checkpoint[1], images, jsonl.read_end(run.path / "events.jsonl")) else None


def _has_converged(run: Run, facts: _Facts, images: int, events: Sequence[dict[str, Any]]) -> bool:
    stalled = any(row["kind"] == CONVERGED and row["images"] == images for row in events)
    return run.config.until_converged and (facts.plateau.converged or stalled)


def _newest_checkpoint(run: Run) -> tuple[tuple[Path, _Facts] | None, str]:
    """The newest checkpoint that is whole, as far as its size tells, with its facts; and why a newer one is not."""
    damage, folder = "", run.path / "checkpoints"
    try:
        if os.path.lexists(folder):
            os.scandir(folder).close()
    except OSError as error:
        damage = f"cannot read {folder}: {reason(error)}"
    for path in reversed(run.checkpoints()):
        try:
            facts = parse_json(FACTS, read_tensors(path, metadata_only=True)[1].get("facts", ""))
        except CheckpointError as error:
            damage = damage or str(error)
        except ValueError:
            damage = damage or f"{path} is no checkpoint: its facts cannot be read"
        else:
            return (path, facts), damage
    return None, damage


def standing(events: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of the warnings and errors that no later event takes back, the latest event by its kind."""
    found: dict[str, dict[str, Any]] = {}
    for event in events:
        kind = event["kind"]
        if kind == "resumed":  # after what had ended the process
            found = {name: event for name, event in found.items() if event["level"] != "error"}
        elif event["level"] in ("warning", "error"):
            found[kind] = event
        else:
            found.pop(kind, None)
    return found


def _speed(run: Run, last_row: Sequence[dict[str, Any]]) -> float | None:
    """Images a second between the latest files of the last process, which wrote its name into LOCK when it began."""
    points: list[tuple[float, int]] = []  # seconds, images
    with suppress(OSError):  # a file that is deleted meanwhile
        began = (run.path / LOCK).stat().st_mtime
        latest = [*run.checkpoints()[-LATEST:], *run.samples()[-LATEST:]]
        points = [(path.stat().st_mtime, images_of(path)) for path in latest]
        points += [((run.path / "metrics.jsonl").stat().st_mtime, row["images"]) for row in last_row]
        points = sorted(point for point in points if point[0] >= began)
    if len(points) < 2 or points[-1][0] - points[0][0] < SHORTEST:
        return None
    (start, first), (end, last) = points[0], points[-1]
    return (last - first) / (end - start) if last > first else None
