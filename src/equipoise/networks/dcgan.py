"""Deep convolutional networks: a generator of transposed convolutions, and a discriminator that mirrors it.

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
from equipoise.networks.players import (
    Discriminator,
    Generator,
    OutputConv2d,
    OutputConvTranspose2d,
    Size,
    add_tasks,
    count_halvings,
    halve,
    normal_init,
    output_channels,
)
from equipoise.players import Players

HALVE = (4, 2, 1)  # kernel size, stride and padding of a layer that halves or doubles the sides


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True))
class DCGAN(Network):
    """The DCGAN paper's networks, for images whose sides halve down to 4, or to at most 7."""

    score_kinds: ClassVar[frozenset[str]] = frozenset({"logit", "critic", "loss"})

    width: Annotated[int, Field(ge=1, le=4096)] = 64
    """Channels at half of the image size, doubled at each further halving: 8 times as many at 4x4 for 64x64."""
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
    def default(cls, *, independent: bool, independent_g: bool, smooth: bool) -> "DCGAN":
        """The published networks, with LayerNorm, which WGAN-GP's paper recommends, where BatchNorm must not be."""
        return cls(
            norm="layer" if independent else "batch",
            generator_norm="layer" if independent_g else "batch",
            activation="silu" if smooth else "leaky",
        )

    @property
    def independent(self) -> bool:
        """False with batch normalisation in the discriminator."""
        return self.norm != "batch"

    @property
    def independent_g(self) -> bool:
        """False with batch normalisation in the generator."""
        return self.generator_norm != "batch"

    def build(self, shape: Shape, options: BuildOptions = BuildOptions()) -> Players:  # noqa: B008
        """Build both players for images of `shape` (C, H, W).

        Raises:
            UsageError: the images' sides do not halve down to 4 or a little more.
        """
        channels, size = shape[0], shape[1:]
        times = count_halvings(size, "DCGAN", longer=4, shorter=2)
        bottleneck, widths = halve(size, times), [self.width * 2**level for level in range(times)]
        features = nn.Sequential(*_encoder([channels, *widths], self.norm, self.activation))
        score = OutputConv2d(widths[-1], 1, bottleneck, bias=False)
        up = [self.latent + options.condition, *reversed(widths), output_channels(channels, options)]
        decoder = nn.Sequential(*_decoder(up, bottleneck, self.generator_norm))
        if not options.levels:  # else the output is logits
            decoder.append(nn.Tanh())
        players = Players(Generator(decoder), Discriminator(features, score))
        for player in players:
            player.apply(_init)
        if self.spectral:
            add_spectral_norm(players.discriminator)
        add_tasks(players.discriminator, widths[-1] * math.prod(bottleneck), options.logits)
        return players


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
        nn.init.normal_(module.weight, 1.0, 0.02)
