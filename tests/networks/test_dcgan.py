"""DCGAN against the paper's layers, counted by hand, and its first weights."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from equipoise.errors import UsageError
from equipoise.networks import DCGAN, DCGANAutoencoder


def expected(width: int, channels: int, latent: int, levels: int) -> tuple[int, int]:
    """Parameters of the published pair: 4x4 kernels without biases, and two numbers a channel that is normalised."""
    stages = [width << level for level in range(levels)]  # channels from half of the images' size down to 4x4
    between = sum(16 * a * b for a, b in pairwise(stages))
    ends = 16 * channels * stages[0]
    generator = 16 * latent * stages[-1] + between + ends + 2 * sum(stages)
    return generator, ends + between + 16 * stages[-1] + 2 * sum(stages[1:])


def count(player: nn.Module) -> int:
    return sum(weight.numel() for weight in player.parameters())


@pytest.mark.parametrize(("side", "levels"), [(16, 2), (32, 3), (64, 4), (128, 5)])
@pytest.mark.parametrize("channels", [1, 3])
def test_parameters_are_as_many_as_published(side: int, levels: int, channels: int) -> None:
    with torch.device("meta"):
        players = DCGAN(width=64).build((channels, side, side))
    assert tuple(map(count, players)) == expected(64, channels, 100, levels)


@pytest.mark.parametrize(("side", "levels"), [(16, 2), (32, 3), (64, 4)])
def test_the_autoencoder_has_both_players_layers(side: int, levels: int) -> None:
    """Its encoder is the discriminator's with a code for the score, its decoder the generator of that code."""
    generator, discriminator = DCGANAutoencoder(width=8, latent=5, code=7).build((3, side, side))
    down, up = discriminator.encoder, discriminator.decoder
    assert count(generator) == expected(8, 3, 5, levels)[0]
    assert count(up) == expected(8, 3, 7, levels)[0]
    assert count(down) == expected(8, 3, 7, levels)[1] + 6 * 16 * (8 << (levels - 1)) + 7
    assert discriminator.reconstruct(torch.zeros(2, 3, side, side)).shape == (2, 3, side, side)


@pytest.mark.parametrize("kind", [DCGAN, DCGANAutoencoder])
def test_a_generator_can_be_wider_than_the_discriminator(kind: type[DCGAN | DCGANAutoencoder]) -> None:
    narrow, wide = kind(width=8, latent=5).build((3, 32, 32)), kind(width=8, width_ratio=2, latent=5)
    generator, discriminator = wide.build((3, 32, 32))
    assert count(generator) == expected(16, 3, 5, 3)[0]
    assert count(discriminator) == count(narrow.discriminator)


def test_at_64_pixels_they_are_the_well_known_numbers() -> None:
    """Those of PyTorch's own DCGAN example, which copies the authors' layers."""
    with torch.device("meta"):
        assert tuple(map(count, DCGAN(width=64).build((3, 64, 64)))) == (3_576_704, 2_765_568)


@pytest.mark.parametrize(
    ("size", "bottleneck"),
    [
        ((32, 32), (4, 4)),
        ((64, 64), (4, 4)),
        ((128, 128), (4, 4)),
        ((48, 64), (3, 4)),
        ((28, 28), (7, 7)),
        ((8, 8), (4, 4)),
    ],
)
@pytest.mark.parametrize("channels", [1, 4])
def test_sizes_go_through_their_bottleneck(size: tuple[int, int], bottleneck: tuple[int, int], channels: int) -> None:
    generator, discriminator = DCGAN(width=2, latent=5).build((channels, *size))
    images = generator(torch.randn(2, 5)).images
    assert images.shape == (2, channels, *size)
    assert discriminator.features(images).shape[2:] == bottleneck
    assert discriminator(images).score.shape == (2,)


@pytest.mark.parametrize(
    ("size", "near"),
    [((218, 178), "192"), ((7, 7), "8"), ((0, 0), "8"), ((64, 8), "32x64"), ((30, 31), "28"), ((33, 33), "32")],
)
def test_other_sizes_are_refused_with_one_that_works(size: tuple[int, int], near: str) -> None:
    with pytest.raises(UsageError, match=f"^the DCGAN needs .* not {size[1]}x{size[0]}: try --resolution {near}$"):
        DCGAN().build((1, *size))
    width, _, height = near.partition("x")
    with torch.device("meta"):
        DCGAN().build((1, int(height or width), int(width)))


def test_first_weights_are_as_published() -> None:
    torch.manual_seed(0)
    for player in DCGAN(width=32).build((3, 32, 32)):
        for layer in player.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                assert layer.bias is None
                assert layer.weight.std().item() == pytest.approx(0.02, rel=5 / layer.weight.numel() ** 0.5)
                assert abs(layer.weight.mean().item()) < 5 * 0.02 / layer.weight.numel() ** 0.5
            elif isinstance(layer, nn.modules.batchnorm._BatchNorm):
                assert layer.weight.mean().item() == pytest.approx(1, abs=5 * 0.02 / len(layer.weight) ** 0.5)
                assert 0.01 < layer.weight.std().item() < 0.03
                assert not layer.bias.any()


def test_the_layers_stand_in_the_published_order() -> None:
    generator, discriminator = DCGAN(width=2).build((3, 16, 16))
    up = [type(layer).__name__ for layer in generator.decoder]
    assert up == ["Unflatten", *["ConvTranspose2d", "BatchNorm", "ReLU"] * 2, "OutputConvTranspose2d", "Tanh"]
    down = [type(layer).__name__ for layer in discriminator.features]
    assert down == ["Conv2d", "LeakyReLU", "Conv2d", "BatchNorm", "LeakyReLU"]


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_a_layer_has_a_bias_exactly_where_nothing_else_gives_it_one(norm: str) -> None:
    generator, discriminator = DCGAN(width=2, norm=norm, generator_norm=norm).build((3, 16, 16))
    inner = [*discriminator.features, *list(generator.decoder)[:-2]]
    biased = {layer.bias is not None for layer in inner if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)}
    assert biased == {norm == "none"}
    normalised = [layer for layer in inner if isinstance(layer, nn.GroupNorm | nn.modules.batchnorm._BatchNorm)]
    assert len(normalised) == (0 if norm == "none" else 3)


def test_images_lie_between_minus_one_and_one() -> None:
    generator = DCGAN(width=2, latent=5).build((1, 16, 16)).generator
    assert generator(1000 * torch.randn(8, 5)).images.abs().max() <= 1


def test_scores_are_independent_without_batch_normalisation() -> None:
    assert [DCGAN(norm=norm).independent for norm in ("batch", "layer", "none")] == [False, True, True]
