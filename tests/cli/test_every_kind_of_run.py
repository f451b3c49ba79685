"""The commands of a trained run, with every objective and each of its networks, of classes or none, gray or in colour.

`make test` takes a few of all these runs, `make test-all` all.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

import equipoise
from command import Command
from equipoise import Run, TrainConfig, UsageError
from equipoise.config.compatibility import check_pairing
from equipoise.config.defaults import network_for
from equipoise.exporting.onnx_models import open_session
from equipoise.networks import NETWORKS, Network
from equipoise.objectives import OBJECTIVES, Tasks
from equipoise.sampling import encode
from exporting.conftest import onnxruntime_web as onnxruntime_web  # noqa: PLC0414  # a fixture
from exporting.conftest import untrained_run

SHAPES = {"gray": (1, 16, 16), "colour, wide": (3, 16, 24)}  # (C, H, W)
LATENT, CLASSES = 6, 3
QUICK = ("--steps", 2, "--starts", 1, "--device", "cpu", "--quiet")


class Kind(NamedTuple):
    """What a run is of."""

    objective: str
    network: str
    classes: int
    look: str

    def __str__(self) -> str:
        return ", ".join([self.objective, self.network, self.look, *(["classes"] if self.classes else [])])

    def made(self) -> Network:
        """Its network, as small as can be."""
        network = network_for(OBJECTIVES[self.objective](), self.network)
        code = {"code": 8} if hasattr(network, "code") else {}
        return replace(network, width=4, latent=LATENT, **code)  # type: ignore[call-arg]

    @property
    def encodes(self) -> bool:
        return "energy" in NETWORKS[self.network].score_kinds


def every_kind() -> Iterator[Kind]:
    for objective, network, classes, look in product(OBJECTIVES, NETWORKS, (0, CLASSES), SHAPES):
        try:
            check_pairing(OBJECTIVES[objective](), network_for(OBJECTIVES[objective](), network))
        except UsageError:
            continue
        yield Kind(objective, network, classes, look)


def few_of(kinds: list[Kind]) -> Iterator[Kind]:
    """As few as there can be with every objective, and with every network with and without classes and of each look."""

    def traits(kind: Kind) -> set[object]:
        return {kind.objective, (kind.network, kind.classes), (kind.network, kind.look)}

    left = set().union(*map(traits, kinds))
    while left:
        kind = max(kinds, key=lambda each: len(traits(each) & left))
        left -= traits(kind)
        yield kind


EVERY = list(every_kind())
FEW = set(few_of(EVERY))


@pytest.fixture(
    params=[pytest.param(kind, id=str(kind), marks=() if kind in FEW else pytest.mark.long) for kind in EVERY]
)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
def run(kind: Kind, tmp_path: Path) -> Run:
    """An untrained run in `run`, of twelve pictures in three folders of `photos`."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 24, 3), np.uint8)
    for number, picture in enumerate(pixels):
        path = tmp_path / "photos" / "abc"[number % CLASSES] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    objective, shape = OBJECTIVES[kind.objective](), SHAPES[kind.look]
    config = TrainConfig(
        objective=objective,
        network=kind.made(),
        tasks=Tasks(classify_d=1, classify_g=1) if kind.classes else Tasks(),
        data=str(tmp_path / "photos"),
        resolution=f"{shape[2]}x{shape[1]}",
        channels=shape[0],
        precision="fp32",
    )
    return untrained_run(tmp_path / "run", config, shape, kind.classes)


@pytest.fixture
def does(within: Command, tmp_path: Path) -> Command:
    """The command, which must succeed; or with `refused=` must say that, with exit code 2, and write nothing."""

    def run(*words: object, refused: str = "") -> str:
        before = set(tmp_path.rglob("*"))
        done = within(*words)
        assert done.returncode == (2 if refused else 0), done.stderr
        if refused:
            assert re.search(refused, " ".join(done.stderr.split())), done.stderr
            assert set(tmp_path.rglob("*")) == before
        return done.stdout

    return run


