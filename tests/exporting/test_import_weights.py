"""Weights from elsewhere, made by definitions with the layer names and shapes of two public repositories."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor, nn

import equipoise
from equipoise import UsageError
from equipoise.exporting.import_weights import bundled_maps
from equipoise.sampling.load import load_discriminator


class PublicBEGAN(nn.Module):
    """Names and shapes of the generator of github.com/carpedm20/BEGAN-pytorch (models.py, GeneratorCNN)."""

    def __init__(self, latent: int, width: int, levels: int, channels: int = 3) -> None:
        super().__init__()
        self.width, self.fc, layers = width, nn.Linear(latent, 8 * 8 * width), []
        for level in range(levels):
            for _ in range(2):
                layers += [nn.Conv2d(width, width, 3, 1, 1), nn.ELU()]
            layers += [nn.UpsamplingNearest2d(scale_factor=2)] if level < levels - 1 else []
        self.conv = nn.Sequential(*layers, nn.Conv2d(width, channels, 3, 1, 1), nn.ELU())

    def forward(self, latents: Tensor) -> Tensor:
        """Images in [0, 1], nominally."""
        images: Tensor = self.conv(self.fc(latents).view(-1, self.width, 8, 8))
        return images


def public_dcgan(latent: int, width: int) -> nn.Sequential:
    """Layers of the generator of github.com/pytorch/examples (dcgan/main.py, _netG.main), for 64x64."""
    widths, layers = [latent, 8 * width, 4 * width, 2 * width, width], []
    for n_in, n_out in pairwise(widths):
        first = n_in == latent
        layers += [nn.ConvTranspose2d(n_in, n_out, 4, 1 if first else 2, 0 if first else 1, bias=False)]
        layers += [nn.BatchNorm2d(n_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False), nn.Tanh())


class PublicDCGAN(nn.Module):
    def __init__(self, latent: int, width: int) -> None:
        super().__init__()
        self.main = public_dcgan(latent, width)

    def forward(self, latents: Tensor) -> Tensor:
        """Images in [-1, 1]."""
        images: Tensor = self.main(latents[:, :, None, None])
        return images


def began(latent: int = 128, width: int = 128, levels: int = 4) -> PublicBEGAN:
    torch.manual_seed(0)
    return PublicBEGAN(latent, width, levels).eval()


def dcgan(latent: int = 100, width: int = 64) -> PublicDCGAN:
    torch.manual_seed(0)
    network = PublicDCGAN(latent, width)
    with torch.no_grad():
        network(torch.randn(16, latent))  # running means and variances of its own
    return network.eval()


def bundled(name: str) -> dict[str, Any]:
    text = (Path(equipoise.__file__).parent / "exporting" / "maps" / f"{name}.yaml").read_text()
    values: dict[str, Any] = yaml.safe_load(text)
    return values


def written(path: Path, **changes: Any) -> Path:
    """The small DCGAN's map, with changes."""
    network = {"name": "dcgan", "width": 4, "latent": 5}
    path.write_text(yaml.safe_dump(bundled("dcgan-pytorch") | {"network": network} | changes))
    return path


def test_a_public_began(tmp_path: Path) -> None:
    theirs = began()
    torch.save(theirs.state_dict(), tmp_path / "G_1000.pth")
    run = equipoise.import_weights(tmp_path / "G_1000.pth", "began-pytorch", tmp_path / "run")
    z = torch.randn(2, 128)
    with torch.inference_mode():
        ours, wanted = equipoise.load_generator(run)(z), 2 * theirs(z) - 1
    assert torch.allclose(ours, wanted, atol=1e-5)
    assert wanted.std() > 0.01
    assert run.config.objective_name == "began"


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_public_dcgan(tmp_path: Path, suffix: str) -> None:
    theirs, path = dcgan(), tmp_path / f"netG{suffix}"
    (torch.save if suffix == ".pth" else save_file)(theirs.state_dict(), path)  # type: ignore[operator]
    run = equipoise.import_weights(path, "dcgan-pytorch", tmp_path / "run")
    z = torch.randn(2, 100)
    with torch.inference_mode():
        assert torch.allclose(equipoise.load_generator(run)(z), theirs(z), atol=1e-5)


