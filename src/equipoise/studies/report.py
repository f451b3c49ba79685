"""The report of a study, made of its folder alone: HTML in one file, Markdown, CSV and JSON."""

import base64
import csv
import html
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from equipoise.config.messages import construct
from equipoise.errors import UsageError
from equipoise.runs.files import to_json, write_atomically, writing
from equipoise.runs.run import versions
from equipoise.studies import figures
from equipoise.studies.plan import STUDY, Study, read_study
from equipoise.studies.results import Pair, Results, Summary, compare_pairs, read_results, summarise
from equipoise.studies.search import read_searches
from equipoise.studies.statistics import Interval
from equipoise.studies.trials import Cell, all_trials, arm_config, command_of, metric_of, read_lengths
from equipoise.studies.words import cost_words, opening, pair_sentences, protocol_lines, report_style
from equipoise.views.terminal import short

REPORT, MARKDOWN, JSON, CSV = "report.html", "report.md", "report.json", "trials.csv"
FIGURES = "figures"  # folder of the pictures that the Markdown shows
COLUMNS = ("arm", "trials", "final", "best", "images", "core seconds", "memory", "energy", "ended badly")


def write_report(folder: Path, baseline: str | None = None) -> Path:
    """Write the report of the study in `folder`, as far as its trials have come.

    Args:
        folder: of the study.
        baseline: the arm to beat, from now on; by default the study's.

    Returns:
        The file `report.html`, beside which the others lie.

    Raises:
        UsageError: there is no study, no trial has an outcome yet, or their protocols are unlike.
    """
    results, search = open_results(folder, baseline)
    if not results.outcomes:
        raise UsageError(f"no trial of {folder} has an outcome yet: go on with `equipoise study {folder}`")
    summaries = [summary for arm in results.arms if (summary := summarise(results, arm))]
    pairs = compare_pairs(results)
    pictures = _pictures(results, summaries, pairs) | search.pictures(results.metric)
    with writing(folder):
        (folder / FIGURES).mkdir(exist_ok=True)
        for name, picture in pictures.items():
            write_atomically(folder / FIGURES / f"{name}.png", picture)
        write_atomically(folder / CSV, _csv(results).encode())
        write_atomically(folder / JSON, to_json(_values(results, summaries, pairs, search.values()), indent=1).encode())
        write_atomically(folder / MARKDOWN, _markdown(results, summaries, pairs, pictures, search.lines()).encode())
        write_atomically(folder / REPORT, _html(results, summaries, pairs, pictures, search.lines()).encode())
    return folder / REPORT


def open_results(folder: Path, baseline: str | None = None) -> tuple[Results, Any]:
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
    search = read_searches(plan, folder, known, lengths)
    trials = search.finalists() if plan.search else all_trials(plan, known, lengths)
    if baseline is not None:
        if plan.search and baseline not in {trial.arm for trial in trials}:
            raise UsageError(f"there is no arm {baseline!r}: use one of {', '.join(trial.arm for trial in trials)}")
        plan = plan if plan.search else construct(partial(replace, plan), {"baseline": baseline})
    return read_results(folder, plan, metric, trials), search


def _pictures(results: Results, summaries: Sequence[Summary], pairs: Sequence[Pair]) -> dict[str, bytes]:
    """All figures, by name."""
    pictures: dict[str, Any] = {}
    if summaries:
        pictures["scores"] = figures.intervals(results, summaries)
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
    rows = csv.writer(text, lineterminator="\n")
    costs = ["images", "cpu_seconds", "seconds", "memory_bytes", "joules", "attempts"]
    rows.writerow(
        [
            "arm",
            "data",
            "seed",
            "state",
            "collapsed",
            *names,
            *(f"best_{name}" for name in names),
            "best_images",
            *costs,
        ]
        + ["health", "message", "run"]
    )
    for trial in results.trials:
        if outcome := results.outcomes.get(trial.name):
            final, best = ([scores.get(name, "") for name in names] for scores in (outcome.final, outcome.best))
            cost = outcome.cost
            rows.writerow(
                [
                    trial.arm,
                    trial.data,
                    trial.seed,
                    outcome.state,
                    outcome.collapsed,
                    *final,
                    *best,
                    outcome.best_images,
                ]
                + [cost.images, cost.cpu_seconds, cost.seconds, cost.memory, cost.joules, cost.attempts]
                + [" ".join(outcome.health), outcome.message, trial.name]
            )
    return text.getvalue()


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
        "made_with": versions(),
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


def _table(results: Results, summaries: Sequence[Summary]) -> list[list[str]]:
    """Headings and rows of the arms."""
    rows = [list(COLUMNS)]
    wanted = len(results.plan.seeds) * len(results.plan.data)
    for each in summaries:
        bad = {"diverged": each.diverged, "collapsed": each.collapsed, "failed": each.failed}
        words = ", ".join(f"{count} {name}" for name, count in bad.items() if count)
        joules = "unknown" if each.joules is None else f"{each.joules / 3600:.3g} Wh"
        done = f"{each.done} of {wanted}"
        cost = [short(each.images), f"{each.cpu_seconds:,.0f}", f"{each.memory / 2**20:,.0f} MiB", joules]
        rows.append([each.arm, done, _interval(each.final), _interval(each.best), *cost, words or "none"])
    return rows


