"""What is deleted, and above all what is not."""

import os
import time
from pathlib import Path

import pytest

from equipoise import Run, TrainConfig
from equipoise.runs.lock import LOCK, sole_writer
from equipoise.runs.rubbish import UNTOUCHED, delete, find_rubbish

LEFTOVER = ".report.html.0123abcd.tmp"


def age(folder: Path) -> None:
    """Let everything in `folder` be as old as rubbish is."""
    then = time.time() - UNTOUCHED - 60
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (then, then), follow_symlinks=False)


@pytest.fixture
def empty(small: TrainConfig, tmp_path: Path) -> Run:
    run = Run.create(tmp_path / "runs" / "empty", small)
    run.rewind(0)
    (run.path / "samples" / "000000000000.png").touch()
    (run.path / "checkpoints" / LEFTOVER).touch()
    (run.path / "events.out.tfevents.1.host.2.0").touch()
    age(run.path)
    return run


def found(run: Run) -> list[Path]:
    return [each.path for each in find_rubbish(run.path.parent)]


def test_a_run_without_a_checkpoint_goes_as_a_whole(empty: Run) -> None:
    [rubbish] = find_rubbish(empty.path.parent)
    assert (rubbish.path, rubbish.why) == (empty.path, "a run that never began")
    assert empty.path.exists(), "finding deletes nothing"
    assert delete([rubbish]) == [rubbish]
    assert not empty.path.exists()
    assert empty.path.parent.exists()


@pytest.mark.parametrize(
    "stranger", ["notes.txt", "samples/mine.png", "checkpoints/000000000016.safetensors.bak", "a/b"]
)
def test_a_run_that_holds_anything_of_a_strangers_is_left(empty: Run, stranger: str) -> None:
    (empty.path / stranger).parent.mkdir(exist_ok=True)
    (empty.path / stranger).touch()
    age(empty.path)
    assert found(empty) == [empty.path / "checkpoints" / LEFTOVER]


def test_links_are_left(empty: Run, tmp_path: Path) -> None:
    (empty.path / "samples" / "000000000016.png").symlink_to(tmp_path)
    age(empty.path)
    assert empty.path not in found(empty)


def test_a_run_with_a_checkpoint_is_left_and_its_leftovers_are_not(empty: Run) -> None:
    empty.save_checkpoint(16, {}, {})
    (empty.path / ".notes.tmp").touch()
    (empty.path / LEFTOVER).touch()
    age(empty.path)
    (empty.path / "samples" / LEFTOVER).touch()  # which somebody may be writing just now
    assert set(found(empty)) == {empty.path / LEFTOVER, empty.path / "checkpoints" / LEFTOVER}
    delete(find_rubbish(empty.path))
    left = {path.name for path in empty.path.rglob("*") if path.is_file()}
    assert {".notes.tmp", LOCK, "config.yaml", "000000000016.safetensors", LEFTOVER} <= left
    assert (empty.path / "samples" / LEFTOVER).exists()


def test_a_run_that_has_trained_is_left_though_its_checkpoints_were_deleted(empty: Run) -> None:
    empty.append("metrics.jsonl", {"images": 0, "diversity": 0.1})
    age(empty.path)
    assert found(empty) == [empty.path]
    empty.append("metrics.jsonl", {"images": 16, "k": 0.1})
    age(empty.path)
    assert empty.path not in found(empty)


def test_a_run_that_was_just_touched_is_left(empty: Run) -> None:
    (empty.path / "config.yaml").touch()
    assert found(empty) == [empty.path / "checkpoints" / LEFTOVER]


def test_a_run_that_is_training_is_never_touched(empty: Run) -> None:
    before = find_rubbish(empty.path)
    with sole_writer(empty.path):
        age(empty.path)
        assert found(empty) == []
        assert delete(before) == []
    assert (empty.path / "checkpoints" / LEFTOVER).exists()


def test_what_is_no_rubbish_any_more_is_left(empty: Run) -> None:
    before = find_rubbish(empty.path)
    empty.save_checkpoint(16, {}, {})
    assert delete(before) == []
    assert empty.checkpoints()


def test_a_configuration_that_cannot_be_read_is_left_to_a_person(empty: Run) -> None:
    (empty.path / "config.yaml").write_text("gamma: [")
    age(empty.path)
    assert empty.path not in found(empty)
