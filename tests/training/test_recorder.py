"""What a run leaves in its folder."""

import json
from pathlib import Path

import torch
from PIL import Image

import equipoise
from equipoise import Run, TrainConfig
from equipoise.sampling.load import load_generator


def test_a_run_leaves_everything_that_a_run_must(small: TrainConfig, tmp_path: Path) -> None:
    run = equipoise.train(small, tmp_path / "run", quiet=True)
    names = {path.name for path in run.path.iterdir()}
    assert {"config.yaml", "metrics.jsonl", "checkpoints", "samples", "curves.png", "report.html"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert [path.stem for path in run.samples()] == ["000000000000", "000000000080", "000000000160"]
    with Image.open(run.samples()[-1]) as grid:
        assert grid.mode == "L"
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    trained = [row for row in rows if "k" in row]
    assert [row["images"] for row in trained] == [32, 64, 96, 128, 160]
    for row in trained:
        assert row["m_global"] >= row["energy_real"] > 0
        assert 0 <= row["k"] <= 1
    assert [row["images"] for row in rows if "diversity" in row] == [0, 80, 160]
    assert not list(run.path.rglob("*.tmp"))
    assert Run.open(run.path).config == small
    images = load_generator(Run.open(run.path))(torch.zeros(2, 8))
    assert images.shape == (2, 1, 16, 16)
