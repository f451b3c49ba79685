"""A trained generator as a function of tensors, for those who deploy it."""

import pytest
import torch
from torch import Tensor

from equipoise import TrainConfig
from equipoise.errors import UsageError
from equipoise.networks import DCGAN, MLP, Autoencoder, Network
from equipoise.objectives import OBJECTIVES, Tasks
from equipoise.sampling.load import ImageGenerator

NETWORKS: dict[str, tuple[Network, str]] = {
    "autoencoder": (Autoencoder(width=4, latent=3), "began"),
    "skips": (Autoencoder(width=4, latent=3, skips=True, residual=1000), "began"),
    "dcgan": (DCGAN(width=4, latent=3), "gan"),
    "mlp": (MLP(width=8, latent=3), "gan"),
    "discrete": (DCGAN(width=4, latent=3), "bgan-discrete"),
}


def generator_of(name: str, tasks: Tasks = Tasks(), classes: int = 0) -> ImageGenerator:  # noqa: B008
    network, objective = NETWORKS[name]
    config = TrainConfig(objective=OBJECTIVES[objective](), network=network, resolution=16, tasks=tasks)
    return ImageGenerator(config.build((1, 16, 16), classes).generator, 3).eval().requires_grad_(requires_grad=False)


@pytest.mark.parametrize("name", NETWORKS)
def test_it_exports_and_traces_for_any_number_of_images(name: str) -> None:
    generator, z = generator_of(name), torch.randn(4, 3)
    images = generator(z)
    assert isinstance(images, Tensor)
    assert images.shape == (4, 1, 16, 16)
    exported = torch.export.export(generator, (z,), dynamic_shapes=({0: torch.export.Dim("batch", min=2)},))
    traced = torch.jit.trace(generator, (z,))  # type: ignore[no-untyped-call]
    for made in (exported.module(), traced):
        assert torch.allclose(made(z), images, atol=1e-6)
        assert made(torch.randn(7, 3)).shape == (7, 1, 16, 16)


def test_conditions_are_tensors_too() -> None:
    z, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 1])
    of_classes = generator_of("autoencoder", Tasks(classify_d=1, classify_g=1), classes=3)
    assert of_classes.classes == 3
    images = of_classes(z, labels)
    exported = torch.export.export(of_classes, (z, labels)).module()
    assert torch.allclose(exported(z, labels), images, atol=1e-6)
    assert not torch.allclose(of_classes(z, labels.flip(0)), images)
    with pytest.raises(UsageError, match="labels"):
        of_classes(z)
    filling = generator_of("autoencoder", Tasks(inpaint=0.9, adversarial=0.1))
    masked, mask = torch.rand(4, 1, 16, 16), torch.ones(4, 1, 16, 16)
    mask[..., :4] = 0
    filled = filling(z, masked=masked, mask=mask)
    assert torch.equal(filled[..., :4], masked[..., :4])
