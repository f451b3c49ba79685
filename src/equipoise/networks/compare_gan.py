"""The networks with which "Are GANs Created Equal?" compared BEGAN to others, for a rerun on equal terms.

Lucic et al. (2018), arXiv:1711.10337; layers, activations and initial weights as in the authors' code,
github.com/google/compare_gan, `src/gans/abstract_gan.py` and `src/gans/BEGAN.py` of 2018. Images there are in [0, 1]
and both players end in a sigmoid; here they are in [-1, 1], onto which the same sigmoid is stretched. An energy is
hence twice theirs, and a gain of k that is to do the same is half of theirs.
"""

from typing import Annotated, ClassVar

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from equipoise.errors import UsageError
from equipoise.networks.base import BuildOptions, Network, Shape
from equipoise.networks.convolution import Conv2d, ConvTranspose2d
from equipoise.networks.dcgan import HALVE
from equipoise.networks.norms import make_norm
from equipoise.networks.outputs import OutputConvTranspose2d
from equipoise.networks.players import (
    EnergyDiscriminator,
    Generator,
    add_tasks,
    normal_init,
    output_channels,
)
from equipoise.players import Players


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True, extra="forbid"))
class CompareGAN(Network):
    """compare_gan's generator, and its autoencoder of two 4x4 convolutions of stride 2, for sides that divide by 4."""

    score_kinds: ClassVar[frozenset[str]] = frozenset({"energy", "loss"})

    width: Annotated[int, Field(ge=1, le=4096)] = 64
    """Channels at half of the image size, doubled at a quarter (compare_gan: 64)."""
    latent: Annotated[int, Field(ge=1, le=65536)] = 64
    """Length of the latent (compare_gan: 64)."""
    code: Annotated[int, Field(ge=1, le=65536)] = 64
    """Length of the autoencoder's code (compare_gan: 64)."""

    @property
    def codes(self) -> int:
        """Length of the encoder's codes."""
        return self.code

    @property
    def independent_g(self) -> bool:
        """The generator normalises by batches."""
        return False

    @property
    def smallest_batch(self) -> int:
        """2, as the generator normalises vectors by batches."""
        return 2

    def build(self, shape: Shape, options: BuildOptions = BuildOptions()) -> Players:  # noqa: B008
        """Build both players for images of `shape` (C, H, W).

        Raises:
            UsageError: a side does not divide by 4.
        """
        channels, height, width = shape
        if height % 4 or width % 4:
            raise UsageError(
                f"compare-gan halves each side twice, which {width}x{height} does not: use --resolution 32"
            )
        small = (2 * self.width, height // 4, width // 4)
        flat = small[0] * small[1] * small[2]
        generator = nn.Sequential(
            nn.Linear(self.latent + options.condition, 16 * self.width),
            make_norm("batch", 16 * self.width),
            _leaky(),
            nn.Linear(16 * self.width, flat),
            make_norm("batch", flat),
            _leaky(),
            nn.Unflatten(1, small),
            ConvTranspose2d(small[0], self.width, *HALVE),
            make_norm("batch", self.width),
            _leaky(),
            OutputConvTranspose2d(self.width, output_channels(channels, options), *HALVE),
        )
        if not options.levels:  # else the output is logits
            generator.append(StretchedSigmoid())
        encoder = nn.Sequential(
            Conv2d(channels, self.width, *HALVE),
            _leaky(),
            Conv2d(self.width, small[0], *HALVE),
            _leaky(),
            nn.Flatten(),
            nn.Linear(flat, self.code),
            _leaky(),
        )
        decoder = nn.Sequential(
            nn.Linear(self.code, flat),
            _leaky(),
            nn.Unflatten(1, small),
            ConvTranspose2d(small[0], self.width, *HALVE),
            _leaky(),
            OutputConvTranspose2d(self.width, channels, *HALVE),
            StretchedSigmoid(),
        )
        players = Players(Generator(generator), EnergyDiscriminator(encoder, decoder, eta=1))
        for player in players:
            player.apply(normal_init)
        add_tasks(players.discriminator, self.code, options.logits)
        return players


def _leaky() -> nn.Module:
    return nn.LeakyReLU(0.2, inplace=True)


class StretchedSigmoid(nn.Module):
    """2 sigmoid(x) - 1: a sigmoid for images in [-1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return 2 * torch.sigmoid(x) - 1
