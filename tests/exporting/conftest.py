"""Runs of untrained networks, made in a moment: exports need weights, not good ones."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from equipoise.config.train_config import TrainConfig
from equipoise.errors import UsageError
from equipoise.exporting import runtime
from equipoise.networks import DCGAN, MLP, Autoencoder, DCGANAutoencoder, MLPAutoencoder, Network
from equipoise.objectives import OBJECTIVES, Tasks
from equipoise.runs.run import Run

MakeRun = Callable[..., Run]
CLASSES = Tasks(classify_d=1, classify_g=1)
FILLING = Tasks(inpaint=0.9, adversarial=0.1)
KINDS = {  # name: objective, network, shape, classes, tasks
    "autoencoder": ("began", Autoencoder(width=4, latent=6), (1, 16, 16), 0, Tasks()),
    "skips": ("began", Autoencoder(width=4, latent=6, skips=True, residual=1000), (3, 16, 32), 0, Tasks()),
    "classes": ("began", Autoencoder(width=4, latent=6), (3, 16, 16), 3, CLASSES),
    "wavelet": ("began", DCGANAutoencoder(width=4, latent=6, wavelet=2), (3, 32, 16), 0, Tasks()),
    "dcgan": ("gan", DCGAN(width=4, latent=6), (3, 32, 16), 0, Tasks()),
    "layers": ("wgan-gp", DCGAN(width=4, latent=6, norm="layer", generator_norm="layer"), (1, 16, 16), 0, Tasks()),
    "discrete": ("bgan-discrete", DCGAN(width=4, latent=6), (1, 16, 16), 10, CLASSES),
    "shades": ("bgan-discrete", DCGAN(width=4, latent=6), (1, 16, 16), 0, Tasks()),
    "filling": ("began", Autoencoder(width=4, latent=6), (1, 16, 16), 0, FILLING),
    "perceptrons": ("began", MLPAutoencoder(width=8, latent=6), (1, 8, 8), 0, Tasks()),
    "spectral": ("gan", MLP(width=8, latent=6, spectral=True), (1, 8, 8), 0, Tasks()),
}


def config_of(objective: str, network: Network, shape: tuple[int, int, int], tasks: Tasks) -> TrainConfig:
    settings = {"levels": 4} if shape == (1, 16, 16) and objective == "bgan-discrete" and not tasks.classify else {}
    return TrainConfig(
        objective=OBJECTIVES[objective](**settings),
        network=network,
        tasks=tasks,
        resolution=f"{shape[2]}x{shape[1]}",
        channels=shape[0],
        precision="fp32",
        device="cpu",
        images=64,
    )


def untrained_run(path: Path, config: TrainConfig, shape: tuple[int, int, int], classes: int) -> Run:
    """A run whose generator's average has other weights than the generator."""
    run = Run.create(path, config)
    run.rewind(0)  # which makes its folders
    torch.manual_seed(1)
    parts = {}
    for part in ("generator", "ema", "discriminator"):
        players = config.build(shape, classes)
        player = players.discriminator if part == "discriminator" else players.generator
        for weight in player.parameters():  # not those of initialisation alone, of which many a bias is 0
            weight.data.add_(torch.randn_like(weight) / 20)
        parts |= {f"{part}.{name}": tensor for name, tensor in player.state_dict().items()}
    run.save_checkpoint(64, parts, {"shape": list(shape), "classes": classes, "data": config.data})
    return run


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """An untrained run of a kind of KINDS."""

    def make(kind: str, name: str = "run") -> Run:
        objective, network, shape, classes, tasks = KINDS[kind]
        return untrained_run(tmp_path / name, config_of(objective, network, shape, tasks), shape, classes)

    return make


@pytest.fixture
def run(make_run: MakeRun) -> Run:
    return make_run("autoencoder")


@pytest.fixture(scope="session")
def onnxruntime_web() -> Iterator[Path]:
    """The archive from npm, downloaded once and kept beside the tests' other caches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EQUIPOISE_CACHE", str(Path(__file__).parents[2] / ".pytest_cache" / "equipoise"))
        patch.delenv(runtime.VARIABLE, raising=False)
        try:
            path = runtime._archive()
        except UsageError as error:
            pytest.skip(str(error))
        patch.setenv(runtime.VARIABLE, str(path))
        yield path
