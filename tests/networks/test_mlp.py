"""Perceptrons for points and small images."""

import math

import pytest
import torch
from torch import nn

from equipoise.networks import MLP, MLPAutoencoder

POINT = (2, 1, 1)


def count(player: nn.Module) -> int:
    return sum(weight.numel() for weight in player.parameters())


@pytest.mark.parametrize("shape", [POINT, (1, 8, 8), (3, 5, 7)])
@pytest.mark.parametrize(("depth", "width", "latent"), [(1, 4, 3), (3, 512, 2)])
def test_parameters_are_those_of_the_layers(shape: tuple[int, int, int], depth: int, width: int, latent: int) -> None:
    size, hidden = math.prod(shape), (depth - 1) * (width + 1) * width
    coder = (size + 1) * width + hidden + (width + 1) * latent
    decoder = (latent + 1) * width + hidden + (width + 1) * size
    scorer = (size + 1) * width + hidden + width + 1
    with torch.device("meta"):
        assert tuple(map(count, MLP(depth=depth, width=width, latent=latent).build(shape))) == (decoder, scorer)
        energy = MLPAutoencoder(depth=depth, width=width, latent=latent).build(shape)
    assert tuple(map(count, energy)) == (decoder, coder + decoder)


def test_points_may_lie_anywhere_and_images_between_minus_one_and_one() -> None:
    torch.manual_seed(0)
    latent = 1000 * torch.randn(64, 2)
    points, images = (MLP(width=16).build(shape).generator(latent).images for shape in (POINT, (1, 4, 4)))
    assert points.abs().max() > 1 >= images.abs().max()
    assert points.shape == (64, *POINT)


@pytest.mark.parametrize(("activation", "gain"), [("relu", 2), ("leaky", 2 / (1 + 0.2**2))])
def test_first_weights_make_up_for_what_the_activation_takes(activation: str, gain: float) -> None:
    torch.manual_seed(0)
    network = MLP(width=256, depth=2, latent=64, activation=activation)
    x = torch.randn(100_000, dtype=torch.float64)
    active = network.build((64, 1, 1)).generator.decoder[2](x)
    assert gain * active.square().mean().item() == pytest.approx(1, rel=2e-2)
    for player in network.build((64, 1, 1)):
        linear = [layer for layer in player.modules() if isinstance(layer, nn.Linear)]
        for layer in linear:
            expected = (1 if layer is linear[-1] else gain) / layer.in_features
            assert layer.weight.square().mean().item() == pytest.approx(expected, rel=7 / layer.weight.numel() ** 0.5)
            assert not layer.bias.any()


def test_the_energy_is_the_mean_power_of_the_error_of_a_point() -> None:
    for eta in (1, 2):
        discriminator = MLPAutoencoder(width=8, eta=eta).build(POINT).discriminator.double()
        points = torch.randn(16, *POINT, dtype=torch.float64)
        error = (points - discriminator.reconstruct(points)).abs() ** eta
        torch.testing.assert_close(discriminator(points).score, (error[:, 0, 0, 0] + error[:, 1, 0, 0]) / 2)


def test_the_energys_output_has_no_activation() -> None:
    """As in the paper's autoencoder; one on the output bounds what can be reconstructed (a bug of others)."""
    torch.manual_seed(0)
    generator = MLPAutoencoder(width=16).build((1, 4, 4)).generator
    images = generator(100 * torch.randn(64, 2)).images
    assert images.min() < -1.5 < 1.5 < images.max()


def test_a_perceptron_learns_to_tell_two_clusters_apart() -> None:
    torch.manual_seed(0)
    discriminator = MLP(width=16).build(POINT).discriminator
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=1e-2)
    centre = torch.tensor([1.0, -1.0]).view(1, *POINT)
    for _ in range(60):
        points = torch.randn(64, *POINT) * 0.3
        loss = (
            nn.functional.softplus(-discriminator(points + centre).score).mean()
            + nn.functional.softplus(discriminator(points - centre).score).mean()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2 < 2 * math.log(2)
