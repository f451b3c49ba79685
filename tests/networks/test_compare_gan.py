"""compare_gan's networks, by what its code and its own comments say of them."""

import pytest
import torch

from equipoise.config.presets import PRESETS
from equipoise.errors import UsageError
from equipoise.networks.compare_gan import CompareGAN


def test_the_autoencoder_has_as_many_weights_as_its_authors_say() -> None:
    """1.3 million, of digits brought to 32x32: two convolutions there, two linear layers, two back."""
    players = CompareGAN().build((1, 32, 32))
    convolutions = 2 * (16 * 64 + 16 * 64 * 128) + 64 + 128 + 64 + 1
    linear = 2 * 128 * 8 * 8 * 64 + 64 + 128 * 8 * 8
    assert sum(weight.numel() for weight in players.discriminator.parameters()) == convolutions + linear == 1_321_281
    assert len(list(players.discriminator.parameters())) == 12


def test_both_players_end_in_a_sigmoid_and_the_energy_is_the_mean_absolute_error() -> None:
    players = CompareGAN(width=2, latent=3, code=3).build((3, 16, 24))
    images = players.generator(5 * torch.randn(4, 3)).images
    assert images.shape == (4, 3, 16, 24)
    assert images.abs().max() < 1
    real = torch.rand(4, 3, 16, 24) * 2 - 1
    energy, code, reconstruction = players.discriminator.autoencode(real)
    assert reconstruction.abs().max() < 1
    assert code.shape == (4, 3)
    torch.testing.assert_close(energy, (real - reconstruction).abs().mean((1, 2, 3)))


def test_sides_that_do_not_halve_twice_are_refused() -> None:
    with pytest.raises(UsageError, match="halves each side twice"):
        CompareGAN().build((1, 30, 32))


def test_it_is_trained_with_the_objective_that_compare_gan_had() -> None:
    config = PRESETS["began"]["paper"].with_changes(network=CompareGAN(), n_critic=5, update="alternating")
    assert config.network_name == "compare-gan"
