"""What is different between two runs."""

from pathlib import Path

import pytest

from equipoise import BEGAN, Run, TrainConfig, UsageError
from equipoise.runs.comparison import compare_runs


@pytest.fixture
def first(small: TrainConfig, tmp_path: Path) -> Run:
    run = Run.create(tmp_path / "first", small.with_changes(objective=BEGAN(gamma=0.5)))
    for images, kid in ((16, 0.5), (32, 0.25), (48, 0.75)):
        run.append("metrics.jsonl", {"images": images, "kid": kid})
    run.append("metrics.jsonl", {"images": 64, "m_global": 0.1})
    return run


def test_settings_and_scores(first: Run, small: TrainConfig, tmp_path: Path) -> None:
    second = Run.create(tmp_path / "second", small.with_changes(objective=BEGAN(gamma=0.75), seed=7))
    second.append("metrics.jsonl", {"images": 16, "k": 0.0})
    second.append("events.jsonl", {"images": 16, "level": "info", "kind": "score", "message": "KID 3"})
    comparison = compare_runs(first, second)
    assert comparison.settings == {"objective.gamma": (0.5, 0.75), "seed": (0, 7)}
    assert comparison.scores == {
        "images": (64, 16),
        "best kid": (0.25, None),
        "kid": (0.75, None),
        "m_global": (0.1, None),
        "k": (None, 0.0),
        "closing score": (None, "KID 3"),
    }
    assert comparison.note == ""


def test_scores_that_were_not_made_alike_are_told(first: Run, small: TrainConfig, tmp_path: Path) -> None:
    second = Run.create(tmp_path / "second", first.config.with_changes(resolution=32, network=small.network))
    assert "resolution" in compare_runs(first, second).note


def test_a_run_is_not_compared_with_itself(first: Run, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(first.path)
    with pytest.raises(UsageError, match="same run"):
        compare_runs(first, Run.open(tmp_path / "link"))
