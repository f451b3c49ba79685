"""What `--precision auto` means, and what is in full precision whatever it means."""

import pytest
import torch

from equipoise.config.train_config import TrainConfig
from equipoise.data import TOYS
from equipoise.devices import cpu_multiplies_bf16, resolve_precision
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
