"""equipoise runs: what it prints, and that nothing is deleted unless that is said."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

import equipoise
from command import Command
from equipoise import Run, TrainConfig
from equipoise.errors import UsageWarning


@pytest.fixture
def folder(small: TrainConfig, tmp_path: Path) -> Path:
    """A run with a checkpoint, of a name that is not UTF-8, and one without, which is old."""
    run = Run.create(tmp_path / "runs" / os.fsdecode(b"n\xfc"), small)
    run.rewind(0)
    run.save_checkpoint(16, {}, {})
    run.append("metrics.jsonl", {"images": 16, "kid": 0.125})
    run.append("events.jsonl", {"images": 16, "level": "warning", "kind": "grain", "message": "grainy"})
    empty = Run.create(tmp_path / "runs" / "empty", small.with_changes(seed=1))
    for path in [*empty.path.iterdir(), empty.path]:
        os.utime(path, (time.time() - 10_000,) * 2)
    return tmp_path / "runs"


@pytest.mark.usefixtures("folder")
def test_a_table_of_the_usual_folder(within: Command) -> None:
    heading, empty, run = within("runs").stdout.splitlines()
    assert heading.split() == ["run", "state", "images", "images/s", "left", "score", "health"]
    assert empty.split() == ["runs/empty", "empty", "0", "of", "160"]
    assert run.split() == [r"runs/n\xfc", "interrupted", "16", "of", "160", "KID", "0.125", "grain"]


def test_json(within: Command, folder: Path) -> None:
    empty, run = json.loads(within("runs", folder, "--json").stdout)
    assert (empty["state"], empty["kid"], empty["health"]) == ("empty", None, [])
    assert (run["state"], run["kid"], run["health"]) == ("interrupted", 0.125, ["grain"])


def test_a_damaged_run_is_a_line_and_a_sentence(within: Command, folder: Path) -> None:
    (folder / "empty" / "config.yaml").write_text("gama: 1")
    result = within("runs", folder)
    assert result.returncode == 0
    assert "unreadable" in result.stdout
    assert "note:" in result.stdout
    assert "gama" in result.stdout.splitlines()[-1]


def test_two_runs_compared(within: Command, folder: Path) -> None:
    runs = folder / "empty", folder / os.fsdecode(b"n\xfc")
    printed = within("runs", "--compare", *runs).stdout
    assert ["seed", "1", "0"] in [line.split() for line in printed.splitlines()]
    assert ["best", "kid", "-", "0.125"] in [line.split() for line in printed.splitlines()]
    assert json.loads(within("runs", "--json", "--compare", *runs).stdout)["settings"] == {"seed": [1, 0]}


def test_nothing_is_deleted_without_yes(within: Command, folder: Path) -> None:
    said = within("runs", "--clean").stdout
    assert "runs/empty" in said
    assert "--yes" in said
    assert (folder / "empty" / "config.yaml").exists()
    assert "deleted 1 of 1" in within("runs", "--clean", "--yes").stdout
    assert [path.name for path in folder.iterdir()] == [os.fsdecode(b"n\xfc")]
    assert within("runs", "--clean").stdout == "nothing to delete\n"


@pytest.mark.parametrize(
    "words",
    [
        ("--yes",),
        ("--clean", "--json"),
        ("nowhere",),
        ("--clean", "nowhere"),
        ("--compare", "nowhere", "nor"),
        ("--compare", "."),
    ],
)
def test_what_cannot_be_is_refused(within: Command, words: tuple[str, ...]) -> None:
    result = within("runs", *words)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1


def test_a_damaged_checkpoint_is_passed_over_in_words(within: Command, small: TrainConfig, tmp_path: Path) -> None:
    run = equipoise.train(small, tmp_path / "run", quiet=True)
    newest = run.checkpoints()[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    done = within("sample", "run", "--count", 2)
    assert done.returncode == 0
    assert done.stderr.count("warning:") == 1
    assert f"cannot read the checkpoint {newest}" in done.stderr.replace("run/", f"{tmp_path}/run/")
    assert done.stderr.endswith("using the one before it, after 80 images\n")
    with pytest.warns(UsageWarning, match="using the one before it"):
        equipoise.load_generator(run)


def test_a_run_whose_checkpoints_are_gone_is_not_begun_anew(
    within: Command, small: TrainConfig, tmp_path: Path
) -> None:
    run = equipoise.train(small, tmp_path / "run", quiet=True)
    for path in run.checkpoints():
        path.unlink()
    before = (run.path / "metrics.jsonl").read_bytes()
    done = within("resume", "run")
    assert done.returncode == 2
    assert "its checkpoints are gone" in done.stderr
    assert (run.path / "metrics.jsonl").read_bytes() == before


def test_more_samples_than_memory_are_refused_before_any_work(
    within: Command, small: TrainConfig, tmp_path: Path
) -> None:
    equipoise.train(small, tmp_path / "run", quiet=True)
    done = within("sample", "run", "--count", 10**11)  # of 256 bytes each
    assert done.returncode == 2
    assert "too little memory" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert "has seen all of its 160 images" in within("resume", "run").stderr


def test_a_run_whose_images_have_gone_says_so_and_how_to_go_on(
    within: Command, small: TrainConfig, tmp_path: Path
) -> None:
    np.save(tmp_path / "a b.npy", np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8))
    equipoise.train(small.with_changes(data=str(tmp_path / "a b.npy")), tmp_path / "a run", quiet=True)
    (tmp_path / "a b.npy").rename(tmp_path / "moved.npy")
    for command in ("resume", "evaluate", "outliers"):
        gone = within(command, "a run")
        assert gone.returncode == 2
        assert "a b.npy: bring them back" in gone.stderr
        assert "has seen all" not in gone.stderr
    found = within("resume", "a run", "--data", "moved.npy")
    assert found.returncode == 0, found.stderr
    assert "equipoise sample 'a run' --count" in found.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["export", "run", "--out", "out", "--private"], "add --push"),
        (["study", "--objectives", "gan", "--seeds", "1", "--budget", "1k", "--out", "/proc/study"], "another --out"),
        (["data", "inspect", "none"], ""),
    ],
)
def test_what_cannot_work_ends_with_2(words: list[str], said: str, within: Command, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "a.png").write_text("no picture")
    done = within(*words)
    assert done.returncode == 2, done.stdout
    assert said in done.stderr
