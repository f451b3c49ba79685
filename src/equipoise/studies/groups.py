"""The trials of a search: each a group of seeds that train with the same settings."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from equipoise.reading import parse_json, read_bytes
from equipoise.runs import jsonl
from equipoise.studies.trials import Trial, read_outcome

if TYPE_CHECKING:
    import optuna

GROUPS = "search.json"  # the settings of every group, in the order in which they were proposed
GROUPS_FILE = TypeAdapter(dict[str, dict[str, list[dict[str, float]]]])


@dataclass
class Group:
    """One proposal: settings, and a trial for each seed.

    Attributes:
        number: in its search, from 0.
        settings: by path.
        trials: one for each seed.
        given: whether these are the arm's own settings or its authors', which are never given up.
        asked: the trial of Optuna's, while it may still be told something.
        reported: images at which scores were told.
        worse: why it is to be given up, once it has fallen behind.
    """

    number: int
    settings: dict[str, float]
    trials: list[Trial]
    given: bool
    asked: "optuna.trial.Trial | None" = None
    reported: set[int] = field(default_factory=set)
    worse: str | None = None

    def kids(self, folder: Path, *, end: bool = False) -> list[dict[int, float]]:
        """For each seed that has begun, KID beside held-out images by images seen."""
        read = jsonl.read_end if end else jsonl.read
        rows = [read(folder / trial.name / "metrics.jsonl") for trial in self.trials]
        return [{row["images"]: row["kid"] for row in each if "kid" in row} for each in rows if each]

    def done(self, folder: Path) -> bool:
        """Whether every seed has an outcome."""
        return all(read_outcome(folder / trial.name) for trial in self.trials)

    def value(self, folder: Path) -> float:
        """Mean over the seeds of the last KID beside held-out images; infinite unless all have finished."""
        outcomes = [read_outcome(folder / trial.name) for trial in self.trials]
        if any(outcome is None or outcome.state != "finished" for outcome in outcomes):
            return math.inf
        lasts = [kids[max(kids)] for kids in self.kids(folder, end=True) if kids]
        return sum(lasts) / len(lasts) if len(lasts) == len(self.trials) else math.inf


def read_groups(folder: Path) -> dict[str, dict[str, list[dict[str, float]]]]:
    """The settings of all groups in a study's folder, by arm and data set."""
    try:
        return parse_json(GROUPS_FILE, read_bytes(folder / GROUPS))
    except (OSError, ValueError):
        return {}
