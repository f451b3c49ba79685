"""The model card: filled in from the run, with nothing left open and nothing of this machine."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import equipoise
from equipoise import Run, TrainConfig, UsageError
from equipoise.exporting.trained import Trained, data_name

MakeRun = Callable[..., Run]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on a folder of photographs of two classes."""
    home = tmp_path_factory.mktemp("secret-home")
    rng = np.random.default_rng(0)
    for number in range(400):
        folder = home / "pets" / ("cats", "dogs")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EQUIPOISE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        config = TrainConfig(
            data=str(home / "pets"),
            resolution=16,
            network=equipoise.Autoencoder(width=4, latent=6),
            tasks={"classify_d": 1, "classify_g": 1},
            images=320,
            flip=True,
            device="cpu",
            precision="fp32",
        )
        return equipoise.train(config, out=home / "run")


def sections(card: str) -> dict[str, str]:
    return {part.split("\n")[0]: part for part in re.split(r"^## ", card, flags=re.M)[1:]}


def test_it_says_what_the_run_knows(trained: Run, tmp_path: Path) -> None:
    scores = equipoise.evaluate(trained, metrics=("kid", "memorisation"), count=50, features="pixels")
    scores.write(tmp_path / "scores.json")
    folder = equipoise.export(
        trained,
        tmp_path / "hub",
        format="hub",
        scores=tmp_path / "scores.json",
        licence="cc-by-4.0",
        repository="me/pets",
    ).path
    card = (folder / "README.md").read_text()
    header = yaml.safe_load(card.split("---")[1])
    assert header["license"] == "cc-by-4.0"
    assert header["library_name"] == "equipoise"
    parts = sections(card)
    assert re.search(r"3\d\d training images, in 2 classes \(cats, dogs\)", parts["Data"])
    assert "mirrored" in parts["Data"]
    assert "320 images seen" in parts["Training"]
    assert "moving average" in parts["Training"]
    assert f"{scores.figures['kid']['value']:.4g}"[:4] in parts["Scores"]
    assert "features" in parts["Scores"]
    assert "pixels" in parts["Scores"]
    assert 'equipoise.load("me/pets")' in parts["Loading"]
    assert "memorisation" not in parts["Limits"], "it was measured"
    assert "cc-by-4.0" in parts["Licence"]
    assert Image.open(folder / "samples.png").size[0] > 100
    for text in (card, (folder / "config.json").read_text()):
        assert "secret-home" not in text
        assert "nformation needed" not in text.lower()
    assert equipoise.load(folder).config.class_names == ("cats", "dogs")


def test_what_is_not_known_is_said(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("autoencoder")
    tensors, facts, _ = run.load_checkpoint()
    run.change_config(run.config.with_changes(data="elsewhere/photos"), "elsewhere/photos")
    run.save_checkpoint(64, tensors, facts)
    card = (equipoise.export(run, tmp_path / "hub", format="hub").path / "README.md").read_text()
    parts = sections(card)
    assert "not at hand" in parts["Data"]
    assert "Not measured" in parts["Scores"]
    assert "was not measured" in parts["Limits"]
    assert "Not stated" in parts["Licence"]
    assert "license" not in yaml.safe_load(card.split("---")[1])
    assert "elsewhere/" not in card


def test_names_that_are_no_text(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("autoencoder").path.rename(tmp_path / "caf\udce9")
    folder = equipoise.export(tmp_path / "caf\udce9", tmp_path / "\udce9ut", format="hub").path
    assert "# caf\\xe9" in (folder / "README.md").read_text()
    assert equipoise.load(folder).sample(1).shape == (1, 1, 16, 16)


def test_scores_that_are_none(run: Run, tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text("{}")
    with pytest.raises(UsageError, match="holds no scores"):
        equipoise.export(run, tmp_path / "hub", format="hub", scores=tmp_path / "scores.json")
    assert not (tmp_path / "hub").exists()


@pytest.mark.parametrize(
    ("name", "repository", "title", "loaded"),
    [
        (None, None, "run", "path/to/this/folder"),
        ("Pets 1/2", None, "Pets 1/2", "path/to/this/folder"),
        (None, "me/pets", "pets", "me/pets"),
        ("Pets", "me/pets", "Pets", "me/pets"),
    ],
)
def test_it_is_loaded_from_where_it_is(
    trained: Run, tmp_path: Path, name: str | None, repository: str | None, title: str, loaded: str
) -> None:
    folder = equipoise.export(trained, tmp_path / "hub", format="hub", name=name, repository=repository).path
    card = (folder / "README.md").read_text()
    assert f"\n# {title}\n" in card
    assert f'equipoise.load("{loaded}")' in card


def test_what_is_secret_of_an_address_stays_out() -> None:
    secret = "https://me:s3cret@example.org/shards/{000..099}.tar?X-Amz-Signature=abc"
    assert data_name(secret) == "https://example.org/shards/{000..099}.tar"
    assert data_name("hf://me/pets") == "hf://me/pets"
    assert data_name("/home/me/pets") == "pets"


def test_what_is_exported_while_a_run_trains_is_of_one_checkpoint(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one is written as soon as the first has been read."""
    run, read = make_run("autoencoder"), Run.load_checkpoint
    before = run.load_checkpoint()[1]["images"]

    def read_as_it_trains(self: Run, **words: object) -> object:
        tensors, facts, problems = read(self, **words)
        later = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
        self.save_checkpoint(before + 1000, later, {**facts, "images": before + 1000})
        return tensors, facts, problems

    monkeypatch.setattr(Run, "load_checkpoint", read_as_it_trains)
    trained = Trained.open(run, ema=True, best=False)
    assert trained.facts["images"] == trained.at == before
    assert any(weights.any() for weights in trained.generator.parameters())
