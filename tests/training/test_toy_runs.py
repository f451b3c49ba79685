"""Toy runs from the command line to their scores, with tiny networks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from PIL import Image

from equipoise.cli.main import main
from equipoise.config.presets import PRESETS
from equipoise.config.train_config import TrainConfig
from equipoise.data import TOYS
from equipoise.errors import UsageError
from equipoise.evaluation.evaluate import evaluate
from equipoise.evaluation.scores import Scores
from equipoise.metrics import POINT_METRICS
from equipoise.networks import MLP, Autoencoder, MLPAutoencoder
from equipoise.objectives import OBJECTIVES
from equipoise.runs.run import Run
from equipoise.sampling.load import load_generator
from equipoise.sampling.sample import sample
from equipoise.training.train import train
from equipoise.views.report import read_summary
from equipoise.views.toy_scatter import SIDE, toy_measures

TINY: dict[str, Any] = {"network": MLP(width=8, depth=1), "batch": 8, "images": 64, "sample_every": 32}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = PRESETS["wgan-gp"]["toy"].with_changes(**TINY, device="cpu")
    return train(config, tmp_path_factory.mktemp("toys") / "run", quiet=True)


def test_a_run_draws_scatters_and_counts_modes(run: Run) -> None:
    pictures = run.samples()
    assert [int(path.stem) for path in pictures] == [0, 32, 64]
    assert {Image.open(path).size for path in pictures} == {(SIDE, SIDE)}
    measured = [row for row in run.rows() if "modes" in row]
    assert [row["images"] for row in measured] == [0, 32, 64]
    assert all(row.keys() >= {"in_modes", "spread", "diversity"} for row in measured)


@pytest.mark.long
def test_ebgan_finds_the_modes_of_the_grid(tmp_path: Path) -> None:
    """In under half of its preset's points; without the penalty it finds 5 to 7."""
    settings = {"network": MLPAutoencoder(width=64), "images": 1_000_000, "device": "cpu"}
    found = evaluate(train(PRESETS["ebgan"]["toy"].with_changes(**settings), tmp_path / "run", quiet=True), draws=1)
    assert found.figures["modes"]["value"] >= 20
    assert found.figures["in-modes"]["value"] > 0.3


def test_the_report_speaks_of_no_resolution(run: Run) -> None:
    assert read_summary(run.path).title == "WGAN-GP on grid25"


def test_samples_are_points_and_more_of_them_only_add(run: Run) -> None:
    few, many = sample(run, 10), sample(run, 70)
    assert (many.shape, many.dtype) == ((70, 2, 1, 1), torch.float32)
    assert torch.equal(few, many[:10])
    generator = load_generator(run)
    assert torch.unique(many, dim=0).shape[0] == 70
    assert next(generator.parameters()).shape == (8, 2)


def test_sample_writes_a_picture_or_an_array_of_points(run: Run, tmp_path: Path) -> None:
    words = ["sample", str(run.path), "--count", "30", "--out"]
    assert main([*words, str(tmp_path / "points.npz")]) == 0
    points = np.load(tmp_path / "points.npz")["points"]
    np.testing.assert_array_equal(points, sample(run, 30).flatten(1).numpy())
    assert main([*words, str(tmp_path / "points.png")]) == 0
    assert Image.open(tmp_path / "points.png").size == (SIDE, SIDE)
    assert main([*words, str(tmp_path / "folder")]) == 2


def test_the_command_line_takes_what_suits_toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--data=ring8", "--images", "512", "--width", "8", "--device", "cpu", "--quiet"]
    assert main(["train", "wgan-gp", *words]) == 0
    run = Run.open(tmp_path / "runs" / "wgan-gp-ring8-001")
    assert run.config.objective == OBJECTIVES["wgan-gp"](weight=0.1)
    assert isinstance(run.config.network, MLP)
    assert (run.config.batch, run.config.toy) == (256, TOYS["ring8"])


