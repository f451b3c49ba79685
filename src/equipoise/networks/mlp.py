"""Multi-layer perceptrons, for points in the plane and small images.

A point is an image of one pixel, (2, 1, 1). Gulrajani et al. (2017), "Improved Training of Wasserstein GANs",
arXiv:1704.00028, use three layers of 512 and ReLU for points.
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import nn

from equipoise.networks.base import BuildOptions, Network, Shape
from equipoise.networks.norms import Norm, add_spectral_norm, make_norm
from equipoise.networks.outputs import OutputLinear
from equipoise.networks.players import (
    Discriminator,
    EnergyDiscriminator,
    Generator,
    add_tasks,
    output_channels,
    scaled_init,
)
from equipoise.players import Players

Activation = Literal["relu", "leaky"]
SLOPE = 0.2  # negative slope of the leaky ReLU
Depth = Annotated[int, Field(ge=1, le=64)]
Width = Annotated[int, Field(ge=1, le=65536)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True, extra="forbid"))
class MLP(Network):
    """Two multi-layer perceptrons; the generator of images ends in a tanh, that of points, which are unbounded, not."""

    score_kinds: ClassVar[frozenset[str]] = frozenset({"logit", "critic", "loss"})

    depth: Depth = 3
    """Number of hidden layers."""
    width: Width = 128
    """Width of the hidden layers (WGAN-GP paper: 512)."""
    latent: Annotated[int, Field(ge=1, le=65536)] = 2
    """Length of the latent; images need a longer one than points."""
    activation: Activation = "relu"
    """Activation: ReLU, or leaky ReLU with a negative slope of 0.2."""
    norm: Norm = "none"
    """Normalisation in the discriminator; a gradient penalty needs layer or none."""
    generator_norm: Norm = "none"
    """Normalisation in the generator."""
    spectral: bool = False
    """Spectral normalisation of the discriminator (Miyato et al. 2018, arXiv:1802.05957)."""

    @property
    def smallest_batch(self) -> int:
        """2 for batch normalisation, which has one value of each image in a vector's channel."""
        return 2 if "batch" in (self.norm, self.generator_norm) else 1

    def build(self, shape: Shape, options: BuildOptions = BuildOptions()) -> Players:  # noqa: B008
        """Build both players for images of any `shape` (C, H, W)."""
        hidden = [self.width] * self.depth
        decoder = _decoder(
            [self.latent + options.condition, *hidden], shape, options, self.activation, self.generator_norm
        )
        if shape[1:] != (1, 1) and not options.levels:
            decoder.append(nn.Tanh())
        layers = _hidden([math.prod(shape), *hidden], self.activation, self.norm)
        discriminator = Discriminator(nn.Sequential(nn.Flatten(), *layers), _linear(self.width, 1, kind=OutputLinear))
        if self.spectral:
            add_spectral_norm(discriminator)
        add_tasks(discriminator, self.width, options.logits)
        return Players(Generator(decoder), discriminator)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True, extra="forbid"))
class MLPAutoencoder(Network):
    """An autoencoder of perceptrons as discriminator, and a generator with its decoder's architecture.

    As with `Autoencoder`, the output has no activation.
    """

    score_kinds: ClassVar[frozenset[str]] = frozenset({"energy", "loss"})

    depth: Depth = 3
    """Number of hidden layers, of encoder, decoder and generator alike."""
    width: Width = 128
    """Width of the hidden layers."""
    latent: Annotated[int, Field(ge=1, le=65536)] = 2
    """Length of the latent; images need a longer one than points."""
    code: Annotated[int, Field(ge=0, le=65536)] = 0
    """Length of the autoencoder's code; 0 is that of the latent."""
    activation: Activation = "relu"
    """Activation: ReLU, or leaky ReLU with a negative slope of 0.2."""
    eta: Literal[1, 2] = 2
    """Power of the error in the energy: 2 for squared, 1 for absolute errors."""

    @property
    def codes(self) -> int:
        """Length of the encoder's codes."""
        return self.code or self.latent

    def build(self, shape: Shape, options: BuildOptions = BuildOptions()) -> Players:  # noqa: B008
        """Build both players for images of any `shape` (C, H, W)."""
        hidden, activation = [self.width] * self.depth, self.activation
        generator = Generator(_decoder([self.latent + options.condition, *hidden], shape, options, activation))
        layers = _hidden([math.prod(shape), *hidden], activation)
        encoder = nn.Sequential(nn.Flatten(), *layers, _linear(self.width, self.codes))
        decoder = _decoder([self.codes, *hidden], shape, BuildOptions(), activation)
        discriminator = EnergyDiscriminator(encoder, decoder, self.eta)
        add_tasks(discriminator, self.codes, options.logits)
        return Players(generator, discriminator)


def _decoder(
    widths: list[int], shape: Shape, options: BuildOptions, activation: Activation, norm: Norm = "none"
) -> nn.Sequential:
    """Hidden layers, then one to images, or to the logits of discrete ones."""
    channels, height, width = shape
    out = (output_channels(channels, options), height, width)
    last = _linear(widths[-1], math.prod(out), kind=OutputLinear)
    return nn.Sequential(*_hidden(widths, activation, norm), last, nn.Unflatten(1, out))


def _hidden(widths: list[int], activation: Activation, norm: Norm = "none") -> Iterator[nn.Module]:
    """Linear layers, normalisations and activations, without a bias where a normalisation follows, which has one."""
    gain = math.sqrt(2) if activation == "relu" else math.sqrt(2 / (1 + SLOPE**2))
    for n_in, n_out in pairwise(widths):
        yield _linear(n_in, n_out, gain, bias=norm == "none")
        yield make_norm(norm, n_out)
        yield nn.ReLU() if activation == "relu" else nn.LeakyReLU(SLOPE)


def _linear(
    n_in: int, n_out: int, gain: float = 1.0, *, bias: bool = True, kind: type[nn.Linear] = nn.Linear
) -> nn.Linear:
    layer = kind(n_in, n_out, bias=bias)
    scaled_init(layer, gain)
    return layer