def test_latents_by_hand(kind: Kind, run: Run, does: Command, tmp_path: Path) -> None:
    does("sample", "run", "--count", 5, "--out", "samples.npz")
    samples = np.load(tmp_path / "samples.npz")["images"]
    assert samples.shape == (5, *SHAPES[kind.look])
    assert samples.std() > 0
    assert np.array_equal(samples, equipoise.sample(run, 5))
    does("sample", "run", "--count", 5, "--set", "0=0.7", "--no-ema", "--at", 64, "--out", "samples.png")
    one = () if run.config.prior == "normal" else ("uniform",)
    does("sample", "run", "--truncate", 0.7, "--out", "truncated.png", refused="".join(one))
    does("sample", "run", "--class-grid", "--out", "grid.png", refused="" if kind.classes else "no class")
    does("sample", "run", "--label", CLASSES, refused="classes 0 to 2" if kind.classes else "no class")
    moves = ("--traverse", "0,2", "--direction", "0,0:2", "--frames", 3, "--out", "rows.npz")
    assert "4 rows of 3 images" in does("sample", "run", *moves)
    assert np.load(tmp_path / "rows.npz")["images"].shape == (4, 3, *SHAPES[kind.look])


def test_pictures_and_latents(
    kind: Kind, run: Run, does: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encode, "DRAWN", 600)  # as the codes are as short
    monkeypatch.setattr(encode, "PER_CODE", 1)
    assert does("interpolate", "run", "photos/a", "--frames", 3, "--out", "strip.png", *QUICK).count("residue") == 4
    does("interpolate", "run", "--random", 3, "--loop", "--frames", 3, "--out", "film.webp", "--quiet")
    assert max(Image.open(tmp_path / "film.webp").size) >= 128
    does("invert", "run", "photos", "--batch", 5, *QUICK)
    found = np.load(tmp_path / "inverted/latents.npz")
    assert found["latents"].shape == (12, LATENT)
    assert set(found["labels"]) <= (set(range(CLASSES)) if kind.classes else {-1})
    assert np.isfinite(found["one_step"]).all() == kind.encodes
    does("sample", "run", "--latents", "inverted/latents.npz", "--out", "again.png")
    none = "" if kind.encodes else "no autoencoder"
    does("invert", "run", "photos", "--fast", "--out", "fast", *QUICK, refused=none)
    does("reconstruct", "run", "photos/a", "--out", "energies.png", "--device", "cpu", refused=none)
    does("outliers", "run", "--data", "photos", "--shown", 3, "--device", "cpu", "--quiet")
    assert len((tmp_path / "outliers.csv").read_text().splitlines()) == 13
    does("inpaint", "run", "photos/a/0.png", refused="--inpaint")


def test_folders_to_load(kind: Kind, run: Run, does: Command, tmp_path: Path) -> None:
    for form in ("safetensors", "hub"):
        does("export", "run", "--format", form, "--out", form)
        assert torch.equal(equipoise.load(tmp_path / form).sample(5), equipoise.sample(run, 5))


# A graph depends on what the objective makes of the network, not on the objective.
GRAPHS = {
    (kind.made(), OBJECTIVES[kind.objective]().needs.levels, kind.classes, kind.look): kind for kind in EVERY[::-1]
}


@pytest.mark.long
@pytest.mark.parametrize("kind", [pytest.param(kind, id=str(kind)) for kind in GRAPHS.values()])
def test_graphs(kind: Kind, run: Run, does: Command, tmp_path: Path, onnxruntime_web: Path) -> None:
    does("export", "run", "--format", "onnx", "--no-fp16", "--batch", 2, "--out", "onnx")
    inputs = {"latents": torch.zeros(3, LATENT), **({"labels": torch.arange(3)} if kind.classes else {})}
    (images,) = open_session(str(tmp_path / "onnx/generator.onnx"))(inputs)
    torch.testing.assert_close(images, equipoise.load_generator(run)(*inputs.values()), rtol=0, atol=1e-4)
    does("export", "run", "--format", "onnx", "--what", "discriminator", "--no-fp16", "--out", "discriminator")
    does("export", "run", "--format", "web", "--out", "page")
