"""Runs in every state, as they come to be: trained to the end, training, killed, diverged, damaged."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import equipoise
from equipoise import BEGAN, Diverged, Run, TrainConfig, UsageError, list_runs
from equipoise.config.train_config import write_yaml
from equipoise.runs import jsonl
from equipoise.runs.listing import RunStatus, read_status
from equipoise.runs.lock import LOCK
from equipoise.runs.numbered import numbered_name


@pytest.fixture(scope="module")
def finished(small: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return equipoise.train(small, tmp_path_factory.mktemp("finished") / "run", quiet=True).path


@pytest.fixture
def trained(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "runs" / "trained"))


def wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.05)


def test_a_run_that_trains_is_running_until_it_is_killed(small: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(write_yaml(small.with_changes(images=10**8), {}))
    words = [sys.executable, "-m", "equipoise", "train", "--config", "run.yaml", "--out", "runs/a/b", "--quiet"]
    run = tmp_path / "runs" / "a" / "b"
    process = subprocess.Popen(words, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        wait_for(lambda: process.poll() is not None or len(list(run.glob("checkpoints/0*"))) > 2)
        wait_for(lambda: process.poll() is not None or read_status(run).images_per_second is not None)  # after a second
        before = (run / LOCK).stat().st_mtime
        [status] = list_runs(tmp_path / "runs")
        assert (status.path, status.state, status.title, status.total) == (run, "running", "began on digits", 10**8)
        assert status.images >= 160
        assert status.images_per_second
        assert status.seconds_left == pytest.approx((10**8 - status.images) / status.images_per_second)
        assert (run / LOCK).stat().st_mtime == before, "looking left a trace"
        assert process.poll() is None, "looking ended it"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    [status] = list_runs(tmp_path / "runs")
    assert (status.state, status.seconds_left, status.note) == ("interrupted", None, "")
    assert numbered_name(status.images, ".safetensors") == Run.open(run).checkpoints()[-1].name


def test_a_finished_run(trained: Path) -> None:
    for path in trained.rglob("*"):  # as if each image had taken a fortieth of a second
        seen = int(path.stem) if path.stem.isdecimal() else 0
        os.utime(path, (1e9, 1e9 + seen / 40))
    status = read_status(trained)
    assert (status.state, status.images, status.total, status.seconds_left) == ("finished", 160, 160, None)
    assert status.images_per_second == pytest.approx(40)
    assert status.score == Run.open(trained).closing_score()


def test_a_run_that_converged_before_its_last_image_is_finished(small: TrainConfig, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", small.with_changes(until_converged=True))
    run.rewind(0)
    run.save_checkpoint(64, {}, {"plateau": {"converged": False}})
    assert read_status(run.path).state == "interrupted"
    run.save_checkpoint(80, {}, {"plateau": {"converged": True}})
    assert read_status(run.path).state == "finished"


def test_a_run_that_diverged(small: TrainConfig, tmp_path: Path) -> None:
    objective = BEGAN(boundary="batch", pull=0.3)
    steep = small.with_changes(objective=objective, update="simultaneous", batch=8, images=320, lr=0.5, warmup=0)
    with pytest.raises(Diverged):
        equipoise.train(steep, tmp_path / "run", quiet=True)
    status = read_status(tmp_path / "run")
    assert (status.state, status.health[-1]) == ("diverged", "not-finite")


def test_a_run_without_a_checkpoint_is_empty(small: TrainConfig, tmp_path: Path) -> None:
    Run.create(tmp_path / "run", small)
    assert list_runs(tmp_path) == [RunStatus(tmp_path / "run", "empty", "began on digits", total=160)]


def test_health_is_what_stands_and_no_longer_what_has_passed(trained: Path) -> None:
    (trained / "events.jsonl").unlink()
    for level, kind in (
        ("warning", "grain"),
        ("error", "data"),
        ("warning", "blur"),
        ("info", "resumed"),
        ("info", "grain"),
    ):
        jsonl.append(trained / "events.jsonl", {"images": 160, "level": level, "kind": kind, "message": ""})
    assert read_status(trained).health == ("blur",)


@pytest.mark.parametrize("damage", ["config", "no config", "checkpoints", "events"])
def test_a_damaged_run_is_listed_with_the_reason(trained: Path, damage: str) -> None:
    match damage:
        case "config":
            (trained / "config.yaml").write_bytes(b"data: [\xff")
        case "no config":
            (trained / "config.yaml").unlink()
        case "checkpoints":
            for file in Run.open(trained).checkpoints():
                os.truncate(file, 1000)
        case _:
            (trained / "events.jsonl").unlink()
            (trained / "events.jsonl").mkdir()
    [status] = list_runs(trained.parent)
    assert status.state == "unreadable"
    assert str(trained) in status.note
    assert "\n" not in status.note


def test_a_damaged_newest_checkpoint_is_told_and_the_one_before_counts(trained: Path) -> None:
    os.truncate(Run.open(trained).checkpoints()[-1], 1000)
    status = read_status(trained)
    assert (status.state, status.images) == ("interrupted", 80)
    assert "cut short" in status.note or "cannot read" in status.note


def test_folders_that_are_no_runs_are_passed_over_and_links_not_followed(trained: Path) -> None:
    parent = trained.parent
    for folder, file in (("other", "config.yaml"), ("model/checkpoints", "last.safetensors"), ("locked", LOCK)):
        (parent / folder).mkdir(parents=True)
        (parent / folder / file).touch()
    (parent / "link").symlink_to(trained)
    (parent / "up").symlink_to(parent)
    (parent / "deep" / "er").mkdir(parents=True)
    moved = trained.rename(Path(os.fsdecode(os.fsencode(parent / "deep" / "er") + b"/r\xfcn")))
    [status] = list_runs(parent)
    assert (status.path, status.state) == (moved, "finished")
    assert list_runs(moved) == [status], "a run's own folder"


def test_only_the_ends_of_files_are_read(trained: Path) -> None:
    with (trained / "metrics.jsonl").open("ab") as file:
        file.write(b'{"images": 144}\n' * jsonl.MOST_END + b'{"images": 160, "kid": 0.25}\n')
    ends = jsonl.read_end(trained / "metrics.jsonl")
    assert len(ends) == jsonl.MOST_END // len('{"images": 144}\n') - 1, "whole lines alone"
    assert ends[-1] == {"images": 160, "kid": 0.25}
    assert read_status(trained).kid == 0.25


@pytest.mark.parametrize("name", ["nowhere", "file", "nul\0"])
def test_a_folder_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError):
        list_runs(tmp_path / name)


def test_the_speed_of_a_copy_is_not_known(trained: Path) -> None:
    """Its files are all of the moment at which they were copied."""
    for path in sorted(trained.rglob("*")):
        os.utime(path, (1e9, 1e9 + 0.01 * len(path.name)))
    assert read_status(trained).images_per_second is None
