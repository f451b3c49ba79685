"""Runs whose number of processes changes: the images, their order and the weights are those of a run that kept it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_resume import config

import equipoise
from equipoise import Run, TrainConfig, UsageError
from equipoise.config.train_config import write_yaml
from equipoise.runs.checkpoint import load
from shard_tools import shards
from zygote import Zygote

PARTS = [(1, 48), (2, 72), (3, 120), (1, 144)]  # processes, and the images until which they train


def folder_of(path: Path) -> str:
    path.mkdir()
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (60, 16, 16), dtype=np.uint8)):
        Image.fromarray(pixels).save(path / f"{number:02}.png")
    return str(path)


def run_on(zygote: Zygote, processes: int, folder: Path, *words: str) -> None:
    if processes == 1:
        code, told = zygote.run(*words, cwd=folder)
        assert code == 0, told
        return
    for process in zygote.ranks(processes, *words, cwd=folder):
        code, told = process.wait()
        assert code == 0, told


@pytest.mark.parametrize(
    ("data", "began"),
    [
        pytest.param("digits", 1, marks=pytest.mark.long),
        ("shards", 1),
        pytest.param("shards", 2, marks=pytest.mark.long),
        pytest.param("folder", 1, marks=pytest.mark.long),
    ],
)
def test_one_two_three_and_one_process_train_as_one(zygote: Zygote, tmp_path: Path, data: str, began: int) -> None:
    """In fp64, in which another order of sums changes nothing that another image would not change far more."""
    places = {"digits": "digits", "shards": str(tmp_path / "s"), "folder": str(tmp_path / "f")}
    if data == "shards":
        places["shards"] = shards(tmp_path / "s", [30, 26, 40, 24])
    elif data == "folder":
        folder_of(tmp_path / "f")
    settings = config("began", data=places[data], batch=12, precision="fp64", checkpoint_every=24, images=PARTS[-1][1])
    (tmp_path / "whole.yaml").write_text(write_yaml(settings, {}))
    (tmp_path / "part.yaml").write_text(write_yaml(settings.with_changes(images=PARTS[0][1]), {}))
    run_on(zygote, began, tmp_path, "train", "--config", "whole.yaml", "--out", "whole", "--quiet")
    run_on(zygote, began, tmp_path, "train", "--config", "part.yaml", "--out", "run", "--quiet")
    for processes, images in PARTS[1:]:
        run_on(zygote, processes, tmp_path, "resume", "run", "--images", str(images), "--quiet")
    (ours, facts), (theirs, known) = (load(Run.open(tmp_path / name).checkpoints()[-1]) for name in ("run", "whole"))
    assert facts["processes"] == known["processes"] == began
    assert facts["images"] == known["images"] == PARTS[-1][1]
    for name, tensor in theirs.items():
        torch.testing.assert_close(
            ours[name], tensor, rtol=1e-7, atol=1e-9, msg=lambda text, name=name: f"{name}{text}"
        )
    rows = {row["images"]: row for row in Run.open(tmp_path / "run").rows()}
    for row in Run.open(tmp_path / "whole").rows():
        shared = rows[row["images"]]
        assert {key: shared[key] for key in row if key in shared} == pytest.approx(
            {key: value for key, value in row.items() if key in shared}, rel=1e-4, abs=1e-6
        )


@pytest.mark.parametrize("spawned", [False, pytest.param(True, marks=pytest.mark.long)])
def test_devices_may_be_named_when_resuming(small: TrainConfig, tmp_path: Path, *, spawned: bool) -> None:
    run = equipoise.train(small.with_changes(images=32), tmp_path / "run", quiet=True)
    with pytest.raises(UsageError, match="--batch 16 does not divide by --devices 3"):
        equipoise.resume(run.path, images=64, devices=3, quiet=True)
    with pytest.raises(UsageError, match="devices"):
        equipoise.resume(run.path, images=64, devices=0, quiet=True)
    assert Run.open(run.path).config == run.config, "nothing was changed"
    resumed = equipoise.resume(run.path, images=64, devices=1 + spawned, quiet=True)
    assert resumed.config.devices == 1 + spawned
    assert load(resumed.checkpoints()[-1])[1]["images"] == 64
