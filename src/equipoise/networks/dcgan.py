"""Deep convolutional networks: a generator of transposed convolutions, and a discriminator that mirrors it.

The discriminator is a classifier, or with the generator's layers behind it an autoencoder.

Radford, Metz and Chintala (2015), "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
Networks", arXiv:1511.06434; layers and initial weights as in the authors' code, github.com/soumith/dcgan.torch.
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import nn

from equipoise.networks.base import BuildOptions, Network, Shape
from equipoise.networks.convolution import Conv2d, ConvTranspose2d
from equipoise.networks.norms import BatchNorm, Norm, add_spectral_norm, make_norm
from equipoise.networks.outputs import OutputConv2d, OutputConvTranspose2d
from equipoise.networks.players import (
    Discriminator,
    EnergyDiscriminator,
    Generator,
    Size,
    add_tasks,
    count_halvings,
    draw_normal,
    halve,
    normal_init,
    output_channels,
)
from equipoise.networks.wavelet import HaarTransform
from equipoise.players import Players

HALVE = (4, 2, 1)  # kernel size, stride and padding of a layer that halves or doubles the sides


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True, extra="forbid"))
class DCGAN(Network):
    """The DCGAN paper's networks, for images whose sides halve down to 4, or to at most 7."""

    score_kinds: ClassVar[frozenset[str]] = frozenset({"logit", "critic", "loss"})

    width: Annotated[int, Field(ge=1, le=4096)] = 32
    """Channels at half of the image size, doubled at each further halving: 8 times as many at 4x4 for 64x64 (paper:
    64)."""
    width_ratio: Annotated[float, Field(ge=0.1, le=10)] = 1.0
    """The generator's width over `width`, the discriminator's."""
    latent: Annotated[int, Field(ge=1, le=65536)] = 100
    """Length of the latent."""
    norm: Norm = "batch"
    """Normalisation in the discriminator, except in its first layer; a gradient penalty needs layer or none."""
    generator_norm: Norm = "batch"
    """Normalisation in the generator, except in its last layer."""
    activation: Literal["leaky", "silu"] = "leaky"
    """Activation in the discriminator: leaky ReLU with a negative slope of 0.2, or SiLU, which is smooth."""
    spectral: bool = False
    """Spectral normalisation of the discriminator (Miyato et al. 2018, arXiv:1802.05957)."""

    @classmethod
    def default(cls, *, independent: bool, independent_g: bool, smooth: bool, spectral: bool) -> "DCGAN":
        """With LayerNorm, which WGAN-GP's paper recommends, where BatchNorm must not be."""
        return cls(
            norm="none" if spectral else "layer" if independent else "batch",
            generator_norm="layer" if independent_g else "batch",
            activation="silu" if smooth else "leaky",
            spectral=spectral,
        )

    def build(self, shape: Shape, options: BuildOptions = BuildOptions()) -> Players:  # noqa: B008
        """Build both players for images of `shape` (C, H, W).

        Raises:
            UsageError: the images' sides do not halve down to 4 or a little more.
        """
        bottleneck, widths = _sizes(shape, self.width)
        features = nn.Sequential(*_encoder([shape[0], *widths], self.norm, self.activation))
        score = OutputConv2d(widths[-1], 1, bottleneck, bias=False)
        players = Players(_generator(self, shape, options), Discriminator(features, score))
        for player in players:
            player.apply(_init)
        if self.spectral:
            add_spectral_norm(players.discriminator)
        add_tasks(players.discriminator, widths[-1] * math.prod(bottleneck), options.logits)
        return players


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True, extra="forbid"))
class DCGANAutoencoder(Network):
    """The DCGAN paper's generator, and as discriminator an autoencoder of the same layers, as EBGAN has it.

    Zhao, Mathieu and LeCun (2016), "Energy-based Generative Adversarial Network", arXiv:1609.03126, appendix. Of one
    width, it takes a fifth of the work of the BEGAN paper's `Autoencoder` an image at 32x32, and a quarter at 64x64.
    """

    score_kinds: ClassVar[frozenset[str]] = frozenset({"energy", "loss"})

    width: Annotated[int, Field(ge=1, le=4096)] = 32
    """Channels at half of the image size, doubled at each further halving."""
    width_ratio: Annotated[float, Field(ge=0.1, le=10)] = 1.0
    """The generator's width over `width`, the discriminator's."""
    latent: Annotated[int, Field(ge=1, le=65536)] = 64
    """Length of the latent."""
    code: Annotated[int, Field(ge=1, le=65536)] = 256
    """Length of the autoencoder's code."""
    norm: Norm = "batch"
    """Normalisation in the autoencoder, except in its first and last layers."""
    generator_norm: Norm = "batch"
    """Normalisation in the generator, except in its last layer."""
    eta: Literal[1, 2] = 1
    """Power of the pixel error in the energy: 2 for squared, 1 for absolute errors."""
    edges: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Weight in the energy of errors of differences between neighbouring pixels."""
    wavelet: Annotated[int, Field(ge=0, le=4)] = 0
    """Levels of the Haar transform of whose coefficients the energy is, which for squared errors is the same as that of
    pixels; 0 for pixels (photographs and colour drawings: 2)."""

    @classmethod
    def default(cls, *, independent: bool, independent_g: bool, smooth: bool, spectral: bool) -> "DCGANAutoencoder":
        """Normalisation by batches; where scores or images must not depend on them, by layers."""
        return cls(norm="layer" if independent else "batch", generator_norm="layer" if independent_g else "batch")

    @property
    def codes(self) -> int:
        """Length of the encoder's codes."""
        return self.code

    def build(self, shape: Shape, options: BuildOptions = BuildOptions()) -> Players:  # noqa: B008
        """Build both players for images of `shape` (C, H, W).

        Raises:
            UsageError: the images' sides do not halve down to 4 or a little more.
        """
        bottleneck, widths = _sizes(shape, self.width)
        down, up = [shape[0], *widths], [self.code, *reversed(widths), shape[0]]
        to_code = Conv2d(widths[-1], self.code, bottleneck)
        encoder = nn.Sequential(*_encoder(down, self.norm, "leaky"), to_code, nn.Flatten())
        decoder = nn.Sequential(*_decoder(up, bottleneck, self.norm), nn.Tanh())
        wavelet = HaarTransform.of_images(self.wavelet, *shape)
        discriminator = EnergyDiscriminator(encoder, decoder, self.eta, self.edges, wavelet)
        players = Players(_generator(self, shape, options), discriminator)
        for player in players:
            player.apply(_init)
        add_tasks(players.discriminator, self.code, options.logits)
        return players


