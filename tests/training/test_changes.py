"""A run's configuration edited between two starts, and its data moved."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import equipoise
from command import Command
from equipoise import BEGAN, Run, TrainConfig, UsageError
from equipoise.config.changes import CHANGEABLE, forbidden_changes
from equipoise.devices import SingleProcess
from equipoise.runs.checkpoint import load
from equipoise.training.train import resume_if_exists

pytestmark = pytest.mark.usefixtures("no_report")


@pytest.fixture(scope="module")
def trained(small: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = small.with_changes(objective=BEGAN(gamma=1.0), images=48, batch=16, checkpoint_every=32)
    return equipoise.train(config, tmp_path_factory.mktemp("trained") / "run", quiet=True).path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Run:
    return Run.open(shutil.copytree(trained, tmp_path / "run"))


def edit(run: Run, before: str, after: str) -> None:
    file = run.path / "config.yaml"
    assert file.read_text().count(before) == 1
    file.write_text(file.read_text().replace(before, after))


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("seed: 0", "seed: 1", "seed is 1 and was 0"),
        ("gamma: 1.0", "gamma: 0.5", "objective.gamma is 0.5 and was 1.0"),
        ("batch: 16", "batch: 8", "batch is 8 and was 16"),
        ("width: 4", "width: 5", "network.width is 5 and was 4"),
        ("flip: false", "flip: true", "flip is True and was False"),
    ],
)
def test_an_edited_configuration_is_refused_with_the_difference(run: Run, before: str, after: str, told: str) -> None:
    edit(run, before, after)
    names = sorted(run.path.rglob("*"))
    with pytest.raises(UsageError, match=rf"was changed since the last checkpoint \({told}\): .*--force-changes"):
        equipoise.resume(run.path, images=64, quiet=True)
    with pytest.raises(UsageError, match=rf"\({told}\): put that back"):
        equipoise.sample(Run.open(run.path), 1)
    assert sorted(run.path.rglob("*")) == names
    assert "images: 48" in (run.path / "config.yaml").read_text(), "what is refused changes nothing"


def test_a_change_that_is_meant_is_told_once(run: Run) -> None:
    edit(run, "seed: 0", "seed: 1")
    equipoise.resume(run.path, images=64, force_changes=True, quiet=True)
    events = Run.open(run.path).rows("events.jsonl")
    assert [(row["images"], row["message"]) for row in events if row["kind"] == "changed"] == [
        (48, "changed on request: seed is 1 and was 0")
    ]
    resumed = equipoise.resume(run.path, images=80, quiet=True)
    assert load(resumed.checkpoints()[-1])[1]["config"] == resumed.config.to_dict()


def test_a_run_cannot_end_before_where_it_is(run: Run) -> None:
    with pytest.raises(UsageError, match="has seen 48 images already, and cannot end after 32"):
        equipoise.resume(run.path, images=32, quiet=True)
    assert "images: 48" in (run.path / "config.yaml").read_text()


def test_lengths_and_intervals_may_change(run: Run) -> None:
    for before, after in (("images: 48", "images: 64"), ("keep: 3", "keep: 1"), ("log_every: 32", "log_every: 16")):
        edit(run, before, after)
    resumed = equipoise.resume(run.path, quiet=True)
    assert [path.stem for path in resumed.checkpoints()] == [f"{64:012}"]


def test_every_setting_is_of_one_kind(small: TrainConfig) -> None:
    settings = small.to_dict()
    assert settings.keys() > CHANGEABLE
    assert forbidden_changes(small, small.with_changes(images=7, keep=9, data="elsewhere")) == []
    assert forbidden_changes(small, small.with_changes(precision="fp64", data="elsewhere")) == [
        "precision is fp64 and was fp32"
    ]


def test_checkpoints_that_do_not_know_their_configuration_go_on(run: Run) -> None:
    for path in run.checkpoints():
        tensors, facts = load(path)
        del facts["config"]
        equipoise.runs.checkpoint.save(path, tensors, facts)
    edit(run, "seed: 0", "seed: 1")
    equipoise.resume(run.path, images=64, quiet=True)


def test_data_are_found_from_everywhere_and_where_they_went(
    small: TrainConfig, tmp_path: Path, within: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is relative to where `train` was called, for `resume` and `evaluate` too."""
    images = np.random.default_rng(0).integers(0, 256, (60, 16, 16), np.uint8)
    (tmp_path / "elsewhere").mkdir()
    np.save(tmp_path / "photos.npy", images)
    np.save(tmp_path / "elsewhere" / "photos.npy", images[::-1])  # others, in the same place from there
    run = equipoise.train(small.with_changes(data="photos.npy", images=32, batch=16), "run", quiet=True)
    assert run.config.data == "photos.npy"

    monkeypatch.chdir(tmp_path / "elsewhere")
    resumed = equipoise.resume("../run", images=48, quiet=True)
    assert resumed.config.data == "photos.npy"
    scores = equipoise.evaluate(resumed, features="pixels", metrics=("kid",), split="train", count=20, quiet=True)
    assert scores.protocol["reference"]["count"] == 20

    shutil.move(tmp_path / "photos.npy", tmp_path / "moved.npy")
    before = (tmp_path / "run" / "config.yaml").read_bytes()
    wrong = within("resume", tmp_path / "run", "--images", "64", "--data", tmp_path / "elsewhere" / "photos.npy")
    assert wrong.returncode == 2
    assert "are not those that" in wrong.stderr
    assert (tmp_path / "run" / "config.yaml").read_bytes() == before
    monkeypatch.chdir(tmp_path)
    found = within("resume", "run", "--images", "64", "--data", "moved.npy", "--quiet")
    assert found.returncode == 0, found.stderr
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert equipoise.resume("../run", images=80, quiet=True).config.data == "moved.npy"
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    assert kinds.count("resumed") == 3


