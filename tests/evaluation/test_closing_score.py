"""The sentence with which a training ends: figures beside independent ones, words, and where it stands."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import equipoise
from equipoise import Autoencoder, Run, TrainConfig
from equipoise.cli.main import main
from equipoise.config.datasets import open_dataset
from equipoise.data import TOYS
from equipoise.evaluation.closing_score import WORDS, closing_score, digits_found, image_sentence, toy_sentence
from equipoise.metrics import Statistics
from equipoise.metrics.features import load_extractor
from equipoise.sampling.load import trained_generator

TINY = TrainConfig(
    network=Autoencoder(width=4, latent=8),
    resolution=16,
    images=2048,
    sample_every=2048,
    checkpoint_every=2048,
    log_every=1024,
    precision="fp32",
    device="cpu",
)


def one_hot(counts: list[int]) -> Tensor:
    return torch.nn.functional.one_hot(torch.arange(10).repeat_interleave(torch.tensor(counts)), 10).float()


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([10] * 10, "all ten digits found"),
        ([10, 10, 4, 10, 10, 10, 10, 10, 10, 16], "all ten digits found, few twos"),
        ([10, 10, 4, 10, 10, 4, 10, 10, 10, 22], "all ten digits found, few twos and fives"),
        ([10, 50, 0, 10, 10, 10, 0, 10, 0, 0], "6 of 10 digits found, no twos, sixes, eights or nines"),
        ([100, 0, 0, 0, 0, 0, 0, 0, 0, 0], "1 of 10 digits found, no ones, twos, threes, fours, fives, sixes, "),
    ],
)
def test_digits_are_counted_and_the_rare_ones_named(counts: list[int], words: str) -> None:
    assert digits_found(one_hot(counts), one_hot([10] * 10)).startswith(words)


def test_figures_are_those_of_all_pairs() -> None:
    generator = torch.Generator().manual_seed(0)
    samples, real = (torch.randn(count, 64, generator=generator) + shift for count, shift in ((150, 0.2), (120, 0.0)))
    sentence = image_sentence(Statistics(150, samples), Statistics(120, real), "pixels", "120 held-out images")
    x, y = samples.double().numpy(), real.double().numpy()

    def within(a: np.ndarray) -> float:
        kernel = (a @ a.T / 64 + 1) ** 3
        return (kernel.sum() - np.trace(kernel)) / (len(a) * (len(a) - 1))

    kid = within(x) + within(y) - 2 * ((x @ y.T / 64 + 1) ** 3).mean()
    radii = np.sort(np.linalg.norm(y[:, None] - y, axis=2), axis=1)[:, 5]
    coverage = (np.linalg.norm(y[:, None] - x, axis=2).min(axis=1) <= radii).mean()
    assert sentence.startswith(f"KID {kid:.2g}, coverage {coverage:.2f} beside 120 held-out images, by pixels: ")


@pytest.mark.parametrize("features", WORDS)
def test_every_kid_has_words(features: str) -> None:
    limits = list(WORDS[features])
    assert limits == sorted(limits)
    assert limits[-1] == float("inf")


def test_real_digits_are_hardly_to_be_told_from_real_ones() -> None:
    train, held_out = (open_dataset(TrainConfig()).split(part) for part in ("train", "held-out"))
    extractor = load_extractor("digits", shape=(1, 32, 32))
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:500].numpy()
    samples, real = extractor(train.batch(order)), extractor(held_out.batch(np.arange(len(held_out))))
    sentence = image_sentence(Statistics(500, *_parts(samples)), Statistics(514, *_parts(real)), "digits", "others")
    assert sentence.endswith("by digits: hardly to be told from the real ones; all ten digits found")


def _parts(features: object) -> tuple[Tensor, None, Tensor]:
    return features.vectors, None, features.probabilities  # type: ignore[attr-defined]


def test_a_run_ends_with_a_score_once_and_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = equipoise.train(TINY, tmp_path / "run", quiet=True)
    sentence = run.closing_score()
    assert sentence is not None
    assert "beside 514 held-out images, by digits" in sentence
    assert sentence in (run.path / "report.html").read_text()
    generator = trained_generator(run)
    assert closing_score(run.config, open_dataset(run.config), generator, 2048, torch.device("cpu")) == sentence
    before = (run.path / "events.jsonl").read_text()
    assert main(["resume", str(run.path), "--quiet"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"score:   {sentence}"
    assert (run.path / "events.jsonl").read_text() == before
    assert json.loads(before.splitlines()[-1])["kind"] == "score"


def test_a_stopped_run_has_no_score_and_gets_it_at_its_end(tmp_path: Path) -> None:
    run = equipoise.train(TINY, tmp_path / "run", quiet=True)
    longer = equipoise.resume(run.path, images=4096, quiet=True)
    scores = [row for row in longer.rows("events.jsonl") if row["kind"] == "score"]
    assert [row["images"] for row in scores] == [2048, 4096]
    longer.rewind(2048 + 16)
    assert Run.open(run.path).closing_score() == scores[0]["message"]


@pytest.mark.parametrize("changes", [{"images": 960}, {"data": "shards-{0..1}.tar"}])
def test_no_score_after_a_short_run_or_of_shards(changes: dict[str, object]) -> None:
    config = TINY.with_changes(**changes)
    score = closing_score(config, None, torch.nn.Identity(), config.images, torch.device("cpu"))  # type: ignore[arg-type]
    assert score is None


def test_a_toy_is_told_by_its_modes() -> None:
    toy = TOYS["grid25"]
    centres = torch.from_numpy(toy.centres).float()
    far = torch.full((1, 2), 100.0)
    points = torch.cat([centres[:20].repeat(9, 1), far.repeat(20, 1)])
    assert toy_sentence(toy, points) == "20 of 25 modes reached, 90% of the points within 3 sigma of a centre"
    assert toy_sentence(toy, points * torch.nan) is None
