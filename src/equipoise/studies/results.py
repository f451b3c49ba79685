"""What a study's folder holds: its trials with their outcomes, and what they show."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import UsageError, as_word
from equipoise.evaluation.scores import ALL_METRICS, difference
from equipoise.metrics.ranking import Interval
from equipoise.runs.run import CONFIG, Run
from equipoise.studies.plan import Study
from equipoise.studies.statistics import (
    holm,
    interquartile_mean_interval,
    permutation_p_value,
    probability_interval,
)
from equipoise.studies.trials import Outcome, Trial, read_outcome

LEVEL = 0.05  # of significance, for all pairs of a study together
FEWEST = 2  # scored seeds from which on arms are compared


@dataclass(frozen=True)
class Results:
    """A study's trials and outcomes.

    Attributes:
        folder: of the study.
        plan: the study.
        metric: by which arms are compared.
        trials: all, of which some may have no outcome yet.
        outcomes: by the trial's name.
        made_with: versions that its runs were made with, each once.
        baseline: the arm to beat, if there is one.
    """

    folder: Path
    plan: Study
    metric: str
    trials: Sequence[Trial]
    outcomes: dict[str, Outcome]
    made_with: Sequence[Mapping[str, str]] = ()
    baseline: str | None = None

    @property
    def arms(self) -> list[str]:
        """Names of the arms, the baseline first."""
        names = list(dict.fromkeys(trial.arm for trial in self.trials))
        return sorted(names, key=lambda name: name != self.baseline)

    @property
    def lower_is_better(self) -> bool:
        """Whether low values of the metric are the good ones."""
        return ALL_METRICS[self.metric].better == "lower"

    def of(self, arm: str, data: str | None = None) -> list[tuple[Trial, Outcome]]:
        """The trials of an arm that have an outcome."""
        chosen = [trial for trial in self.trials if trial.arm == arm and data in (None, trial.data)]
        return [(trial, self.outcomes[trial.name]) for trial in chosen if trial.name in self.outcomes]

    def scores(self, arm: str, *, best: bool = False, metric: str | None = None) -> list[NDArray[np.float64]]:
        """Scores of an arm on each data set, a seed after another; infinitely bad where a trial failed."""
        metric = metric or self.metric
        worst = math.inf if ALL_METRICS[metric].better == "lower" else -math.inf
        rows = []
        for data in self.plan.data:
            each = [(outcome.best if best else outcome.final).get(metric, worst) for _, outcome in self.of(arm, data)]
            rows.append(np.array(each, np.float64))
        return rows

    def scaled(self, arm: str, *, best: bool = False) -> list[NDArray[np.float64]]:
        """As `scores`; where there are several data sets, each divided by the median of all arms' scores on it."""
        rows = self.scores(arm, best=best)
        if len(rows) == 1:
            return rows
        units = [np.median(np.concatenate(each)) for each in zip(*map(self.scores, self.arms), strict=True)]
        return [row / abs(unit) if unit and math.isfinite(unit) else row for row, unit in zip(rows, units, strict=True)]

    @property
    def comparable(self) -> list[str]:
        """Arms with FEWEST outcomes or more on each data set."""
        return [arm for arm in self.arms if all(len(row) >= FEWEST for row in self.scores(arm))]


