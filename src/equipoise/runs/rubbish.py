"""What may be deleted among runs: what a killed process left half-written, and runs that never got anywhere."""

import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from equipoise.errors import UsageError, reason
from equipoise.runs import jsonl
from equipoise.runs.files import leftovers
from equipoise.runs.listing import find_runs
from equipoise.runs.lock import locked_if_free
from equipoise.runs.run import Run

# Seconds. A run that just begins has no lock for an instant, and who writes scores into a run's folder has none at all.
UNTOUCHED = 3600.0
OURS = re.compile(
    r"\.lock|config\.yaml|(metrics|events)\.jsonl|curves\.png|report\.html|events\.out\.tfevents\..+"
    r"|checkpoints|samples|samples/\d{12,}\.png|(.+/)?\.[^/]+\.[0-9a-f]{8}\.tmp",
    re.DOTALL,
)
"""Everything that a run without checkpoints holds, relative to its folder."""


@dataclass(frozen=True)
class Rubbish:
    """Something to delete.

    Attributes:
        path: a run's folder, or a file in one.
        why: in words.
        run: the folder of the run, which is locked while this is deleted.
    """

    path: Path
    why: str
    run: Path


def find_rubbish(path: Path | str) -> list[Rubbish]:
    """What may be deleted in the folder `path`; nothing of a run that a process is training, or may be.

    - The folder of a run without any checkpoint or step, if all of it is a run's, and nothing was touched for an hour.
    - Files in a run's folder that a process had begun to write when it was killed (`.NAME.xxxxxxxx.tmp`), an hour old.

    Raises:
        UsageError: there is no such folder, or it may not be read.
    """
    return [rubbish for folder in find_runs(path) for rubbish in _rubbish_of(folder)]


def _rubbish_of(folder: Path) -> list[Rubbish]:
    with locked_if_free(folder) as free:
        if not free:
            return []
        if _never_began(folder):
            return [Rubbish(folder, "a run that never began", folder)]
        files = [file for part in ("", "checkpoints", "samples") for file in leftovers(folder / part)]
        return [Rubbish(file, "half-written by a killed process", folder) for file in sorted(files) if _is_old(file)]


def _never_began(folder: Path) -> bool:
    """Whether a run has no checkpoint, nor anything that a run does not write, and nobody has touched it for long.

    The first checkpoint is written before the first step, so where steps were logged a person has deleted the
    checkpoints, and wants to keep the rest.
    """
    try:
        Run.open(folder)  # a configuration that cannot be read is for a person to look at
        if any(row["images"] for row in jsonl.read_end(folder / "metrics.jsonl")):
            return False
        inside = list(_all_in(folder))
        ours = all(OURS.fullmatch(path.relative_to(folder).as_posix()) and not path.is_symlink() for path in inside)
        return ours and all(map(_is_old, [folder, *inside]))
    except (OSError, UsageError):
        return False


def _all_in(folder: Path) -> Iterator[Path]:
    """All that is in `folder`, at any depth; unlike `rglob`, this fails where something may not be read."""
    for path in folder.iterdir():
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _all_in(path)


def _is_old(path: Path) -> bool:
    with suppress(OSError):
        return time.time() - path.lstat().st_mtime > UNTOUCHED
    return False


def delete(rubbish: Sequence[Rubbish]) -> list[Rubbish]:
    """Delete what `find_rubbish` found, as far as it still is rubbish; returns what was deleted.

    Raises:
        UsageError: something may not be deleted; what came before it is.
    """
    deleted = []
    for each in rubbish:
        with locked_if_free(each.run) as free:
            whole = each.path == each.run
            if not free or not (_never_began(each.run) if whole else _is_old(each.path)):
                continue
            try:
                shutil.rmtree(each.path) if whole else each.path.unlink()
            except OSError as error:
                raise UsageError(f"cannot delete {each.path}: {reason(error)}; make it writable") from error
            deleted.append(each)
    return deleted
