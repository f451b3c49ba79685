"""What samples are compared with the data by: real images raise no alarm, and worse ones do."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise import Autoencoder, TrainConfig
from equipoise.config.datasets import open_dataset
from equipoise.data import normalise
from equipoise.networks.players import EnergyDiscriminator
from equipoise.training.health import diagnose
from equipoise.training.likeness import Likeness, codes_of, thumbnails

KINDS = ["digits", pytest.param("faces:count=1500", marks=pytest.mark.long), "photographs"]


def dead_leaves(count: int) -> Tensor:
    """Colour images of discs over discs, which have the spectrum and the edges of photographs (Lee et al. 2001)."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    images = torch.zeros(count, 3, 32, 32)
    for _ in range(80):
        middle = 40 * torch.rand(count, 2, 1, 1, generator=generator) - 4
        radius = 2 / torch.rand(count, 1, 1, generator=generator).clamp(min=0.1)
        inside = torch.hypot(x - middle[:, 0], y - middle[:, 1]) < radius
        colour = torch.rand(count, 3, 1, 1, generator=generator)
        images = torch.where(inside[:, None], colour, images)
    images += 0.02 * torch.randn(images.shape, generator=generator)  # a sensor's noise
    return (images.clamp(0, 1) * 255).byte()


@pytest.fixture(scope="module", params=KINDS)
def images(request: pytest.FixtureRequest) -> Tensor:
    """uint8 images of one kind, in random order."""
    if request.param == "photographs":
        return dead_leaves(1500)
    stored = open_dataset(TrainConfig(data=request.param)).split("all")
    order = torch.randperm(len(stored), generator=torch.Generator().manual_seed(0))[:1500]
    return stored.batch(order.numpy())


def kinds(measures: dict[str, float]) -> list[str]:
    """What is said of samples that stay so for a whole run."""
    config = TrainConfig(images=100_000)
    rows = [{"images": images, **measures} for images in range(0, 100_001, 10_000)]
    return [finding.kind for finding in diagnose(rows, config)]


@pytest.mark.parametrize("counts", [pytest.param((768, 256), marks=pytest.mark.long), (768, 64), (60, 256)])
def test_real_images_beside_other_real_ones_raise_no_alarm(images: Tensor, counts: tuple[int, int]) -> None:
    real, samples = counts
    alarms = []
    for seed in range(20):
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
        likeness = Likeness(images[order[:real]])
        alarms += kinds(likeness.measures(normalise(images[order[real : real + samples]])))
    assert alarms == []


def test_grain_blur_and_missing_clusters_are_named(images: Tensor) -> None:
    likeness, samples = Likeness(images[:768]), normalise(images[768:])
    grain = samples[:256] + 0.25 * torch.randn(256, *samples.shape[1:], generator=torch.Generator().manual_seed(0))
    assert kinds(likeness.measures(grain.clamp(-1, 1))) == ["grain"]
    weights = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16  # a binomial blur of a standard deviation of 1 pixel
    kernel = (weights[:, None] * weights).expand(samples.shape[1], 1, 5, 5)
    blurred = F.conv2d(F.pad(samples[:256], (2,) * 4, mode="reflect"), kernel, groups=samples.shape[1])
    assert kinds(likeness.measures(blurred)) == ["blur"]
    pixels = samples.flatten(1) - samples.flatten(1).mean(dim=0)
    values = pixels @ torch.linalg.svd(pixels, full_matrices=False).Vh[0]  # the half on one side of the main axis
    half = samples[values < values.median()]
    assert "missing-clusters" in kinds(likeness.measures(half))


def test_codes_are_the_encoders_and_leave_it_as_it_was() -> None:
    config = TrainConfig(network=Autoencoder(width=4, latent=6), resolution=16, device="cpu", precision="fp32")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        players = config.build((1, 16, 16))
    discriminator = players.discriminator
    assert isinstance(discriminator, EnergyDiscriminator)
    encode = codes_of(discriminator, config)
    assert encode is not None
    images = torch.rand(70, 1, 16, 16) * 2 - 1
    with torch.no_grad():
        expected = discriminator(images).code
    assert torch.allclose(encode(images), expected, atol=1e-6)
    assert all(module.training for module in discriminator.modules())
    assert codes_of(torch.nn.Linear(3, 3), config) is None
    assert thumbnails(torch.rand(2, 3, 64, 48)).shape == (2, 3 * 16 * 16)


@pytest.mark.filterwarnings("error")
def test_vectors_that_are_not_finite_leave_clusters_out() -> None:
    likeness = Likeness(dead_leaves(40))
    measures = likeness.measures(torch.rand(20, 3, 32, 32), lambda images: images.flatten(1) * torch.inf)
    assert list(measures) == ["detail", "grain"]