def _others(results: Results) -> list[list[str]]:
    """Headings and rows of the other metrics: interquartile means of the final scores, by data set."""
    names = sorted({name for outcome in results.outcomes.values() for name in outcome.final} - {results.metric})
    rows = [["arm", "data", *names]]
    for arm in results.arms:
        for data in results.plan.data:
            scored = [outcome.final for _, outcome in results.of(arm, data) if outcome.final]
            cells = [_mean([scores[name] for scores in scored if name in scores]) for name in names]
            rows += [[arm, data, *cells]] if scored and names else []
    return rows if names else []


def _mean(values: Sequence[float]) -> str:
    from equipoise.studies.statistics import interquartile_mean

    import numpy as np

    return f"{interquartile_mean([np.array(values)]):.3g}" if values else ""


def _interval(interval: Interval) -> str:
    value, low, high = (f"{each:.3g}" if math.isfinite(each) else "∞" for each in interval)
    return f"{value} [{low}, {high}]"


def _health(results: Results) -> list[str]:
    """A line for each trial that ended badly or under a warning."""
    lines = []
    for trial in results.trials:
        outcome = results.outcomes.get(trial.name)
        if outcome and (outcome.state != "finished" or outcome.health):
            why = ", ".join(outcome.health) or outcome.state
            said = f": {outcome.message}" if outcome.message else ""
            lines.append(f"{trial.arm} on {trial.data}, seed {trial.seed}: {outcome.state}, {why}{said}")
    return lines


HEADINGS = {
    "scores": "Scores",
    "probability-of-improvement": "Probability of improvement",
    "performance-profiles": "Performance profiles",
    "curves": "While training",
    "samples": "Samples of equal latents",
    "search": "What the search found",
    "settings": "Settings that were tried",
}


def _sections(results: Results, pictures: dict[str, bytes]) -> list[tuple[str, str]]:
    """Heading and name of each picture, in order of display."""
    found = []
    for kind, heading in HEADINGS.items():
        for name in pictures:
            stem, _, number = name.rpartition("-")
            if name == kind or (stem == kind and number.isdigit()):
                several = (
                    f" on {results.plan.data[int(number)]}" if number.isdigit() and len(results.plan.data) > 1 else ""
                )
                found.append((f"{heading}{several}", name))
    return found


def _markdown(
    results: Results,
    summaries: Sequence[Summary],
    pairs: Sequence[Pair],
    pictures: dict[str, bytes],
    search: Sequence[str],
) -> str:
    lines = [f"# {opening(results)}", "", *(f"- {sentence}." for sentence in pair_sentences(results, pairs)), ""]
    lines += [*_markdown_table(_table(results, summaries)), "", cost_words(results), ""]
    lines += [f"- {line}" for line in search] + [""]
    for heading, name in _sections(results, pictures):
        lines += [f"## {heading}", "", f"![{heading}]({FIGURES}/{name}.png)", ""]
    lines += ["## Other metrics, final", "", *_markdown_table(_others(results)), ""]
    lines += [
        "## Health",
        "",
        *(f"- {line}" for line in _health(results) or ["No trial ended badly or under a warning"]),
    ]
    lines += ["", "## Protocol", "", *(f"- {line}" for line in protocol_lines(results)), ""]
    lines += ["```yaml", results.plan.to_yaml().rstrip(), "```", "", "Each run again:", "", "```sh"]
    lines += [*(command_of(results.folder / trial.name) for trial in results.trials), "```", ""]
    return "\n".join(lines)


def _markdown_table(rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    lines = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    return [lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]


def _html(
    results: Results,
    summaries: Sequence[Summary],
    pairs: Sequence[Pair],
    pictures: dict[str, bytes],
    search: Sequence[str],
) -> str:
    e = html.escape
    sentences = "".join(f"<li>{e(sentence)}.</li>" for sentence in pair_sentences(results, pairs))
    parts = [
        f"<header><h1>{e(opening(results))}</h1></header>",
        f"<section><ul class=findings>{sentences}</ul>{_html_table(_table(results, summaries))}"
        f"<p class=note>{e(cost_words(results))}</p></section>",
    ]
    if search:
        parts.append(f"<section><h2>Search</h2><ul>{''.join(f'<li>{e(line)}</li>' for line in search)}</ul></section>")
    for heading, name in _sections(results, pictures):
        source = f"data:image/png;base64,{base64.b64encode(pictures[name]).decode()}"
        css = "samples" if name.startswith("samples") else "figure"
        parts.append(f'<section><h2>{e(heading)}</h2><img class={css} src="{source}" alt="{e(heading)}"></section>')
    parts.append(f"<section><h2>Other metrics, final</h2>{_html_table(_others(results))}</section>")
    health = (
        "".join(f"<li>{e(line)}</li>" for line in _health(results))
        or "<li>No trial ended badly or under a warning.</li>"
    )
    parts.append(f"<section><h2>Health</h2><ul>{health}</ul></section>")
    protocol = "".join(f"<li>{e(line)}</li>" for line in protocol_lines(results))
    commands = "\n".join(command_of(results.folder / trial.name) for trial in results.trials)
    parts.append(
        f"<section><h2>Protocol</h2><ul>{protocol}</ul><h3>study.yaml</h3><pre>{e(results.plan.to_yaml())}</pre>"
        f"<details><summary>The command that makes each run again</summary><pre>{e(commands)}</pre></details></section>"
    )
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{e(opening(results))}</title><style>{report_style()}</style></head>\n"
        f"<body><main>\n{body}\n</main></body></html>\n"
    )


def _html_table(rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in rows[0])
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows[1:])
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
