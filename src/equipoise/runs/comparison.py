"""What is different between two runs: settings, and scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from equipoise.config.changes import flat
from equipoise.errors import UsageError
from equipoise.runs.run import Run

PROTOCOL = ("data", "resolution", "held_out", "score_count")
"""Settings on which the KIDs that are logged rest."""


@dataclass(frozen=True)
class Comparison:
    """What is different between two runs, each value as (of the first, of the second).

    Attributes:
        settings: those that differ, by their path such as `objective.gamma`; None where a run has no such setting.
        scores: images seen, KIDs and the latest measures by name; None where there is none.
        note: why the scores may not be compared, or "".
    """

    settings: Mapping[str, tuple[Any, Any]]
    scores: Mapping[str, tuple[Any, Any]]
    note: str


def compare_runs(first: Run, second: Run) -> Comparison:
    """What is different between two runs.

    Raises:
        UsageError: they are the same run, or their files cannot be read.
    """
    if first.path.resolve() == second.path.resolve():
        raise UsageError(f"{first.path} and {second.path} are the same run: name another")
    settings = _pairs(*(flat(run.config.to_dict()) for run in (first, second)))
    settings = {name: pair for name, pair in settings.items() if pair[0] != pair[1]}
    unlike = [name for name in PROTOCOL if name in settings]
    note = f"the scores were not made alike, {' and '.join(unlike)} differ" if unlike else ""
    return Comparison(settings, _pairs(_scores(first), _scores(second)), note)


def _scores(run: Run) -> dict[str, Any]:
    """The best KID, the latest of every measure, and the sentence at the end."""
    rows = run.rows()
    kids = [row["kid"] for row in rows if "kid" in row]
    latest = {name: value for row in rows for name, value in row.items()}
    return {
        "images": latest.pop("images", 0),
        **({"best kid": min(kids)} if kids else {}),
        **latest,
        **({"closing score": sentence} if (sentence := run.closing_score()) else {}),
    }


def _pairs(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {
        name: (first.get(name), second.get(name)) for name in [*first, *(name for name in second if name not in first)]
    }
