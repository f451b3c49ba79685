"""What `--precision auto` means, and what is in full precision whatever it means."""

import numpy as np
import pytest
import torch

from equipoise import devices
from equipoise.config.train_config import TrainConfig
from equipoise.data import TOYS
from equipoise.devices import cpu_multiplies_bf16, is_out_of_memory, make_launcher, resolve_precision
from equipoise.errors import UsageError
from equipoise.networks import NETWORKS
from equipoise.objectives import BEGAN


def test_the_environment_decides_what_auto_means(monkeypatch: pytest.MonkeyPatch) -> None:
    for precision in ("fp32", "bf16"):
        monkeypatch.setenv("EQUIPOISE_AUTO_PRECISION", precision)
        assert resolve_precision("auto", "cpu") == precision
        assert resolve_precision("fp64", "cpu") == "fp64"
    monkeypatch.delenv("EQUIPOISE_AUTO_PRECISION")
    assert resolve_precision("auto", "cpu") == ("bf16" if cpu_multiplies_bf16() else "fp32")
    monkeypatch.setenv("EQUIPOISE_AUTO_PRECISION", "fp16")
    with pytest.raises(UsageError, match="EQUIPOISE_AUTO_PRECISION .*fp16"):
        resolve_precision("auto", "cpu")


@pytest.mark.parametrize("toy", TOYS)
def test_points_are_drawn_in_full_precision_on_every_machine(toy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EQUIPOISE_AUTO_PRECISION", "bf16")
    assert TrainConfig(objective=BEGAN(), data=toy).precision_on("cpu") == "fp32"
    assert TrainConfig(objective=BEGAN(), data="digits").precision_on("cpu") == "bf16"
    assert TrainConfig(objective=BEGAN(), data=toy, precision="bf16").precision_on("cpu") == "bf16"


@pytest.mark.parametrize("name", NETWORKS)
def test_what_a_person_sees_is_computed_in_full_precision(name: str) -> None:
    """Under autocast the last layer still gives float32, of which fewer than one value in ten fits into bf16."""
    torch.manual_seed(0)
    generator, discriminator = NETWORKS[name]().build((1, 16, 16))
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        images = generator(torch.randn(4, NETWORKS[name]().latent)).images
        energies = discriminator(images).score
    for values in (images, energies):
        assert values.dtype == torch.float32
    assert (images == images.bfloat16().float()).float().mean() < 0.1


def test_processes_need_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand processes would take the machine down before one of them could say so."""
    monkeypatch.setattr(devices, "memory_of", lambda device: 2**30)
    with pytest.raises(UsageError, match="memory for 3 processes .* not for 1000: use fewer --devices"):
        make_launcher("cpu", 1000)
    assert make_launcher("cpu", 1).world_size == 1


def test_want_of_memory_is_known_by_whoever_tells_it() -> None:
    wanting = [lambda: np.ones(2**50), lambda: torch.empty(2**60), lambda: torch.empty(2**50).fill_(1)]
    for ask in wanting:
        with pytest.raises((MemoryError, RuntimeError)) as told:
            ask()
        assert is_out_of_memory(told.value), told.value
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
