"""The report of a study as a page: HTML in one file, and Markdown."""

import base64
import html
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from equipoise.errors import printable
from equipoise.metrics.ranking import Interval
from equipoise.studies.results import Pair, Results, Summary
from equipoise.studies.statistics import interquartile_mean
from equipoise.studies.trials import command_of
from equipoise.studies.words import cost_words, opening, pair_sentences, protocol_lines, report_style
from equipoise.views.terminal import short

FIGURES = "figures"  # folder of the pictures that the Markdown shows
COLUMNS = ("arm", "trials", "final", "best", "images", "core seconds", "memory", "energy", "ended badly")


class Findings(NamedTuple):
    """All that a report shows."""

    results: Results
    summaries: Sequence[Summary]
    pairs: Sequence[Pair]
    pictures: Mapping[str, bytes]
    """PNG files, by name."""
    search: Sequence[str]
    """What a search found, in sentences."""


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
    return f"{interquartile_mean([np.array(values)]):.3g}" if values else ""


def _interval(interval: Interval) -> str:
    value, low, high = (f"{each:.3g}".replace("inf", "∞") for each in interval)
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
    "against": "Against the setting that varies",
    "probability-of-improvement": "Probability of improvement",
    "performance-profiles": "Performance profiles",
    "curves": "While training",
    "samples": "Samples of equal latents",
    "search": "What the search found",
    "settings": "Settings that were tried",
}


def _sections(results: Results, pictures: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """Heading and name of each picture, in order of display."""
    found = []
    for kind, heading in HEADINGS.items():
        for name in pictures:
            stem, _, number = name.rpartition("-")
            if name == kind or (stem == kind and number.isdigit()):
                # By data set, but for those of searches, each of an arm on a data set, which the picture names itself.
                several = number.isdigit() and len(results.plan.data) > 1 and kind != "settings"
                found.append((f"{heading}{f' on {results.plan.data[int(number)]}' if several else ''}", name))
    return found


def markdown(found: Findings) -> str:
    """The report in Markdown, with its figures beside it."""
    results, summaries, pairs, pictures, search = found
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
    lines += ["```yaml", *results.plan.to_yaml().splitlines(), "```", "", "Each run again:", "", "```sh"]
    lines += [*(command_of(results.folder / trial.name) for trial in results.trials), "```", ""]
    return "\n".join(map(printable, lines))  # names of arms and data may have line breaks


def _markdown_table(rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    lines = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    return [lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]


def page(found: Findings) -> str:
    """The report in HTML, one file that needs no other."""
    results, summaries, pairs, pictures, search = found
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
