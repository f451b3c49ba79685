"""The BEGAN paper's networks: parameter counts, shapes, energies, residuals and initial weights."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from equipoise.errors import UsageError
from equipoise.networks import DCGANAutoencoder
from equipoise.networks.autoencoder import ELU_GAIN, Autoencoder, ConvELU, set_carry
from equipoise.networks.wavelet import HaarTransform

COUNTS = {  # (width, skips) -> parameters of both players, with biases, at 32, 64, 128 and 256 pixels, RGB
    (128, False): (8_992_326, 15_269_062, 24_347_718, 36_818_118),
    (128, True): (9_582_150, 16_153_798, 25_527_366, 38_292_678),
    (64, False): (2_911_046, 4_611_718, 7_012_934, 10_262_150),
}


@pytest.mark.parametrize(("width", "skips"), COUNTS)
def test_parameters_are_as_many_as_in_the_paper(width: int, skips: bool) -> None:
    for resolution, expected in zip((32, 64, 128, 256), COUNTS[width, skips], strict=True):
        with torch.device("meta"):
            players = Autoencoder(width=width, latent=64, skips=skips).build((3, resolution, resolution))
        assert sum(weight.numel() for player in players for weight in player.parameters()) == expected


@pytest.mark.parametrize("resolution", [16, 32, 64])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("skips", [False, True])
def test_every_shape_goes_through(resolution: int, channels: int, skips: bool) -> None:
    generator, discriminator = Autoencoder(width=3, latent=5, skips=skips).build((channels, resolution, resolution))
    images = generator(torch.randn(2, 5)).images
    assert images.shape == (2, channels, resolution, resolution)
    answer = discriminator(images)
    assert answer.score.shape == (2,)
    assert answer.code.shape == (2, 5)


@pytest.mark.parametrize(
    ("size", "bottleneck"),
    [((48, 64), (6, 8)), ((64, 32), (8, 4)), ((48, 48), (12, 12)), ((28, 28), (14, 14)), ((160, 128), (10, 8))],
)
def test_sizes_that_are_no_powers_of_two_go_through(size: tuple[int, int], bottleneck: tuple[int, int]) -> None:
    generator, discriminator = Autoencoder(width=3, latent=5).build((3, *size))
    assert generator.decoder.bottleneck == (3, *bottleneck)
    images = generator(torch.randn(2, 5)).images
    assert images.shape == (2, 3, *size)
    assert discriminator.reconstruct(images).shape == images.shape


@pytest.mark.parametrize(
    ("size", "near"),
    [
        ((218, 178), "176x208"),
        ((7, 7), "16"),
        ((8, 8), "16"),
        ((0, 0), "16"),
        ((64, 8), "32x64"),
        ((30, 31), "30"),
        ((62, 63), "60"),
    ],
)
def test_other_sizes_are_refused_with_one_that_works(size: tuple[int, int], near: str) -> None:
    with pytest.raises(UsageError, match=f"divide by .*: try --resolution {near}$") as refusal:
        Autoencoder().build((1, *size))
    width, _, height = str(refusal.value).rpartition(" ")[2].partition("x")
    with torch.device("meta"):
        Autoencoder().build((1, int(height or width), int(width)))


@pytest.mark.parametrize("eta", [1, 2])
def test_energy_is_the_mean_power_of_the_error_per_sample(eta: int) -> None:
    discriminator = Autoencoder(width=3, latent=5, eta=eta).build((2, 16, 16)).discriminator.double()
    images = torch.randn(4, 2, 16, 16, dtype=torch.float64)
    error = images - discriminator.reconstruct(images)
    expected = torch.stack([sum(abs(value) ** eta for value in one.flatten()) / one.numel() for one in error])
    torch.testing.assert_close(discriminator(images).score, expected)


@pytest.mark.parametrize("network", [Autoencoder(width=3, latent=5, edges=0.7), DCGANAutoencoder(width=3, edges=0.7)])
@pytest.mark.parametrize("eta", [1, 2])
def test_energy_with_edges_has_the_errors_of_differences(
    network: Autoencoder | DCGANAutoencoder, eta: Literal[1, 2]
) -> None:
    discriminator = replace(network, eta=eta).build((2, 16, 24)).discriminator.double()
    images = torch.randn(3, 2, 16, 24, dtype=torch.float64)
    error = (images - discriminator.reconstruct(images)).detach().numpy()
    down = np.abs(error[:, :, 1:] - error[:, :, :-1]) ** eta
    across = np.abs(error[..., 1:] - error[..., :-1]) ** eta
    terms = [np.mean(each, axis=(1, 2, 3)) for each in (np.abs(error) ** eta, across, down)]
    expected = terms[0] + 0.7 * (terms[1] + terms[2])
    np.testing.assert_allclose(discriminator(images).score.detach(), expected, rtol=1e-12)
    of_pixels = discriminator.energy_map(torch.from_numpy(error))
    np.testing.assert_allclose(of_pixels.mean(dim=(1, 2)), expected, rtol=1e-12)
    pair = down[0, :, 4, 7].mean() * 16 / 15 + across[0, :, 4, 7].mean() * 24 / 23
    assert of_pixels[0, 4, 7].item() == pytest.approx((np.abs(error[0, :, 4, 7]) ** eta).mean() + 0.7 * pair)


@pytest.mark.parametrize("network", [Autoencoder(width=3, latent=5, wavelet=2), DCGANAutoencoder(width=3, wavelet=2)])
@pytest.mark.parametrize("edges", [0.0, 0.7])
def test_energy_by_wavelet_is_the_mean_size_of_the_errors_coefficients(
    network: Autoencoder | DCGANAutoencoder, edges: float
) -> None:
    """Of absolute errors, and with their differences beside; the map of pixels has the same mean."""
    discriminator = replace(network, eta=1, edges=edges).build((2, 32, 48)).discriminator.double()
    images = torch.randn(3, 2, 32, 48, dtype=torch.float64)
    error = (images - discriminator.reconstruct(images)).detach()
    expected = np.abs(HaarTransform(2, 2).double()(error).numpy()).mean((1, 2))
    if edges:
        expected += edges * sum(each.abs().mean((1, 2, 3)).numpy() for each in (error.diff(dim=2), error.diff(dim=3)))
    np.testing.assert_allclose(discriminator(images).score.detach(), expected, rtol=1e-12)
    np.testing.assert_allclose(discriminator.energy_map(error).mean((1, 2)), expected, rtol=1e-12)


def test_energy_by_wavelet_of_squared_errors_is_that_of_pixels() -> None:
    """As the basis is orthonormal (Parseval)."""
    networks = Autoencoder(width=3, latent=5, eta=2), Autoencoder(width=3, latent=5, eta=2, wavelet=1)
    errors = torch.randn(3, 2, 16, 16, dtype=torch.float64)
    plain, by_wavelet = (network.build((2, 16, 16)).discriminator.double() for network in networks)
    torch.testing.assert_close(by_wavelet.energy(errors), plain.energy(errors), rtol=1e-12, atol=0)


def test_energy_moves_through_both_of_its_terms() -> None:
    """A target taken out of the graph would halve the gradient (a bug of others)."""
    discriminator = Autoencoder(width=3, latent=5, eta=2).build((1, 16, 16)).discriminator.double()
    images = torch.randn(2, 1, 16, 16, dtype=torch.float64, requires_grad=True)
    (got,) = torch.autograd.grad(discriminator(images).score.sum(), images)
    nudge = torch.randn_like(images)
    ahead, behind = (discriminator(images + step * nudge).score.sum() for step in (1e-5, -1e-5))
    torch.testing.assert_close((got * nudge).sum(), (ahead - behind) / 2e-5, rtol=1e-6, atol=1e-9)


def test_what_is_said_of_an_image_does_not_depend_on_the_others() -> None:
    """As it would with batch normalisation in either network (a bug of others)."""
    generator, discriminator = (player.double() for player in Autoencoder(width=3, latent=5).build((1, 16, 16)))
    latent = torch.randn(4, 5, dtype=torch.float64)
    images = generator(latent).images
    torch.testing.assert_close(generator(latent[:1]).images, images[:1])
    torch.testing.assert_close(discriminator(images[:1]).score, discriminator(images).score[:1])


def test_a_full_carry_makes_a_layer_the_identity_and_none_a_plain_layer() -> None:
    layer = ConvELU(4, 4, Autoencoder(residual=100))
    x = torch.randn(2, 4, 8, 8)
    set_carry(layer, 1.0)
    assert torch.equal(layer(x), x)
    set_carry(layer, 0.0)
    assert torch.equal(layer(x), F.elu(layer.conv(x)))
    set_carry(layer, 0.25)
    torch.testing.assert_close(layer(x), 0.25 * x + 0.75 * F.elu(layer.conv(x)))


def test_only_layers_of_one_shape_carry() -> None:
    players = Autoencoder(width=4, residual=100, skips=True).build((1, 32, 32))
    layers = [module for player in players for module in player.modules() if isinstance(module, ConvELU)]
    assert {layer.residual for layer in layers} == {True, False}
    assert all(layer.residual == (layer.conv.in_channels == layer.conv.out_channels) for layer in layers)


def test_the_output_has_no_activation() -> None:
    generator = Autoencoder(width=4, init="scaled").build((1, 16, 16)).generator
    images = generator(100 * torch.randn(8, 32)).images
    assert images.min() < -1.5 < 1.5 < images.max()


def test_scaled_weights_carry_the_latent_to_the_image_where_the_papers_lose_it() -> None:
    """N(0, 0.02) is made for 128 channels: with 16 the first images do not depend on the latent."""
    torch.manual_seed(0)
    latent = torch.rand(256, 64) * 2 - 1
    spread = {
        init: Autoencoder(width=16, latent=64, init=init)
        .build((1, 32, 32))
        .generator(latent)
        .images.std(0)
        .mean()
        .item()
        for init in ("scaled", "normal")
    }
    assert spread["normal"] < 1e-5
    assert spread["scaled"] > 0.02


def test_the_gain_keeps_the_variance_through_an_elu() -> None:
    x = torch.randn(2_000_000, dtype=torch.float64)
    assert (ELU_GAIN * F.elu(x)).square().mean().item() == pytest.approx(1, abs=5e-3)


@pytest.mark.parametrize("residual", [0, 100])
def test_an_upsampling_layer_is_enlarging_and_then_convolving(residual: int) -> None:
    """In float64, values and gradients of everything; the transposed convolution does not touch the sides otherwise."""
    torch.manual_seed(0)
    layer = ConvELU(4, 4, Autoencoder(width=4, residual=residual), upsampling=True).double()
    set_carry(layer, 0.3)
    x = torch.randn(2, 4, 5, 7, dtype=torch.float64, requires_grad=True)
    large = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    plain = F.elu(F.conv2d(large, layer.conv.weight, layer.conv.bias, padding=1))
    expected = 0.7 * plain + 0.3 * large if residual else plain
    found, push = layer(x), torch.randn(2, 4, 10, 14, dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    inputs = [x, *layer.parameters()]
    for ours, theirs in zip(
        torch.autograd.grad(found, inputs, push), torch.autograd.grad(expected, inputs, push), strict=True
    ):
        assert (ours - theirs).norm() <= 1e-12 * theirs.norm()


def test_an_upsampling_layer_works_under_autocast() -> None:
    torch.manual_seed(0)
    layer = ConvELU(8, 8, Autoencoder(width=8), upsampling=True)
    x = torch.randn(2, 8, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        half = layer(x)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), layer(x), rtol=2e-2, atol=2e-2)


def test_a_unit_elu_is_an_elu_of_images_in_0_to_1() -> None:
    """As networks elsewhere end: 2 ELU(x) - 1 of what a linear output gives, of generator and decoder alike."""
    linear, curved = (Autoencoder(width=4, latent=3, output=kind).build((3, 16, 16)) for kind in ("linear", "unit-elu"))
    z, images = torch.randn(5, 3), torch.randn(5, 3, 16, 16)
    for player in linear._fields:
        getattr(curved, player).load_state_dict(getattr(linear, player).state_dict())
    for straight, bent in (
        (linear.generator(z).images, curved.generator(z).images),
        (linear.discriminator.reconstruct(images), curved.discriminator.reconstruct(images)),
    ):
        assert torch.allclose(bent, 2 * F.elu(straight) - 1, atol=1e-6)
        assert (straight < 0).any()
