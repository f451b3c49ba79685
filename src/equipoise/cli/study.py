"""equipoise study: many trainings on equal budgets, side by side, with a report of what they show."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from equipoise.cli.flags import parse_and_call
from equipoise.config.numbers import Count, ProcessCount
from equipoise.errors import UsageError
from equipoise.evaluation.request import Names
from equipoise.studies.plan import STUDY, Study, assignments, read_study
from equipoise.studies.report import write_report
from equipoise.studies.study import checked_configs
from equipoise.studies.study import study as run_study


def main(words: list[str]) -> int:
    """Parse the words after `equipoise study`, and run it; returns the exit code."""
    if words[:1] == ["report"]:
        return parse_and_call(report, words[1:], "study report")
    return parse_and_call(study, words, "study")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a study compares: these flags override the file study.yaml, or stand alone."""

    objectives: Names = ()
    """Objectives to compare, by their defaults; `equipoise train` lists them."""
    data: Names | None = None
    """Data sets to train on, as for `equipoise train --data`."""
    seeds: Count | None = None
    """Number of seeds of each arm on each data set."""
    budget: str | None = None
    """Length of each trial: images such as 200k, or time of one core such as 10min (of a GPU, by the clock)."""
    set: tuple[str, ...] = ()
    """Settings of all arms, such as resolution=16 width=16."""
    vary: tuple[str, ...] = ()
    """Settings with values, such as gamma=0.3,0.5: every arm is taken with each."""
    metric: str | None = None
    """Metric to compare by; by default kid, of toys mmd."""
    count: Count | None = None
    """Samples in each score."""
    baseline: str | None = None
    """The arm to beat: only pairs with it are compared."""
    search: Count | None = None
    """Settings to try of each arm, each with all seeds, by Optuna."""
    of: Names = ()
    """Settings to search over, such as lr,gamma."""
    range: tuple[str, ...] = ()
    """Ranges to search, such as lr=1e-4:1e-2; by default those of "Are GANs Created Equal?"."""
    sampler: str | None = None
    """How settings are proposed: tpe or random."""
    threads: ProcessCount | None = None
    """Processor threads of each trial."""


PLAIN = ("data", "seeds", "budget", "metric", "count", "baseline", "threads")  # flags that are a study's own fields


def study(
    plan: Positional[Path | None] = None,
    out: Path | None = None,
    flags: Plan = Plan(),  # each field is a flag
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
        flags: What is compared.
        jobs: Trials at once on this machine; by default as many as there are cores for.
        ray: Run on a Ray cluster: its address HOST:PORT, or auto.
        dry_run: Check everything and print the study as study.yaml, without training.
        quiet: Show no progress.
    """
    asked = asked_study(plan, flags)
    if dry_run:
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


def asked_study(plan: Path | None, flags: Plan) -> Study:
    """The study of a file or a folder, if one is named, with flags over it.

    Raises:
        UsageError: nothing is named, or something that cannot be.
    """
    base: dict[str, Any] = {}
    if plan is not None:
        base = read_study(plan / STUDY if plan.is_dir() else plan).to_dict()
    elif not flags.objectives:
        raise UsageError("name what to compare: --objectives began,gan, or a file study.yaml")
    merged = base | {name: value for name in PLAIN if (value := getattr(flags, name)) is not None}
    if flags.objectives:
        merged["arms"] = {name: {} for name in flags.objectives}
    search = {"trials": flags.search, "of": flags.of, "ranges": _ranges(flags.range), "sampler": flags.sampler}
    if given := {name: value for name, value in search.items() if value not in (None, (), {})}:
        merged["search"] = {"of": (), **base.get("search", {}), **given}
        if "trials" not in merged["search"]:
            raise UsageError(
                "--of, --range and --sampler say how to search: add --search, the number of settings to try"
            )
    lists = {name: _values(name, value) for name, value in assignments(flags.vary, "--vary").items()}
    for name, more in (("settings", assignments(flags.set, "--set")), ("vary", lists)):
        if more:
            merged[name] = {**base.get(name, {}), **more}
    return Study.from_dict(merged)


def _values(name: str, value: Any) -> list[Any]:
    """A list, or values with commas between, each read as in YAML."""
    if not isinstance(value, str):
        return value if isinstance(value, list) else [value]
    return [assignments([f"{name}={part}"], "--vary")[name] for part in value.split(",")]


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
    for line in (folder / "report.md").read_text(encoding="utf-8").splitlines()[2:]:
        if not line.startswith("- "):
            break
        print(f"  {line[2:]}")
