"""ONNX models beside the run's own networks, by onnxruntime, at numbers of images that the export did not try."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

import equipoise
from equipoise import Run, UsageError
from equipoise.exporting import onnx_models
from equipoise.exporting.onnx_models import check_difference, largest_difference, open_session, to_onnx
from equipoise.exporting.ports import Ports, discriminator_ports, generator_ports
from equipoise.exporting.trained import Trained
from equipoise.sampling.load import load_discriminator

MakeRun = Callable[..., Run]
MORE_KINDS = ("dcgan", "shades", "perceptrons")  # whose generators are exported by tests of other models, too


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def inputs_of(run: Run, count: int) -> dict[str, Tensor]:
    return Trained.open(run, ema=True, best=False).inputs(count)


def ports_of(run: Run) -> Ports:
    trained = Trained.open(run, ema=True, best=False)
    return generator_ports(trained.generator, trained.inputs(), trained.config.levels)


@pytest.mark.parametrize(
    "kind",
    [*("layers", "discrete", "filling"), *(pytest.param(kind, marks=pytest.mark.long) for kind in MORE_KINDS)],
)
def test_a_generator_equals_pytorch(make_run: MakeRun, kind: str) -> None:
    run = make_run(kind)
    (found,) = open_session(to_onnx(ports_of(run), {"equipoise": "0"}))(inputs_of(run, 5))
    with torch.inference_mode():
        wanted = equipoise.load_generator(run)(**inputs_of(run, 5))
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() < 1e-4
    assert not torch.allclose(found, found.roll(1, 0)), "every latent has an image of its own"


@pytest.mark.parametrize("kind", [pytest.param("skips", marks=pytest.mark.long), "classes"])
def test_its_files_equal_pytorch(make_run: MakeRun, tmp_path: Path, kind: str) -> None:
    run, out, half = make_run(kind), tmp_path / "out", kind == "skips"
    done = equipoise.export(run, out, format="onnx", batch=2, fp16=half)
    inputs = inputs_of(run, 5)
    with torch.inference_mode():
        wanted = equipoise.load_generator(run)(**inputs).numpy()
    five, two = ({name: each.numpy()[:rows] for name, each in inputs.items()} for rows in (5, 2))
    (found,) = session(out / "generator.onnx").run(["images"], five)
    assert np.abs(found - wanted).max() < 1e-4
    fixed = session(out / "generator-batch2.onnx")
    assert np.abs(fixed.run(None, two)[0] - wanted[:2]).max() < 1e-4
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument):
        fixed.run(None, five)
    if half:
        found = session(out / "generator-fp16.onnx").run(None, five)[0]
        assert found.dtype == np.float32
        assert 0 < np.abs(found - wanted).max() < 0.02
        assert (out / "generator-fp16.onnx").stat().st_size < (out / "generator.onnx").stat().st_size
    assert all("equal to PyTorch" in note for note in done.notes)
    assert len(done.notes) == (4 if half else 2)
    report = json.loads((out / "export.json").read_text())
    names = ["generator", "generator-batch2", *(["generator-fp16", "generator-fp16-batch2"] if half else [])]
    assert [each["file"] for each in report["models"]] == [f"{name}.onnx" for name in names]
    assert all(each["largest_difference"] <= (0.02 if "fp16" in each["file"] else 1e-4) for each in report["models"])
    if kind == "classes":
        says_what_it_is(out / "generator.onnx")


def says_what_it_is(file: Path) -> None:
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    said = {each.key: each.value for each in model.metadata_props}
    assert said["latent"] == "6"
    assert said["prior"] == "N(0, 1)"
    assert said["range"].startswith("[-1, 1]")
    assert said["data"] == "digits"
    assert said["inputs"] == "latents, labels"
    assert int(said["opset"]) == next(each.version for each in model.opset_import if not each.domain)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_the_energy_is_the_mean_error_of_the_reconstruction(run: Run, tmp_path: Path) -> None:
    equipoise.export(run, tmp_path / "out", format="onnx", what="discriminator", fp16=False)
    images = np.random.default_rng(0).uniform(-1, 1, (3, 1, 16, 16)).astype(np.float32)
    model = session(tmp_path / "out" / "discriminator.onnx")
    energy, reconstruction, code = model.run(["energy", "reconstruction", "code"], {"images": images})
    assert np.allclose(energy, ((images.astype(np.float64) - reconstruction) ** 2).mean((1, 2, 3)), rtol=1e-5)
    output = load_discriminator(run)(torch.from_numpy(images))
    assert np.allclose(energy, output.score.detach(), rtol=1e-4)
    assert np.allclose(code, output.code.detach(), atol=1e-4)
    nodes = onnx.load(tmp_path / "out" / "discriminator.onnx").graph.node
    layers = sum(isinstance(module, torch.nn.Conv2d) for module in load_discriminator(run).modules())
    assert sum(node.op_type in {"Conv", "ConvTranspose"} for node in nodes) == layers, "each image is encoded once"


def test_energies_by_wavelet_are_exported_in_half_precision_too(make_run: MakeRun) -> None:
    run = make_run("wavelet")
    network, images = load_discriminator(run), torch.rand(64, *run.load_checkpoint()[1]["shape"]) * 2 - 1
    ports = discriminator_ports(network.requires_grad_(requires_grad=False), images)
    for inside, limit in ((ports, 1e-4), (ports.half(), onnx_models.LARGEST_DIFFERENCE["fp16"])):
        assert largest_difference(to_onnx(inside, {"equipoise": "0"}), inside) < limit
        (energy, *_), expected = inside.network(images), network(images).score
        torch.testing.assert_close(energy, expected, rtol=limit, atol=0)


@pytest.mark.parametrize("kind", [pytest.param("dcgan", marks=pytest.mark.long), "layers", "spectral"])
def test_any_other_discriminator_has_a_score(make_run: MakeRun, kind: str) -> None:
    run = make_run(kind)
    network, images = load_discriminator(run), torch.rand(64, *run.load_checkpoint()[1]["shape"]) * 2 - 1
    ports = discriminator_ports(network.requires_grad_(requires_grad=False), images)
    assert ports.outputs == ["score"]
    assert largest_difference(to_onnx(ports, {"equipoise": "0"}), ports) < 1e-4


def test_a_model_of_other_weights_is_noticed(make_run: MakeRun) -> None:
    ports = ports_of(make_run("autoencoder"))
    model = to_onnx(ports, {"equipoise": "0"})
    assert largest_difference(model, ports) < 1e-4
    with torch.no_grad():
        next(ports.network.parameters())[0] += 1e-2
    difference = largest_difference(model, ports)
    assert difference > 1e-4
    for wrong in (difference, float("nan")):
        with pytest.raises(UsageError, match=r"g\.onnx differs from PyTorch"):
            check_difference(wrong, "g.onnx")


def test_discrete_images_are_compared_by_their_share_of_other_values(make_run: MakeRun) -> None:
    ports = ports_of(make_run("shades"))
    model = to_onnx(ports, {"equipoise": "0"})
    assert largest_difference(model, ports) == 0
    with torch.no_grad():
        next(ports.network.parameters()).normal_()
    assert 0.1 < largest_difference(model, ports) <= 1


def test_scores_beyond_1_are_compared_relatively(make_run: MakeRun) -> None:
    ports = ports_of(make_run("perceptrons"))
    with torch.no_grad():
        for name, weight in ports.network.named_parameters():
            if re.search(r"decoder\.\d+\.weight", name):
                weight.mul_(10)
    model = to_onnx(ports, {"equipoise": "0"})
    assert largest_difference(model, ports) < 1e-5


def test_weights_that_half_precision_cannot_hold_are_left_out(run: Run, tmp_path: Path) -> None:
    tensors, facts, _ = run.load_checkpoint()
    tensors["ema.decoder.from_code.weight"] *= 1e6
    run.save_checkpoint(64, tensors, facts)
    done = equipoise.export(run, tmp_path / "out", format="onnx")
    assert sum("left out: in fp16" in note for note in done.notes) == 2
    assert not list((tmp_path / "out").glob("*fp16*"))
    assert len(json.loads((tmp_path / "out" / "export.json").read_text())["models"]) == 2


def test_what_is_not_equal_writes_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(onnx_models.LARGEST_DIFFERENCE, "fp32", 1e-12)
    with pytest.raises(UsageError, match="nothing is written"):
        equipoise.export(run, tmp_path / "out", format="onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