def test_every_objective_but_discrete_ones_has_a_preset_for_toys() -> None:
    assert {name for name, presets in PRESETS.items() if "toy" not in presets} == {"bgan-discrete"}
    for name, presets in PRESETS.items():
        if "toy" in presets:
            energy = presets["toy"].objective.needs.score == "energy"
            assert isinstance(presets["toy"].network, MLPAutoencoder if energy else MLP), name


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"objective": OBJECTIVES["bgan-discrete"](), "network": MLP()}, "draws each pixel from a few values"),
        ({"objective": OBJECTIVES["began"](), "network": Autoencoder()}, "use --network mlp-autoencoder"),
        ({"objective": OBJECTIVES["gan"](), "network": "dcgan"}, "use --network mlp"),
        ({"objective": OBJECTIVES["gan"](), "score_every": 1000}, "--score-every scores images"),
    ],
)
def test_what_points_do_not_allow_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TrainConfig(data="grid25", **settings)


def test_evaluation_scores_points_beside_held_out_ones(run: Run, tmp_path: Path) -> None:
    scores = evaluate(run, count=200, seed=3)
    draws, toy = sample(run, 600, seed=3).flatten(1).split(200), TOYS["grid25"]
    assert list(scores.figures) == list(POINT_METRICS)
    real = toy.held_out(200).numpy()
    distances = [
        np.mean([scipy.stats.wasserstein_distance(points.numpy()[:, axis], real[:, axis]) for axis in (0, 1)])
        for points in draws
    ]
    found = scores.figures["wasserstein"]
    assert found["value"] == pytest.approx(np.mean(distances), rel=1e-6)
    assert found["deviation"] == pytest.approx(np.std(distances, ddof=1), rel=1e-4)
    inside = [toy_measures(toy, points)["in_modes"] for points in draws]
    assert scores.figures["in-modes"]["value"] == pytest.approx(np.mean(inside))
    assert list(evaluate(run, count=200, metrics=("mmd",)).figures) == ["mmd"]


def test_the_command_evaluates_and_compares_toy_runs(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(tmp_path / f"{seed}.json") for seed in (0, 1)]
    for seed, file in enumerate(files):
        words = ["evaluate", str(run.path), "--count", "100", "--seed", str(seed), "--json", file]
        assert main(words) == 0
    assert "100 points beside 100 of grid25 (held-out)" in capsys.readouterr().out
    read = [Scores.read(Path(file)) for file in files]
    assert read[1].figures == evaluate(run, count=100, seed=1).figures
    assert main(["compare", *files]) == 2  # other latents
    assert main(["compare", files[0], files[0]]) == 0
    assert "in-modes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"metrics": ("kid",)}, "grid25 has no score 'kid': choose from modes, in-modes, spread, mmd, wasserstein"),
        ({"features": "pixels"}, "--features is for images, and grid25 has points"),
        ({"count": 10, "metrics": ("modes", "mmd")}, "mmd needs 20 points or more, not 10: raise --count"),
        ({"metrics": ()}, "there is no score to compute: choose from modes"),
        ({"crop": 4}, "--crop is for images"),
        ({"reference": "digits"}, "is a toy, of points and not of images: evaluate a run on it without --reference"),
        ({"reference": "ring8"}, "is a toy, of points and not of images"),
    ],
)
def test_evaluation_refuses_what_points_do_not_have(
    run: Run, settings: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("equipoise.evaluation.toys.sample", None)  # before any work
    with pytest.raises(UsageError, match=words):
        evaluate(run, **{"count": 50, **settings})


def test_few_points_leave_out_what_nobody_asked_for(run: Run) -> None:
    scores = evaluate(run, count=10, draws=1)
    assert list(scores.figures) == ["modes", "in-modes", "spread"]
    assert scores.notes == ("mmd, wasserstein: left out, for there are only 10 points: raise --count",)


@pytest.mark.parametrize("names", [("digits", "RUN"), ("ring8", "digits"), ("digits", "ring8"), ("ring8", None)])
def test_a_toy_is_not_scored_as_images(run: Run, names: tuple[str, str | None]) -> None:
    images, reference = (str(run.path) if name == "RUN" else name for name in names)
    assert images is not None
    with pytest.raises(UsageError, match=r"(grid25|ring8|run.*) is a toy, of points and not of images"):
        evaluate(images, reference, count=20)
