"""Deep convolutional networks: a generator of transposed convolutions, and a discriminator that mirrors it.

Radford, Metz and Chintala (2015), "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
Networks", arXiv:1511.06434; first weights and layers as in the authors' code, https://github.com/soumith/dcgan.torch.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import nn

from equipoise.networks.base import Network, Shape
from equipoise.networks.convolution import Conv2d, ConvTranspose2d
from equipoise.networks.norms import BatchNorm, Norm, add_spectral_norm, make_norm
from equipoise.networks.players import (
    Discriminator,
    Generator,
    OutputConvTranspose2d,
    Size,
    add_tasks,
    halved,
    halvings,
    normal_init,
    output_channels,
)
from equipoise.players import BuildOptions, Players

HALVE = (4, 2, 1)  # kernel, stride and padding of a layer that halves or doubles the sides


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True))
class DCGAN(Network):
    """The DCGAN paper's networks, for images whose sides halve down to 4 (paper) or a little more, 28 say to 7."""

    score_kinds: ClassVar[frozenset[str]] = frozenset({"logit", "critic", "loss"})

    width: Annotated[int, Field(ge=1, le=4096)] = 64
    """Channels at half of the images' size; each further halving doubles them, 8 times as many at 4x4 for 64x64."""
    latent: Annotated[int, Field(ge=1, le=65536)] = 100
    """Length of the latent."""
    norm: Norm = "batch"
    """Normalisation in the discriminator, but for its first layer; a gradient penalty needs layer or none."""
    generator_norm: Norm = "batch"
    """Normalisation in the generator, but for its last layer."""
    spectral: bool = False
    """Divide the discriminator's weights by their largest singular value (Miyato et al. 2018, arXiv:1802.05957)."""

    @classmethod
    def default(cls, *, independent: bool) -> "DCGAN":
        """As published, or with LayerNorm in the discriminator, as in the WGAN-GP paper's section 4."""
        return cls(norm="layer" if independent else "batch")

    @property
    def independent(self) -> bool:
        """Whether an image's score does not depend on the others in the batch."""
        return self.norm != "batch"

    def build(self, shape: Shape, options: BuildOptions = BuildOptions()) -> Players:  # noqa: B008
        """Build both players for images of `shape` (C, H, W).

        Raises:
            UsageError: the images' sides do not halve down to 4 or a little more.
        """
        channels, size = shape[0], shape[1:]
        times = halvings(size, "DCGAN", longer=4, shorter=2)
        smallest, widths = halved(size, times), [self.width * 2**level for level in range(times)]
        features = nn.Sequential(*_encoder([channels, *widths], self.norm))
        score = nn.Conv2d(widths[-1], 1, smallest, bias=False)
        up = [self.latent + options.condition, *reversed(widths), output_channels(channels, options)]
        decoder = nn.Sequential(*_decoder(up, smallest, self.generator_norm))
        if not options.levels:
            decoder.append(nn.Tanh())
        players = Players(Generator(decoder), Discriminator(features, score))
        for player in players:
            player.apply(_init)
        if self.spectral:
            add_spectral_norm(players.discriminator)
        add_tasks(players.discriminator, widths[-1] * smallest[0] * smallest[1], options.logits)
        return players


def _encoder(widths: list[int], norm: Norm) -> Iterator[nn.Module]:
    """Convolutions that each halve the sides; none has a bias where a normalisation has one, as published."""
    for level, (n_in, n_out) in enumerate(pairwise(widths)):
        yield Conv2d(n_in, n_out, *HALVE, bias=norm == "none")
        if level > 0:
            yield make_norm(norm, n_out)
        yield nn.LeakyReLU(0.2, inplace=True)


def _decoder(widths: list[int], smallest: Size, norm: Norm) -> Iterator[nn.Module]:
    """A latent, as an image of 1x1, to the bottleneck; from there on each layer but the last has an activation."""
    first, *others = pairwise(widths)
    yield nn.Unflatten(1, (first[0], 1, 1))
    yield ConvTranspose2d(*first, smallest, bias=norm == "none")
    for n_in, n_out in others:
        yield make_norm(norm, n_in)
        yield nn.ReLU(inplace=True)
        last = (n_in, n_out) == others[-1]
        layer = OutputConvTranspose2d if last else ConvTranspose2d
        yield layer(n_in, n_out, *HALVE, bias=norm == "none" and not last)


def _init(module: nn.Module) -> None:
    """Weights from N(0, 0.02), gains of batch normalisation from N(1, 0.02), no biases (authors' code)."""
    normal_init(module)
    if isinstance(module, BatchNorm):
        nn.init.normal_(module.weight, 1.0, 0.02)
