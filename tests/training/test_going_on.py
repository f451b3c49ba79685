"""What a resumed run goes on from: nothing is dropped that may yet be read, and nothing told that was told."""

import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

import equipoise
from equipoise import Run, TrainConfig
from equipoise.errors import UsageError
from equipoise.evaluation.periodic_kid import PeriodicKID
from equipoise.objectives import OBJECTIVES
from equipoise.runs import checkpoint
from equipoise.runs.numbered import images_of

pytestmark = pytest.mark.usefixtures("no_report")


def toy(objective: str = "gan", **settings: int) -> TrainConfig:
    every = {"images": 640, "log_every": 320, "sample_every": 320, "checkpoint_every": 320}
    return TrainConfig(data="ring8", objective=OBJECTIVES[objective](), batch=32, precision="fp32", **every | settings)


def stopped_at(images: int, config: TrainConfig, folder: Path) -> None:
    """Train until a line of metrics after so many images is there, then to the checkpoint that a signal asks for."""

    def watch() -> None:
        while not any(row["images"] >= images for row in map(json.loads, lines())):
            time.sleep(0.002)
        os.kill(os.getpid(), signal.SIGTERM)

    def lines() -> list[str]:
        file = folder / "metrics.jsonl"
        return [line for line in file.read_text().splitlines() if line.endswith("}")] if file.exists() else []

    watcher = threading.Thread(target=watch)
    watcher.start()
    with pytest.raises(equipoise.Interrupted):
        equipoise.train(config, folder, quiet=True)
    watcher.join()


def told(folder: Path) -> list[tuple[int, str]]:
    return [(row["images"], row["kind"]) for row in Run.open(folder).rows("events.jsonl") if row["level"] == "warning"]


def test_a_checkpoint_of_a_newer_version_is_neither_passed_over_nor_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = equipoise.train(toy(), tmp_path / "run", quiet=True, closing_score=False)
    newest = run.checkpoints()[-1]
    contents = checkpoint.load(newest)
    monkeypatch.setattr(checkpoint, "FORMAT", 5)
    checkpoint.save(newest, *contents)
    monkeypatch.undo()
    before = newest.read_bytes()
    with pytest.raises(UsageError, match=r"checkpoint format 5, .*; mend that, or move it away to go on"):
        equipoise.resume(run.path, quiet=True)
    assert newest.read_bytes() == before


def test_a_checkpoint_that_cannot_be_read_for_now_is_not_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = equipoise.train(toy(), tmp_path / "run", quiet=True, closing_score=False)
    newest = run.checkpoints()[-1]

    def refuse(path: Path) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(checkpoint, "open_plain", refuse)
    with pytest.raises(UsageError, match="Permission denied; mend that, or move it away"):
        equipoise.resume(run.path, images=1280, quiet=True)
    monkeypatch.undo()
    assert newest.exists()
    assert Run.open(run.path).config.images == 640
    equipoise.resume(run.path, images=1280, quiet=True)
    assert Run.open(run.path).checkpoints()[-1].name > newest.name


def test_a_run_whose_checkpoints_are_gone_does_not_begin_anew(tmp_path: Path) -> None:
    run = equipoise.train(toy(checkpoint_every=32_000, log_every=32), tmp_path / "run", quiet=True, closing_score=False)
    shutil.rmtree(run.path / "checkpoints")
    rows = run.rows()
    with pytest.raises(UsageError, match="has been trained, and its checkpoints are gone"):
        equipoise.resume(run.path, images=1280, quiet=True)
    assert run.rows() == rows


def test_a_warning_that_was_still_to_come_is_told_after_resuming(tmp_path: Path) -> None:
    config = toy("magan", images=3200, log_every=32, sample_every=1600, checkpoint_every=800)
    equipoise.train(config, tmp_path / "whole", quiet=True, closing_score=False)
    assert told(tmp_path / "whole") == [(1600, "no-margin")]
    stopped_at(832, config, tmp_path / "run")  # by now, lines of metrics tell what the next samples will be told with
    equipoise.resume(tmp_path / "run", quiet=True)
    assert told(tmp_path / "run") == told(tmp_path / "whole")


def test_a_score_that_was_cut_off_is_made_up_for(
    small: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small.with_changes(score_every=80, score_count=20, checkpoint_every=10_000)
    whole = equipoise.train(config, tmp_path / "whole", quiet=True, closing_score=False)
    score, scored = PeriodicKID.__call__, list[int]()

    def killed(self: PeriodicKID, generator: nn.Module) -> object:
        scored.append(1)
        if len(scored) == 2:
            raise RuntimeError("killed")
        return score(self, generator)

    monkeypatch.setattr(PeriodicKID, "__call__", killed)
    with pytest.raises(RuntimeError, match="killed"):
        equipoise.train(config, tmp_path / "run", quiet=True, closing_score=False)
    run = Run.open(tmp_path / "run")
    assert images_of(run.checkpoints()[-1]) == config.images
    assert run.rows() != whole.rows()
    equipoise.resume(run.path, quiet=True)
    assert run.rows() == whole.rows()
    best, expected = run.best_checkpoint(), whole.best_checkpoint()
    assert best
    assert expected
    assert best.name == expected.name


def test_a_run_below_its_own_data_goes_on(small: TrainConfig, tmp_path: Path) -> None:
    for number, image in enumerate(equipoise.data.open_images("digits", 16).batch(np.arange(200))):
        Image.fromarray(image[0].numpy()).save(tmp_path / f"{number}.png")
    run = equipoise.train(small.with_changes(data=str(tmp_path)), tmp_path / "runs" / "run", quiet=True)
    assert run.samples()
    again = equipoise.resume(run.path, images=320, quiet=True)
    assert again.rows()[-1]["images"] == 320
