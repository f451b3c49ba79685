"""Scores on disk and side by side: nothing is lost, and only like is compared with like."""

import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from equipoise import Scores, UsageError
from equipoise.evaluation.scores import compare, difference, over_draws

PROTOCOL = {
    "version": 1,
    "features": {"name": "digits", "weights": "0123456789abcdef", "preprocessing": "none"},
    "shape": [1, 32, 32],
    "count": 500,
    "reference": {"identity": "abc", "count": 400, "split": "held-out 0.1"},
    "seed": 0,
}


def made(name: str = "a", **values: float) -> Scores:
    figures = {metric.replace("_", "-"): {"value": value} for metric, value in values.items()}
    subject = {"name": name, "identity": name, "count": 500, "beside": "digits"}
    return Scores(figures, subject, copy.deepcopy(PROTOCOL), ("a note",))


def test_nothing_is_lost_on_disk(tmp_path: Path) -> None:
    scores = made(kid=0.5, modes=9.0)
    scores.figures["kid"]["spread"] = 0.1
    scores.figures["modes"] |= {"of": 10.0, "kl": math.inf}
    scores.write(tmp_path / "new" / "a.json")
    assert Scores.read(tmp_path / "new" / "a.json") == scores
    found = json.loads((tmp_path / "new" / "a.json").read_text())
    assert (found["kid"], found["modes"]) == (0.5, 9.0), "keys are the metrics' names"
    assert found["details"]["modes"]["kl"] is None, "JSON has no infinity"


def test_told_with_spread_direction_and_notes() -> None:
    scores = made(kid=0.5, ms_ssim=0.25)
    scores.figures["kid"]["spread"] = 0.125
    scores.figures["ms-ssim"]["real"] = 0.2
    text = str(scores)
    assert "a: 500 images beside 400 of digits (held-out 0.1)" in text
    assert "0.5 ± 0.12" in text
    assert "lower is better" in text
    assert "as the real ones (0.2)" in text
    assert text.endswith("note: a note")


def test_the_better_of_each_row_is_marked() -> None:
    rows = compare(
        [("a", made(kid=0.5, recall=0.9, ms_ssim=0.1)), ("b", made(kid=0.25, recall=0.8, ms_ssim=0.3))]
    ).splitlines()
    cells = {row.split()[0]: row.split()[1:] for row in rows[1:-1]}
    assert cells == {"kid": ["0.5", "0.25*"], "recall": ["0.9*", "0.8"], "ms-ssim": ["0.1", "0.3"]}


def test_equal_scores_are_not_marked_and_missing_ones_are_dashes() -> None:
    rows = compare([("a", made(kid=0.5)), ("b", made(kid=0.5, fid=2.0)), ("c", made(fid=3.0))]).splitlines()
    cells = {row.split()[0]: row.split()[1:] for row in rows[1:-1]}
    assert cells == {"kid": ["0.5", "0.5", "-"], "fid": ["-", "2*", "3"]}


def test_means_and_deviations_over_draws() -> None:
    draws = [{"kid": {"value": v, "spread": 2 * v}, "modes": {"value": 9.0, "of": 10.0}} for v in (1.0, 2.0, 6.0)]
    merged = over_draws([{**draws[0], "reconstruction": {"value": 0.5}}, *draws[1:]])
    assert merged["kid"] == pytest.approx({"value": 3.0, "spread": 6.0, "deviation": math.sqrt((4 + 1 + 9) / 2)})
    assert merged["modes"] == {"value": 9.0, "of": 10.0, "deviation": 0.0}
    assert merged["reconstruction"] == {"value": 0.5}
    infinite = over_draws([{"modes": {"value": math.inf}}] * 2)
    assert infinite["modes"]["value"] == math.inf


def test_draws_are_told_and_compared_with_files_that_have_none(tmp_path: Path) -> None:
    scores = made("a", kid=0.5, recall=0.9)
    scores.figures["kid"] |= {"spread": 0.3, "deviation": 0.0625}
    scores.subject["draws"] = 3
    assert "mean ± standard deviation over 3 draws" in str(scores)
    assert "0.5 ± 0.062" in str(scores)
    scores.write(tmp_path / "a.json")
    made("b", kid=0.25).write(tmp_path / "b.json")  # as older versions wrote them
    table = compare([(name, Scores.read(tmp_path / f"{name}.json")) for name in ("a", "b")])
    kid = next(row for row in table.splitlines() if row.strip().startswith("kid"))
    assert kid.split() == ["kid", "0.5", "±", "0.062", "0.25*"]
    assert "± standard deviation over draws" in table
    assert "±" not in compare([("b", made(kid=0.25)), ("c", made(kid=0.5))])