def _sizes(shape: Shape, width: int) -> tuple[Size, list[int]]:
    """(height, width) of the bottleneck, and the channels at each halving on the way to it.

    Raises:
        UsageError: the images' sides do not halve down to 4 or a little more.
    """
    times = count_halvings(shape[1:], "DCGAN", longer=4, shorter=2)
    return halve(shape[1:], times), [width * 2**level for level in range(times)]


def _generator(spec: DCGAN | DCGANAutoencoder, shape: Shape, options: BuildOptions) -> Generator:
    """The generator of images, or of the logits of discrete ones."""
    bottleneck, widths = _sizes(shape, max(1, round(spec.width_ratio * spec.width)))
    up = [spec.latent + options.condition, *reversed(widths), output_channels(shape[0], options)]
    decoder = nn.Sequential(*_decoder(up, bottleneck, spec.generator_norm))
    if not options.levels:  # else the output is logits
        decoder.append(nn.Tanh())
    return Generator(decoder)


def _encoder(widths: list[int], norm: Norm, activation: str) -> Iterator[nn.Module]:
    """Convolutions that each halve the sides, without a bias where a normalisation follows, which has one."""
    for level, (n_in, n_out) in enumerate(pairwise(widths)):
        yield Conv2d(n_in, n_out, *HALVE, bias=norm == "none")
        if level > 0:
            yield make_norm(norm, n_out)
        yield nn.SiLU(inplace=True) if activation == "silu" else nn.LeakyReLU(0.2, inplace=True)


def _decoder(widths: list[int], bottleneck: Size, norm: Norm) -> Iterator[nn.Module]:
    """Transposed convolutions: from the latent as an image of 1x1 to the bottleneck, then each doubling the sides."""
    first, *doublings = pairwise(widths)
    yield nn.Unflatten(1, (first[0], 1, 1))
    yield ConvTranspose2d(*first, bottleneck, bias=norm == "none")
    for n_in, n_out in doublings:
        yield make_norm(norm, n_in)
        yield nn.ReLU(inplace=True)
        last = (n_in, n_out) == doublings[-1]
        layer = OutputConvTranspose2d if last else ConvTranspose2d
        yield layer(n_in, n_out, *HALVE, bias=norm == "none" and not last)


def _init(module: nn.Module) -> None:
    """Weights from N(0, 0.02), gains of batch normalisation from N(1, 0.02), biases of 0 (authors' code)."""
    normal_init(module)
    if isinstance(module, BatchNorm):
        draw_normal(module.weight, 1.0, 0.02)