def test_what_is_imported_is_exported(tmp_path: Path) -> None:
    torch.save(dcgan(5, 4).state_dict(), tmp_path / "g.pth")
    run = equipoise.import_weights(tmp_path / "g.pth", written(tmp_path / "map.yaml"), tmp_path / "run")
    folder = equipoise.export(run, tmp_path / "hub", format="hub").path
    z = torch.randn(4, 5)
    assert torch.equal(equipoise.load(folder)(z), equipoise.load_generator(run)(z))
    card = (folder / "README.md").read_text()
    assert card.count("Not known here, as the weights come from elsewhere.") == 2, "of data, and of training"
    for settings_by_default in ("images seen", "Adam", "minimax", "resized", "- gan\n- gan"):
        assert settings_by_default not in card
    assert "Latents of length 5 from the normal prior" in card


def test_what_a_generator_alone_can_do(tmp_path: Path) -> None:
    torch.save(dcgan(5, 4).state_dict(), tmp_path / "g.pth")
    run = equipoise.import_weights(tmp_path / "g.pth", written(tmp_path / "map.yaml"), tmp_path / "run")
    pictures = equipoise.sample(run, 2)
    assert pictures.shape == (2, 3, 64, 64)
    found = equipoise.invert(run, pictures, steps=20)
    assert found.residues.shape == (2,)
    assert found.one_step is None
    assert len(equipoise.interpolate(run, random=3).film) == 23
    assert equipoise.directions(run).vectors.shape == (5, 5)
    assert equipoise.list_runs(tmp_path)[0].state == "imported"
    without_discriminator = {
        "features": lambda: equipoise.invert(run, pictures, loss="features"),
        "encoder": lambda: equipoise.invert(run, pictures, fast=True),
        "energy": lambda: equipoise.outliers(run, pictures),
        "network": lambda: load_discriminator(run),
        "data": lambda: equipoise.evaluate(run),
        "training": lambda: equipoise.resume(run.path),
        "reconstruction": lambda: equipoise.reconstruct(run, pictures),
    }
    for use in without_discriminator.values():
        with pytest.raises(UsageError, match="imported"):
            use()


def test_data_parallel_older_files_and_files_of_several_things(tmp_path: Path) -> None:
    theirs = dcgan(5, 4)
    state = {f"module.{name}": each for name, each in theirs.state_dict().items() if "num_batches" not in name}
    torch.save({"epoch": 3, "nets": {"G": state, "D": {}}}, tmp_path / "all.pth")
    path = written(tmp_path / "map.yaml", within="nets.G")
    run = equipoise.import_weights(tmp_path / "all.pth", path, tmp_path / "run")
    z = torch.randn(2, 5)
    with torch.inference_mode():
        assert torch.allclose(equipoise.load_generator(run)(z), theirs(z), atol=1e-6)