def test_after_plus_minus_stands_what_the_heading_says() -> None:
    """Over several draws nothing but the deviation over them, which what is not of the samples does not have."""
    scores = made(kid=0.5, reconstruction=0.2)
    scores.figures["kid"] |= {"spread": 0.3, "deviation": 0.0625}
    scores.figures["reconstruction"]["spread"] = 0.1
    scores.subject["draws"] = 3
    row = next(row for row in str(scores).splitlines() if "reconstruction" in row)
    assert "0.2" in row
    assert "±" not in row


def test_damaged_files_are_refused_and_scores_of_another_version_kept(tmp_path: Path) -> None:
    made("a", kid=0.5, fid=2.0).write(tmp_path / "a.json")
    contents = json.loads((tmp_path / "a.json").read_text())
    for part in (contents, contents["details"]):
        kept = part.pop("fid")
        (tmp_path / "b.json").write_text(json.dumps(contents))
        with pytest.raises(UsageError, match=r"b\.json is damaged, it has either a value or details of 'fid'"):
            Scores.read(tmp_path / "b.json")
        part["fid"] = kept
    contents["details"]["novel"], contents["novel"] = {}, 7.5
    (tmp_path / "b.json").write_text(json.dumps(contents))
    scores = Scores.read(tmp_path / "b.json")
    assert scores.figures["novel"] == {"value": 7.5}
    assert "a score that this version does not know" in str(scores)
    assert "7.5" in compare([("a", made("a", kid=0.5)), ("b", scores)])


def test_the_mark_is_explained_where_there_is_one() -> None:
    assert "* the better ones" in compare([("a", made(kid=0.5)), ("b", made(kid=0.25))])
    assert "*" not in compare([("a", made(vendi=3.0)), ("b", made(vendi=4.0))])


def test_extractors_have_their_present_names_in_older_files(tmp_path: Path) -> None:
    scores = made(kid=0.5)
    scores.protocol["features"]["name"] = "dinov2"
    scores.write(tmp_path / "a.json")
    assert Scores.read(tmp_path / "a.json").protocol["features"]["name"] == "dinov2-vits14"


@pytest.mark.parametrize(
    ("where", "value", "told"),
    [
        (("version",), 2, r"version \(1 and 2\)"),
        (("features", "name"), "pixels", r"features name \(digits and pixels\)"),
        (("features", "weights"), "f", r"features weights \(0123456789abcdef and f\)"),
        (("shape",), [1, 64, 64], r"shape \(\[1, 32, 32\] and \[1, 64, 64\]\)"),
        (("count",), 5000, r"count \(500 and 5000\)"),
        (("reference", "identity"), "abd", r"reference identity \(abc and abd\)"),
        (("reference", "split"), "train 0.1", r"reference split \(held-out 0.1 and train 0.1\)"),
        (("seed",), 1, r"seed \(0 and 1\)"),
        (("resize",), "crop", r"resize \(None and crop\)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_unlike_protocols_are_refused_and_the_difference_named(where: tuple[str, ...], value: Any, told: str) -> None:
    other = made("b", kid=0.1)
    part = other.protocol
    for key in where[:-1]:
        part = part[key]
    part[where[-1]] = value
    with pytest.raises(UsageError, match=rf"a.json and b.json cannot be compared, they differ in {told}"):
        compare([("a.json", made(kid=0.5)), ("b.json", other)])


def test_what_was_scored_may_differ() -> None:
    assert difference(made("a").protocol, made("b").protocol) is None
    other = replace(made("b", kid=0.1), subject={"name": "b", "identity": "b", "count": 7, "beside": "elsewhere"})
    assert "0.1*" in compare([("a", made(kid=0.5)), ("b", other)])


def test_one_file_is_nothing_to_compare() -> None:
    with pytest.raises(UsageError, match="two or more"):
        compare([("a", made(kid=0.5))])


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"kid": 1}', '{"kid": "low", "details": {"kid": {}}}', "\xff"])
def test_files_without_scores_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text, encoding="latin-1")
    with pytest.raises(UsageError, match="holds no scores: make them with `equipoise evaluate"):
        Scores.read(tmp_path / "a.json")


def test_files_that_are_missing_or_cannot_be_written_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read .*a.json: No such file"):
        Scores.read(tmp_path / "a.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        made(kid=0.5).write(tmp_path / "file" / "a.json")


def test_a_number_of_draws_that_is_none_is_refused(tmp_path: Path) -> None:
    made(kid=0.5).write(tmp_path / "a.json")
    contents = json.loads((tmp_path / "a.json").read_text())
    contents["subject"]["draws"] = "three"
    (tmp_path / "a.json").write_text(json.dumps(contents))
    with pytest.raises(UsageError, match="holds no scores"):
        Scores.read(tmp_path / "a.json")
