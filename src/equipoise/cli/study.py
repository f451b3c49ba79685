"""equipoise study: many trainings on equal budgets, side by side, with a report of what they show."""

import sys
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from equipoise.cli.flags import parse_and_call
from equipoise.config.numbers import Count, ProcessCount
from equipoise.errors import UsageError
from equipoise.evaluation.request import Names
from equipoise.studies.plan import STUDY, Study, assignments, read_study
from equipoise.studies.report import write_report
from equipoise.studies.study import study as run_study


def main(words: list[str]) -> int:
    """Parse the words after `equipoise study`, and run it; returns the exit code."""
    if words[:1] == ["report"]:
        return parse_and_call(report, words[1:], "study report")
    return parse_and_call(study, words, "study")


def study(
    plan: Positional[Path | None] = None,
    out: Path | None = None,
    objectives: Names = (),
    data: Names | None = None,
    seeds: Count | None = None,
    budget: str | None = None,
    set: tuple[str, ...] = (),  # the flag's name
    vary: tuple[str, ...] = (),
    metric: str | None = None,
    count: Count | None = None,
    baseline: str | None = None,
    search: Count | None = None,
    of: Names = (),
    range: tuple[str, ...] = (),
    sampler: str | None = None,
    threads: ProcessCount | None = None,
    jobs: ProcessCount | None = None,
    ray: str | None = None,
    dry_run: bool = False,
    quiet: bool = False,
) -> int:
    """Train every objective with every seed on equal budgets, side by side, and report what is significant.

    A study is a file study.yaml (docs/studies.md), flags, or both: flags override the file. Each trial is an ordinary
    run in the study's folder. Whatever stops it, `equipoise study FOLDER` goes on, each trial at its last checkpoint.
    `equipoise study report FOLDER` makes the report anew.

    Example: equipoise study --objectives began,gan,wgan-gp --seeds 5 --budget 200k --data digits --out studies/family

    Example: equipoise study --objectives began --vary gamma=0.3,0.5,0.7,1 --seeds 5 --budget 10min --out studies/gamma

    Example: equipoise study --objectives began --search 40 --of lr,gamma --seeds 3 --budget 50k --out studies/search

    Example: equipoise study examples/fair-rerun.yaml --out studies/fair --ray auto

    Example: equipoise study report studies/family --baseline gan

    Args:
        plan: File study.yaml, or the folder of a study to go on with.
        out: Folder of the study.
        objectives: Objectives to compare, by their defaults; `equipoise train` lists them.
        data: Data sets to train on, as for `equipoise train --data`.
        seeds: Number of seeds of each arm on each data set.
        budget: Length of each trial: images such as 200k, or time of one core such as 10min (of a GPU, by the clock).
        set: Settings of all arms, such as resolution=16 width=16.
        vary: Settings with values, such as gamma=0.3,0.5: every arm is taken with each.
        metric: Metric to compare by; by default kid, of toys mmd.
        count: Samples in each score.
        baseline: The arm to beat: only pairs with it are compared.
        search: Settings to try of each arm, each with all seeds, by Optuna.
        of: Settings to search over, such as lr,gamma.
        range: Ranges to search, such as lr=1e-4:1e-2; by default those of "Are GANs Created Equal?".
        sampler: How settings are proposed: tpe or random.
        threads: Processor threads of each trial.
        jobs: Trials at once on this machine; by default as many as there are cores for.
        ray: Run on a Ray cluster: its address HOST:PORT, or auto.
        dry_run: Check everything and print the study as study.yaml, without training.
        quiet: Show no progress.
    """
    given: dict[str, Any] = {
        "data": data,
        "seeds": seeds,
        "budget": budget,
        "metric": metric,
        "count": count,
        "baseline": baseline,
        "threads": threads,
    }
    values = {name: value for name, value in given.items() if value is not None}
    if objectives:
        values["arms"] = {name: {} for name in objectives}
    if search is not None:
        values["search"] = {"trials": search, "of": of, "ranges": _ranges(range)} | (
            {"sampler": sampler} if sampler else {}
        )
    elif of or range or sampler:
        raise UsageError("--of, --range and --sampler say how to search: add --search, the number of settings to try")
    asked = _merged(plan, values, assignments(set, "--set"), assignments(vary, "--vary"))
    if dry_run:
        from equipoise.studies.study import checked_configs

        checked_configs(asked, quiet=quiet)
        print(asked.to_yaml(), end="")
        return 0
    is_folder = plan is not None and plan.is_dir()
    folder = run_study(asked, out or (plan if is_folder else None), jobs=jobs, ray=ray, quiet=quiet)
    _print_paths(folder)
    return 0


def report(folder: Positional[Path], baseline: str | None = None) -> int:
    """Make the report of a study anew, of what lies in its folder.

    Example: equipoise study report studies/family --baseline gan

    Args:
        folder: Folder of the study.
        baseline: The arm to beat.
    """
    write_report(folder, baseline)
    _print_paths(folder)
    return 0


def _merged(plan: Path | None, values: dict[str, Any], settings: dict[str, Any], vary: dict[str, Any]) -> Study:
    """The study of a file or a folder, if one is named, with flags over it."""
    base: dict[str, Any] = {}
    if plan is not None:
        base = read_study(plan / STUDY if plan.is_dir() else plan).to_dict()
    elif "arms" not in values:
        raise UsageError("name what to compare: --objectives began,gan, or a file study.yaml")
    merged = {**base, **values}
    lists = {name: list(value) if isinstance(value, list) else _values(value) for name, value in vary.items()}
    for name, more in (("settings", settings), ("vary", lists)):
        if more:
            merged[name] = {**base.get(name, {}), **more}
    return Study.from_dict(merged)


def _values(value: Any) -> list[Any]:
    """Values with commas between, each read as in YAML."""
    parts = str(value).split(",") if isinstance(value, str) else [value]
    return [assignments([f"x={part}"], "--vary")["x"] if isinstance(part, str) else part for part in parts]


def _ranges(words: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """Ranges from words NAME=LOW:HIGH."""
    ranges = {}
    for word in words:
        name, _, ends = word.partition("=")
        low, _, high = ends.partition(":")
        try:
            ranges[name] = float(low), float(high)
        except ValueError as error:
            raise UsageError(f"--range takes NAME=LOW:HIGH, such as lr=1e-4:1e-2, not {word!r}") from error
    return ranges


def _print_paths(folder: Path) -> None:
    print(f"study:  {folder}")
    print(f"report: {folder / 'report.html'}")
    for line in (folder / "report.md").read_text().splitlines()[2:]:
        if not line.startswith("- "):
            break
        print(f"  {line[2:]}", file=sys.stdout)
