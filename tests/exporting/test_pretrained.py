"""A generator on its own: what it makes is what the run makes, and what is no generator is refused."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import equipoise
from equipoise import Run, TrainConfig, UsageError
from equipoise.exporting.pretrained import GeneratorConfig, PretrainedGenerator
from hostile import resident

MakeRun = Callable[..., Run]


@pytest.fixture
def exported(run: Run, tmp_path: Path) -> Path:
    return equipoise.export(run, tmp_path / "out").path


@pytest.mark.parametrize("kind", ["autoencoder", "skips", "classes", "dcgan", "layers", "discrete", "shades"])
def test_it_makes_what_the_run_makes(make_run: MakeRun, tmp_path: Path, kind: str) -> None:
    run = make_run(kind)
    equipoise.export(run, tmp_path / "out")
    generator = equipoise.load(tmp_path / "out")
    assert not generator.training
    assert torch.equal(generator.sample(70, seed=3), equipoise.sample(run, 70, seed=3))
    assert generator.config.data == "digits"
    if generator.classes:
        assert torch.equal(generator.sample(9, label=2), equipoise.sample(run, 9, label=2))
        with pytest.raises(UsageError, match=f"{generator.classes} classes"):
            generator.sample(1, label=generator.classes)


def test_weights_themselves_and_their_average(run: Run, tmp_path: Path) -> None:
    equipoise.export(run, tmp_path / "raw", ema=False)
    raw, average = equipoise.load(tmp_path / "raw"), equipoise.load_generator(run)
    assert torch.equal(raw.sample(4), equipoise.sample(run, 4, ema=False))
    assert not torch.equal(raw.sample(4), equipoise.sample(run, 4))
    assert raw.state_dict().keys() == average.state_dict().keys()


def test_an_earlier_checkpoint(small: TrainConfig, tmp_path: Path) -> None:
    run = equipoise.train(small, tmp_path / "run", quiet=True)
    equipoise.export(run, tmp_path / "early", at=80)
    early = equipoise.load(tmp_path / "early")
    assert early.config.images == 80
    assert torch.equal(early.sample(4), equipoise.sample(run, 4, at=80))
    assert not torch.equal(early.sample(4), equipoise.sample(run, 4))
    with pytest.raises(UsageError, match="checkpoints after 0, 80, 160 images, not 500"):
        equipoise.export(run, tmp_path / "none", at=500)
    assert not (tmp_path / "none").exists()


def test_a_fresh_process_loads_it(exported: Path, run: Run) -> None:
    code = f"import equipoise; print(equipoise.load({str(exported)!r}).sample(3).sum().item())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == int(equipoise.sample(run, 3).sum())


def test_one_that_fills_in_is_called_with_images(make_run: MakeRun, tmp_path: Path) -> None:
    equipoise.export(make_run("filling"), tmp_path / "out")
    generator = equipoise.load(tmp_path / "out")
    masked, mask = torch.rand(2, 1, 16, 16), torch.zeros(2, 1, 16, 16)
    mask[..., 8:] = 1
    assert torch.equal(generator(torch.randn(2, 6), masked=masked, mask=mask)[..., :8], masked[..., :8])
    with pytest.raises(UsageError, match="fills in images"):
        generator.sample(1)


@pytest.mark.parametrize("kind", ["autoencoder", "classes", "dcgan", "layers", "perceptrons"])
def test_in_another_type_it_samples_too(make_run: MakeRun, tmp_path: Path, kind: str) -> None:
    exported = equipoise.export(make_run(kind), tmp_path / "out").path
    samples = equipoise.load(exported).sample(8).int()
    for dtype, most in ((torch.float64, 1), (torch.float16, 3), (torch.bfloat16, 12)):
        other = equipoise.load(exported).to(dtype).sample(8).int()
        assert (other - samples).abs().max() <= most


def changed(folder: Path, **values: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return folder


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"format": 2, "equipoise": "9.1"}, "format 2.*'9.1'.*pip install -U"),
        ({"network": {"name": "autoencode"}}, "unknown network 'autoencode'.*did you mean 'autoencoder'"),
        ({"network": {"name": "autoencoder", "width": -1}}, "width"),
        ({"network": {"name": "autoencoder", "wide": 4}}, "unknown key 'wide'"),
        ({"shape": [1, 16]}, "shape"),
        ({"shape": [1, 17, 16]}, "divide"),
        ({"shape": [1, 32, 32]}, "does not fit the config.json"),
        ({"prior": "cauchy"}, "prior"),
        ({"classes": -1}, "classes"),
    ],
)
def test_a_configuration_that_is_not_to_be_used(exported: Path, values: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        equipoise.load(changed(exported, **values))


def test_sizes_that_a_file_claims_take_no_memory(exported: Path) -> None:
    huge = {"name": "mlp", "width": 65536, "depth": 64, "latent": 65536}  # 1.1 TB of weights
    before = resident("VmHWM")
    with pytest.raises(UsageError, match="does not fit the config.json"):
        equipoise.load(changed(exported, network=huge))
    assert resident("VmHWM") - before < 200e6


def test_files_that_are_not_those_of_a_generator(exported: Path, tmp_path: Path) -> None:
    weights = exported / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    with pytest.raises(UsageError, match="cannot read"):
        equipoise.load(exported)
    weights.write_bytes(whole)
    tensors = load_file(weights)
    save_file({name: tensor for name, tensor in tensors.items() if "to_image.bias" not in name}, weights)
    with pytest.raises(UsageError, match=r"to_image\.bias.*missing"):
        equipoise.load(exported)
    weights.unlink()
    with pytest.raises(UsageError, match="cannot read.*No such file"):
        equipoise.load(exported)
    (exported / "config.json").write_text("{")
    with pytest.raises(UsageError, match="not JSON"):
        equipoise.load(exported)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no exported generator"):
        equipoise.load(tmp_path / "empty")
    with pytest.raises(UsageError, match="no folder"):
        equipoise.load("./missing")


def test_half_precision_in_a_file_is_widened(exported: Path) -> None:
    path = exported / "model.safetensors"
    before = equipoise.load(exported).sample(4)
    save_file({name: each.half() if each.is_floating_point() else each for name, each in load_file(path).items()}, path)
    after = equipoise.load(exported)
    assert next(after.parameters()).dtype == torch.float32
    assert (after.sample(4).int() - before.int()).abs().max() <= 2


def test_a_configuration_survives_its_file() -> None:
    config = GeneratorConfig(network={"name": "mlp", "latent": 5}, shape=(3, 4, 6), classes=2, class_names=("a", "b"))
    assert GeneratorConfig.parse(json.loads(json.dumps(config.to_dict())), "here") == config
    assert PretrainedGenerator(config)(torch.zeros(1, 5), torch.tensor([1])).shape == (1, 3, 4, 6)