def test_data_may_move_to_a_path_that_is_called_like_others(
    small: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("equipoise.training.recorder.write_report", lambda _: None)
    Path("photos").mkdir()
    np.save("photos.npy", np.random.default_rng(0).integers(0, 256, (60, 16, 16), np.uint8))
    for number, image in enumerate(np.load("photos.npy")):
        Image.fromarray(image).save(f"photos/{number}.png")
    equipoise.train(small.with_changes(data="photos", images=16), "run", quiet=True, closing_score=False)
    shutil.move("photos", "digits")
    assert equipoise.resume("run", data=Path("digits"), images=32, quiet=True).config.data == "./digits"


def test_a_configuration_finds_its_data_from_everywhere(
    small: TrainConfig, tmp_path: Path, within: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `resume` does, unless others are named."""
    monkeypatch.setattr("equipoise.training.recorder.write_report", lambda _: None)  # which takes longer than all else
    images = np.random.default_rng(0).integers(0, 256, (60, 16, 16), np.uint8)
    np.save(tmp_path / "photos.npy", images)
    equipoise.train(small.with_changes(data="photos.npy", images=16), "run", quiet=True, closing_score=False)
    words = ["--images", "16", "--quiet"]
    assert within("train", "--config", "run/config.yaml", *words, "--out", "again").returncode == 0
    assert Run.open("again").config.data == "photos.npy"
    (tmp_path / "elsewhere").mkdir()
    np.save(tmp_path / "elsewhere" / "photos.npy", images[::-1])  # others, in the same place from there
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert within("train", "--config", "../run/config.yaml", *words, "--out", "a").returncode == 0
    assert Run.open("a").config.data == str(tmp_path / "photos.npy")
    assert (
        within("train", "--config", "../run/config.yaml", "--data", "photos.npy", *words, "--out", "b").returncode == 0
    )
    assert Run.open("b").config.data == "photos.npy"


def test_an_unchanged_command_goes_on_with_what_resume_has_changed(
    small: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("equipoise.training.recorder.write_report", lambda _: None)
    images = np.random.default_rng(0).integers(0, 256, (60, 16, 16), np.uint8)
    np.save("photos.npy", images)
    np.save("others.npy", images[::-1])
    config = small.with_changes(data="photos.npy", images=16, devices=2)
    equipoise.train(config.with_changes(devices=1), "run", quiet=True, closing_score=False)
    monkeypatch.setattr("equipoise.training.train.make_launcher", lambda device, _: SingleProcess(torch.device(device)))

    def go_on(**changes: Any) -> tuple[str, int, int]:
        run = resume_if_exists(config.with_changes(**changes), "run", quiet=True)
        return run.config.data, run.config.devices, run.load_checkpoint()[1]["images"]

    assert go_on() == ("photos.npy", 2, 16)
    shutil.copy("photos.npy", "copy.npy")
    equipoise.resume("run", data="copy.npy", images=32, devices=1, quiet=True)
    assert go_on(devices=1) == ("photos.npy", 1, 32), "the number of images is that of resume"
    shutil.move("photos.npy", "moved.npy")
    equipoise.resume("run", data="moved.npy", quiet=True)
    assert go_on(images=48) == ("moved.npy", 2, 48)
    before = Path("run/config.yaml").read_bytes()
    for data in ("others.npy", "digits"):
        with pytest.raises(UsageError, match=f"the images at {data} are not those that run was trained on"):
            go_on(data=data)
    with pytest.raises(UsageError, match=r"was made with another seed \(0, not 1\)"):
        go_on(seed=1)
    assert Path("run/config.yaml").read_bytes() == before
