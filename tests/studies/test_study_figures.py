"""Axes of a study's figures, the figure of a setting that varies, and the sentences of many pairs."""

import json
import math
from dataclasses import replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from equipoise.studies.figures import against, captioned_png, intervals, scale_of
from equipoise.studies.pages import Findings, markdown
from equipoise.studies.plan import STUDY, Study
from equipoise.studies.report import write_report
from equipoise.studies.results import Pair, Results, compare_pairs, summarise
from equipoise.studies.statistics import Interval
from equipoise.studies.trials import Cell, Outcome, all_trials, arm_config, write_outcome
from equipoise.studies.words import least_p_value, pair_sentences


@pytest.mark.parametrize(
    ("values", "scale"),
    [([2.8, 2.9], "linear"), ([0.03, 3.0], "log"), ([-0.01, 3.0], "linear"), ([0.0, 3.0], "linear"), ([], "linear")],
)
def test_an_axis_is_logarithmic_where_values_are_positive_and_far_apart(values: list[float], scale: str) -> None:
    assert scale_of(values) == scale


def results(folder: Path, vary: dict[str, list[Any]], seeds: int = 2) -> Results:
    """Of a study whose trial number i has KID 1 / (i + 1), and diversity i / 100 at its end."""
    plan = Study.from_dict(
        {
            "arms": {"began": {}, "gan": {}},
            "budget": 6_400,
            "seeds": seeds,
            "vary": vary,
            "settings": {"resolution": 16},
        }
    )
    configs = {Cell(name, "digits"): arm_config(plan, arm, "digits") for name, arm in plan.expanded.items()}
    trials = all_trials(plan, configs, {name: {"digits": 6_400} for name in plan.expanded})
    outcomes = {}
    for number, trial in enumerate(trials):
        run = folder / trial.name
        run.mkdir(parents=True)
        lines = [{"images": images, "diversity": number / 100 * images / 6_400} for images in (3_200, 6_400)]
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        outcomes[trial.name] = Outcome(state="finished", final={"kid": 1 / (number + 1)})
    return Results(folder, plan, "kid", trials, outcomes)


def test_scores_and_diversity_are_drawn_against_the_setting_that_varies(tmp_path: Path) -> None:
    figure = against(results(tmp_path, {"lr": [1e-4, 1e-3, 1e-2]}))
    assert figure is not None
    scores, diversity = figure.axes
    lines = {line.get_label(): line for line in scores.lines}
    assert list(lines["began"].get_xdata()) == [1e-4, 1e-3, 1e-2]
    # Of two seeds, which the trials are in the order of: the interquartile mean is the mean
    assert list(lines["gan"].get_ydata()) == pytest.approx([(1 / (n + 1) + 1 / (n + 7)) / 2 for n in (3, 4, 5)])
    lines = {line.get_label(): line for line in diversity.lines}
    assert list(lines["gan"].get_ydata()) == pytest.approx([(n + n + 6) / 200 for n in (3, 4, 5)])


def test_values_that_yaml_takes_for_text_are_drawn_in_their_order(tmp_path: Path) -> None:
    figure = against(results(tmp_path, {"lr": ["1e-2", "1e-4", 1e-3]}))
    assert figure is not None
    (line, _) = figure.axes[0].lines
    assert list(line.get_xdata()) == [1e-4, 1e-3, 1e-2]
    assert list(line.get_ydata()) == pytest.approx([(1 / (n + 1) + 1 / (n + 7)) / 2 for n in (1, 2, 0)])


@pytest.mark.parametrize(
    "vary", [{}, {"lr": [1e-3]}, {"flip": [True, False]}, {"lr": [1e-3, 1e-2], "width": [4, 8]}], ids=str
)
def test_no_such_figure_where_it_is_not_one_setting_of_numbers(vary: dict[str, list[Any]], tmp_path: Path) -> None:
    assert against(results(tmp_path, vary)) is None


def test_a_failed_trial_leaves_its_arm_an_interval_that_can_be_drawn(tmp_path: Path) -> None:
    some = replace(results(tmp_path, {}, seeds=5), metric="precision")
    for number, (name, outcome) in enumerate(some.outcomes.items()):
        failed = {"state": "failed", "final": {}} if number == 0 else {"final": {"precision": number / 10}}
        some.outcomes[name] = replace(outcome, **failed)
    summaries = [summary for arm in some.arms if (summary := summarise(some, arm))]
    assert summaries[0].final.low == -math.inf
    (axes,) = intervals(some, summaries).axes
    assert all(np.isfinite(line.get_xdata()).all() for line in axes.lines)


