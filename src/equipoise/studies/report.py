"""The report of a study, made of its folder alone: HTML in one file, Markdown, CSV and JSON."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from equipoise.errors import UsageError, as_word, did_you_mean, quoted
from equipoise.runs.files import to_json, write_atomically, writing
from equipoise.studies import figures
from equipoise.studies.found import AS_IT_WAS, Found
from equipoise.studies.lengths import read_lengths
from equipoise.studies.pages import FIGURES, Findings, markdown, page
from equipoise.studies.plan import STUDY, Study, arm_names, read_study
from equipoise.studies.results import Pair, Results, Summary, compare_pairs, read_results, summarise
from equipoise.studies.search import read_searches
from equipoise.studies.trials import Cell, all_trials, arm_config, metric_of
from equipoise.studies.words import pair_sentences

REPORT, MARKDOWN, JSON, CSV = "report.html", "report.md", "report.json", "trials.csv"
COSTS = ("images", "cpu_seconds", "seconds", "memory", "joules", "attempts")


def write_report(folder: Path, baseline: str | None = None) -> Path:
    """Write the report of the study in `folder`, as far as its trials have come.

    Args:
        folder: of the study.
        baseline: the arm to beat; by default the study's. Of a search, an arm is that by its own settings.

    Returns:
        The file `report.html`, beside which the others lie.

    Raises:
        UsageError: there is no study, no trial has an outcome yet, or their protocols are unlike.
    """
    results, search = open_results(folder, baseline)
    if not results.outcomes:
        raise UsageError(f"no trial of {folder} has an outcome yet: go on with `equipoise study {as_word(folder)}`")
    summaries = [summary for arm in results.arms if (summary := summarise(results, arm))]
    pairs = compare_pairs(results)
    pictures = _pictures(results, summaries, pairs) | search.pictures()
    found = Findings(results, summaries, pairs, pictures, search.lines())
    files = {
        CSV: _csv(results),
        JSON: to_json(_values(results, summaries, pairs, search.values()), indent=1) + "\n",
        MARKDOWN: markdown(found),
        REPORT: page(found),
    }
    with writing(folder):
        (folder / FIGURES).mkdir(exist_ok=True)
        for name, picture in pictures.items():
            write_atomically(folder / FIGURES / f"{name}.png", picture)
        for name, text in files.items():
            write_atomically(folder / name, text.encode(errors="replace"))
    return folder / REPORT


def open_results(folder: Path, baseline: str | None = None) -> tuple[Results, Found]:
    """The results in a study's folder, and its searches.

    Raises:
        UsageError: as `write_report`.
    """
    file = folder / STUDY
    if not file.exists():
        raise UsageError(f"{folder} holds no study: give the folder that `equipoise study --out` made")
    plan: Study = read_study(file)
    configs = {
        Cell(name, data): arm_config(plan, arm, data) for data in plan.data for name, arm in plan.expanded.items()
    }
    metric, lengths = metric_of(plan, next(iter(configs.values()))), read_lengths(plan, folder)
    known = {cell: config for cell, config in configs.items() if cell.data in lengths.get(cell.arm, {})}
    search = Found(read_searches(plan, folder, known, lengths)) if plan.search else Found()
    trials = search.finalists() if plan.search else all_trials(plan, known, lengths)
    baseline = baseline or plan.baseline
    arms = dict.fromkeys(trial.arm for trial in trials) if plan.search else plan.expanded
    if plan.search and baseline in plan.expanded:
        baseline = f"{baseline}, {AS_IT_WAS}"
    elif baseline is not None and baseline not in arms:
        raise UsageError(
            f"there is no arm {quoted(baseline)}{did_you_mean(baseline, arms)}: use one of {arm_names(arms)}"
        )
    return read_results(folder, plan, metric, trials, baseline), search


def _pictures(results: Results, summaries: Sequence[Summary], pairs: Sequence[Pair]) -> dict[str, bytes]:
    """All figures, by name."""
    pictures: dict[str, Any] = {}
    if summaries:
        pictures["scores"] = figures.intervals(results, summaries)
    pictures["against"] = figures.against(results)
    if pairs:
        pictures["probability-of-improvement"] = figures.probabilities(pairs)
    if len(results.comparable) > 1:
        pictures["performance-profiles"] = figures.profiles(results)
    for index, data in enumerate(results.plan.data):
        pictures[f"curves-{index}"] = figures.curves(results, data)
    drawn = {name: figures.png(figure) for name, figure in pictures.items() if figure is not None}
    grids = {f"samples-{index}": figures.sample_grids(results, data) for index, data in enumerate(results.plan.data)}
    return drawn | {name: picture for name, picture in grids.items() if picture}


def _csv(results: Results) -> str:
    """A row for each trial that has an outcome."""
    names = sorted({name for outcome in results.outcomes.values() for name in outcome.final})
    text = io.StringIO()
    rows = csv.DictWriter(text, _columns(names), lineterminator="\n")
    rows.writeheader()
    for trial in results.trials:
        if outcome := results.outcomes.get(trial.name):
            values = {"arm": trial.arm, "data": trial.data, "seed": trial.seed, "run": trial.name}
            values |= {"state": outcome.state, "collapsed": outcome.collapsed, "message": outcome.message}
            values |= {"health": " ".join(outcome.health), "best_images": outcome.best_images}
            values |= {**outcome.final, **{f"best_{name}": value for name, value in outcome.best.items()}}
            rows.writerow(values | {name: getattr(outcome.cost, name) for name in COSTS})
    return text.getvalue()


def _columns(metrics: Sequence[str]) -> list[str]:
    best = [f"best_{name}" for name in metrics]
    return [
        "arm",
        "data",
        "seed",
        "state",
        "collapsed",
        *metrics,
        *best,
        "best_images",
        *COSTS,
        "health",
        "message",
        "run",
    ]


def _values(
    results: Results, summaries: Sequence[Summary], pairs: Sequence[Pair], search: dict[str, Any]
) -> dict[str, Any]:
    """Everything in the report, as values."""
    trials = [
        {"arm": trial.arm, "data": trial.data, "seed": trial.seed, "run": trial.name, **asdict(outcome)}
        for trial in results.trials
        if (outcome := results.outcomes.get(trial.name))
    ]
    return {
        "study": results.plan.to_dict(),
        "made_with": [dict(each) for each in results.made_with],
        "metric": {"name": results.metric, "better": "lower" if results.lower_is_better else "higher"},
        "arms": [{**each._asdict(), "final": each.final._asdict(), "best": each.best._asdict()} for each in summaries],
        "pairs": [
            {**pair._asdict(), "probability": pair.probability._asdict(), "significant": pair.significant}
            for pair in pairs
        ],
        "sentences": pair_sentences(results, pairs),
        "search": search,
        "trials": trials,
    }
