"""equipoise runs: the runs in a folder, what is different between two of them, and what may be deleted."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from equipoise.cli.flags import parse_and_call
from equipoise.errors import UsageError, one_line, printable
from equipoise.runs.comparison import compare_runs
from equipoise.runs.files import to_json
from equipoise.runs.listing import RunStatus, list_runs
from equipoise.runs.rubbish import delete, find_rubbish
from equipoise.runs.run import Run
from equipoise.views.terminal import duration, short

MOST_CELL = 60  # characters
HEADINGS = ("run", "state", "images", "images/s", "left", "score", "health")


def main(words: list[str]) -> int:
    """Parse the words after `equipoise runs`, and run it; returns the exit code."""
    return parse_and_call(runs, words, "runs")


def runs(
    folder: Positional[Path] = Path("runs"),
    json: bool = False,
    compare: tuple[Path, ...] = (),
    clean: bool = False,
    yes: bool = False,
) -> int:
    """The runs in a folder and how they are; what is different between two; what may be deleted.

    Example: equipoise runs experiments/

    Example: equipoise runs --json

    Example: equipoise runs --compare runs/a runs/b

    Example: equipoise runs --clean, and once you have read what that says: equipoise runs --clean --yes

    Args:
        folder: Folder with runs, in folders of any depth.
        json: Print JSON instead of a table.
        compare: Two runs: print the settings in which they differ, and their scores.
        clean: Print what may be deleted: runs that never began, and files that a killed process left half-written,
            if untouched for an hour. A run that is training is never touched.
        yes: With --clean, delete it.
    """
    if yes and not clean:
        raise UsageError("--yes says to delete what --clean finds: add --clean")
    if clean and (json or compare):
        raise UsageError("--clean goes with neither --json nor --compare: give them one after the other")
    if clean:
        return _clean(folder, yes=yes)
    if len(compare) not in (0, 2):
        raise UsageError("--compare is of two runs, as in --compare runs/a runs/b")
    if compare:
        return _compare(*compare, json=json)
    listed = list_runs(folder)
    if json:
        print(to_json([{**asdict(status), "path": str(status.path)} for status in listed], indent=1))
    elif listed:
        _print_table(HEADINGS, [_cells(status) for status in listed])
        for status in filter(lambda status: status.note, listed):
            print(f"note: {printable(str(status.path))}: {status.note}")
    else:
        print(f"no runs in {folder}: `equipoise train` makes them")
    return 0


def _compare(first: Path, second: Path, *, json: bool) -> int:
    """Print what is different between two runs."""
    comparison = compare_runs(Run.open(first), Run.open(second))
    if json:
        print(to_json(asdict(comparison), indent=1))
        return 0
    for heading, pairs in (("setting", comparison.settings), ("score", comparison.scores)):
        _print_table([heading, str(first), str(second)], _rows(pairs))
        print("" if pairs else "(no difference)\n")
    if comparison.note:
        print(f"note: {comparison.note}")
    return 0


def _clean(folder: Path, *, yes: bool) -> int:
    """Print what may be deleted, and delete it if that is said."""
    rubbish = find_rubbish(folder)
    for each in rubbish:
        print(f"{printable(str(each.path))}  {each.why}")
    if not rubbish:
        print("nothing to delete")
    elif yes:
        print(f"deleted {len(delete(rubbish))} of {len(rubbish)}")
    else:
        print(f"nothing is deleted yet: add --yes to delete {'these' if len(rubbish) > 1 else 'this'}")
    return 0


def _cells(status: RunStatus) -> list[str]:
    kid = f"KID {status.kid:.3g}" if status.kid is not None else ""
    well = "" if status.state in ("empty", "unreadable") else "no warnings"
    return [
        str(status.path),
        status.state,
        f"{short(status.images)} of {short(status.total)}" if status.total else "",
        short(status.images_per_second) if status.images_per_second else "",
        duration(status.seconds_left) if status.seconds_left is not None else "",
        _figures(status.score) if status.score else kid,
        ", ".join(status.health) or well,
    ]


def _rows(pairs: Mapping[str, tuple[Any, Any]]) -> list[list[str]]:
    def shown(name: str, value: object) -> str:
        if isinstance(value, float):
            return f"{value:.4g}"
        return "-" if value is None else _figures(str(value)) if name == "closing score" else str(value)

    return [[name, *(shown(name, value) for value in pair)] for name, pair in pairs.items()]


def _figures(sentence: str) -> str:
    """A closing score without what it was taken beside, and without what it means."""
    return sentence.partition(" beside ")[0].partition(": ")[0]


def _print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their longest cell; all but the first and the last column are cut at MOST_CELL."""
    cells = [[printable(first), *(one_line(cell, MOST_CELL) for cell in rest)] for first, *rest in [headings, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