def read_results(
    folder: Path, plan: Study, metric: str, trials: Sequence[Trial], baseline: str | None = None
) -> Results:
    """The outcomes of a study's trials.

    Raises:
        UsageError: trials on the same data were scored by unlike protocols, or a run is not of this study.
    """
    found = {trial.name: outcome for trial in trials if (outcome := read_outcome(folder / trial.name))}
    for data in plan.data:
        scored = [trial for trial in trials if trial.data == data and trial.name in found]
        scored = [trial for trial in scored if found[trial.name].protocol]
        for trial in scored[1:]:
            first = scored[0]
            if text := difference(found[first.name].protocol, found[trial.name].protocol):
                raise UsageError(
                    f"{first.name} and {trial.name} cannot be compared, they differ in {text}: delete the .json beside "
                    f"one of them, and go on with `equipoise study {as_word(folder)}`"
                )
    made_with: list[Mapping[str, str]] = []
    for trial in trials:
        run = folder / trial.name
        if trial.name in found and (run / CONFIG).exists():
            opened = Run.open(run)
            _refuse_others(opened, trial)
            if opened.made_with not in made_with:
                made_with.append(opened.made_with)
    return Results(folder, plan, metric, trials, found, made_with, baseline)


def _refuse_others(run: Run, trial: Trial) -> None:
    """Refuse a run that is not the trial, as one that was copied there."""
    there, wanted = run.config.to_dict(), trial.config.to_dict()
    if different := [key for key in wanted if there[key] != wanted[key]]:
        raise UsageError(f"{run.path} is not of this study, its {different[0]} is another: move it away")


class Pair(NamedTuple):
    """Two arms compared: how likely the first is to score better, and whether that may be chance."""

    first: str
    second: str
    probability: Interval
    p_value: float
    corrected: float

    @property
    def significant(self) -> bool:
        """Whether the difference is beyond chance at LEVEL, with as many pairs as there are."""
        return self.corrected <= LEVEL

    def sentence(self, metric: str) -> str:
        """What the comparison shows."""
        value, low, high = self.probability
        better, worse = (self.first, self.second) if value >= 0.5 else (self.second, self.first)
        if value < 0.5:
            value, low, high = 1 - value, 1 - high, 1 - low
        found = "is" if self.significant else "is not shown to be"
        return (
            f"{better} {found} better than {worse} in {metric}: a trial of it scores better with probability "
            f"{value:.0%} [{low:.0%}, {high:.0%}], p = {self.corrected:.2g} after Holm"
        )


def compare_pairs(results: Results) -> list[Pair]:
    """All pairs of arms, or with a baseline those of it, by the final score."""
    arms, base = results.comparable, results.baseline
    names = [(a, b) for index, a in enumerate(arms) for b in arms[index + 1 :]]
    names = [(b, a) for a, b in names if base == a] if base in arms else names
    low = results.lower_is_better
    scores = {arm: results.scores(arm) for arm in arms}
    values = [permutation_p_value(scores[a], scores[b]) for a, b in names]
    return [
        Pair(a, b, probability_interval(scores[a], scores[b], lower_is_better=low), p, corrected)
        for (a, b), p, corrected in zip(names, values, holm(values), strict=True)
    ]


class Summary(NamedTuple):
    """An arm in figures: what became of its trials, its scores, and what a trial costs at the median."""

    arm: str
    done: int
    diverged: int
    collapsed: int
    failed: int
    final: Interval
    best: Interval
    images: float
    cpu_seconds: float
    memory: float
    joules: float | None


def summarise(results: Results, arm: str) -> Summary | None:
    """An arm in figures; None before it has an outcome on each data set."""
    outcomes = [outcome for _, outcome in results.of(arm)]
    if not all(len(row) for row in results.scores(arm)):
        return None
    states = [outcome.state for outcome in outcomes]
    joules = [outcome.cost.joules for outcome in outcomes if outcome.cost.joules is not None]
    return Summary(
        arm,
        len(outcomes),
        states.count("diverged"),
        sum(outcome.collapsed for outcome in outcomes),
        states.count("failed"),
        interquartile_mean_interval(results.scaled(arm)),
        interquartile_mean_interval(results.scaled(arm, best=True)),
        float(np.median([trial.config.images for trial, _ in results.of(arm)])),
        float(np.median([outcome.cost.cpu_seconds for outcome in outcomes])),
        float(np.median([outcome.cost.memory for outcome in outcomes])),
        float(np.median(joules)) if joules else None,
    )