def test_a_study_of_nothing_but_failures_is_reported_with_their_reasons(tmp_path: Path) -> None:
    none = results(tmp_path, {})
    (tmp_path / STUDY).write_text(yaml.safe_dump(none.plan.to_dict()))
    for name in none.outcomes:
        write_outcome(tmp_path / name, Outcome(state="failed", message="no space left"))
    write_report(tmp_path)
    assert "no space left" in (tmp_path / "report.md").read_text()


def test_names_with_line_breaks_leave_the_lines_of_a_report_whole(tmp_path: Path) -> None:
    some = results(tmp_path, {})
    names = {"began": "began", "gan": "g\nan"}
    arms = {names[name]: arm for name, arm in some.plan.arms.items()}
    trials = [replace(trial, arm=names[trial.arm], place=trial.name) for trial in some.trials]
    some = replace(some, plan=replace(some.plan, arms=arms), trials=trials)
    summaries = [summary for arm in some.arms if (summary := summarise(some, arm))]
    lines = markdown(Findings(some, summaries, compare_pairs(some), {}, [])).splitlines()
    assert lines[0].startswith("# began, g\\nan on digits")
    assert lines[1] == ""
    assert lines[2].startswith("- ")
    assert any(line.startswith("| g\\nan | 2 of 2 |") for line in lines)


def test_of_many_pairs_those_that_an_arm_wins_by_every_trial_are_one_sentence(tmp_path: Path) -> None:
    many = results(tmp_path, {"lr": [1e-4, 1e-3, 1e-2, 1e-1]}, seeds=1)
    names = many.arms
    sure, even = Interval(1.0, 1.0, 1.0), Interval(0.5, 0.2, 0.8)
    pairs = [Pair(names[0], name, sure, 0.3, 1.0) for name in names[1:]]
    pairs += [Pair(a, b, even, 0.9, 1.0) for a, b in pairwise(names[1:])] * 2
    sentences = pair_sentences(many, pairs)
    (together,) = [sentence for sentence in sentences if sentence.startswith("every trial of")]
    assert all(name in together for name in names)
    assert sum("is not shown to be better" in sentence for sentence in sentences) == len(pairs) - 7


def test_few_pairs_have_a_sentence_each(tmp_path: Path) -> None:
    few = results(tmp_path, {})
    assert sum("gan" in sentence for sentence in pair_sentences(few, compare_pairs(few))) == 1


def test_samples_in_colour_keep_each_of_their_colours() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    sheet = np.asarray(Image.open(BytesIO(captioned_png([("arm", Image.fromarray(pixels))]))).convert("RGB"))
    assert {tuple(pixel) for pixel in pixels.reshape(-1, 3)} <= {tuple(pixel) for pixel in sheet.reshape(-1, 3)}


@pytest.mark.parametrize("values", [[None, 30], [["translation"], []]], ids=str)
def test_no_such_figure_where_values_are_no_numbers(values: list[Any], tmp_path: Path) -> None:
    some = results(tmp_path, {"lr": [1e-3, 1e-2]})
    object.__setattr__(some.plan, "vary", {"lr": values})
    assert against(some) is None


def test_the_interval_of_the_best_is_drawn_where_it_is(tmp_path: Path) -> None:
    some = results(tmp_path, {}, seeds=5)
    for name, outcome in some.outcomes.items():
        some.outcomes[name] = replace(outcome, best={"kid": outcome.final["kid"] / 100})
    summaries = [summary for arm in some.arms if (summary := summarise(some, arm))]
    (axes,) = intervals(some, summaries).axes
    drawn = [tuple(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2]
    assert (summaries[0].best.low, summaries[0].best.high) in drawn


def test_whether_a_difference_could_be_significant_goes_by_the_arms_that_have_most_seeds(tmp_path: Path) -> None:
    some = results(tmp_path, {"lr": [1e-3, 1e-2]}, seeds=6)
    few = [
        name for name in some.outcomes if name.startswith("trials/began") and not name.endswith(("seed-0", "seed-1"))
    ]
    for name in few:
        del some.outcomes[name]
    assert least_p_value(some) == pytest.approx(2 / math.comb(12, 6))