def test_images_of_another_range(tmp_path: Path) -> None:
    """Of a linear output; their generator without its last ELU."""
    theirs = began(5, 4, 2)
    theirs.conv = theirs.conv[:-1]
    torch.save(theirs.state_dict(), tmp_path / "g.pth")
    network = {"name": "autoencoder", "width": 4, "latent": 5}
    layers = {0: "first.0.conv", 2: "second.0.conv", 5: "first.1.conv", 7: "second.1.conv", 9: "to_image"}
    keys = {"fc": "decoder.from_code", **{f"conv.{place}": f"decoder.{name}" for place, name in layers.items()}}
    wanted = {"network": network, "shape": [3, 16, 16], "range": [0, 255], "keys": keys}
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(wanted))
    run = equipoise.import_weights(tmp_path / "g.pth", tmp_path / "map.yaml", tmp_path / "run")
    z = torch.randn(2, 5)
    with torch.inference_mode():
        assert torch.allclose(equipoise.load_generator(run)(z), theirs(z) / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": {"name": "dcgan", "width": 8, "latent": 5}}, "does not fit the map.*decoder.1.weight.*network"),
        ({"network": {"name": "dcgann"}}, "did you mean 'dcgan'"),
        ({"keys": {"main.0": "decoder.1"}}, r"has 'main\.1\.weight', which the map does not name"),
        (
            {
                "ignore": ["main.12"],
                "keys": {k: v for k, v in bundled("dcgan-pytorch")["keys"].items() if k != "main.12"},
            },
            r"'decoder\.13\.weight' is .*theirs is not there",
        ),
        ({"shape": [3, 64]}, "shape"),
        ({"shape": [3, 60, 64]}, "divide"),
        ({"shapes": [3, 64, 64]}, "shapes"),
        ({"range": [0, 1]}, "only for networks with a linear output"),
        ({"range": [0, float("inf")]}, "range.*finite"),
        ({"within": "generator"}, "holds no state dict"),
        ({"prior": "cauchy"}, "prior"),
        ({"objective": "began"}, "needs a discriminator"),
    ],
)
def test_maps_that_do_not_fit(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    torch.save(dcgan(5, 4).state_dict(), tmp_path / "g.pth")
    with pytest.raises(UsageError, match=words):
        equipoise.import_weights(tmp_path / "g.pth", written(tmp_path / "map.yaml", **changes), tmp_path / "run")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["g.pth", "map.yaml"]


class Evil:
    def __reduce__(self) -> Any:
        return (print, ("run",))


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (None, "cannot read the weights.*No such file"),
        (b"", "no plain state dict"),
        (b"PK\x03\x04 not really", "no plain state dict"),
        (Evil(), "no plain state dict"),
        ([1, 2], "holds no state dict"),
        ({"main.0.weight": 3}, "holds no state dict"),
        ({}, "theirs is not there"),
    ],
)
def test_files_that_hold_no_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], contents: Any, words: str
) -> None:
    if isinstance(contents, bytes):
        (tmp_path / "g.pth").write_bytes(contents)
    elif contents is not None:
        torch.save(contents, tmp_path / "g.pth")
    with pytest.raises(UsageError, match=words):
        equipoise.import_weights(tmp_path / "g.pth", "dcgan-pytorch", tmp_path / "run")
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "run").exists()


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    state = dcgan(5, 4).state_dict()
    state["main.0.weight"][0, 0, 0, 0] = float("nan")
    torch.save(state, tmp_path / "g.pth")
    with pytest.raises(UsageError, match=r"not finite.*decoder\.1\.weight"):
        equipoise.import_weights(tmp_path / "g.pth", written(tmp_path / "map.yaml"), tmp_path / "run")


def test_two_tensors_for_one_of_ours(tmp_path: Path) -> None:
    """As of a generator and its moving average: neither is taken for the other."""
    state = dcgan(5, 4).state_dict()
    both = {f"{kind}.{name}": each for kind in ("net", "ema") for name, each in state.items()}
    torch.save(both, tmp_path / "g.pth")
    keys = bundled("dcgan-pytorch")["keys"]
    named = {kind: {f"{kind}.{name}": ours for name, ours in keys.items()} for kind in ("net", "ema")}
    path = written(tmp_path / "map.yaml", keys=named["net"] | named["ema"])
    with pytest.raises(UsageError, match=r"has 'ema\.main\.0\.weight' for our 'decoder\.1\.weight'.*`ignore`"):
        equipoise.import_weights(tmp_path / "g.pth", path, tmp_path / "run")
    equipoise.import_weights(tmp_path / "g.pth", written(path, keys=named["net"], ignore=["ema"]), tmp_path / "run")


@pytest.mark.parametrize("kind", [torch.int8, torch.bool, torch.complex64])
def test_weights_that_are_no_real_numbers(tmp_path: Path, kind: torch.dtype) -> None:
    """They would be cast, without the scale of what was quantised, or without an imaginary part."""
    state = dcgan(5, 4).state_dict()
    state["main.0.weight"] = (40 * state["main.0.weight"]).to(kind)
    torch.save(state, tmp_path / "g.pth")
    with pytest.raises(UsageError, match=r"holds torch\.\w+ at our 'decoder\.1\.weight'"):
        equipoise.import_weights(tmp_path / "g.pth", written(tmp_path / "map.yaml"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_unknown_maps(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "broken.yaml").write_text("{")
    assert bundled_maps() == ["began-pytorch", "dcgan-pytorch"]
    for name, words in (
        ("began-tensorflow", "cannot read the map.*began-pytorch, dcgan-pytorch"),
        (str(tmp_path / "list.yaml"), "the map .*list.yaml"),
        (str(tmp_path / "broken.yaml"), "not valid YAML"),
    ):
        with pytest.raises(UsageError, match=words):
            equipoise.import_weights(tmp_path / "g.pth", name, tmp_path / "run")
