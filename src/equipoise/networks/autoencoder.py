"""The BEGAN paper's networks: an autoencoder as discriminator, and a generator with its decoder's architecture.

Berthelot, Schumm and Metz (2017), "BEGAN: Boundary Equilibrium Generative Adversarial Networks",
arXiv:1703.10717, section 3.4 and figure 1.
"""

import math
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from equipoise.networks.base import BuildOptions, Network, Shape
from equipoise.networks.convolution import Conv2d, transposed_convolution
from equipoise.networks.outputs import OutputConv2d
from equipoise.networks.players import (
    EnergyDiscriminator,
    Generator,
    Size,
    add_tasks,
    count_halvings,
    halve,
    normal_init,
    output_channels,
    scaled_init,
)
from equipoise.networks.wavelet import HaarTransform
from equipoise.players import Players

ELU_GAIN = 1.246  # 1 / sqrt(E[ELU(x)^2]) for x ~ N(0, 1), which makes up for the variance that an ELU loses


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True, extra="forbid"))
class Autoencoder(Network):
    """The BEGAN paper's networks, for images whose sides halve down to 8, or to at most 15; see `count_levels`."""

    score_kinds: ClassVar[frozenset[str]] = frozenset({"energy", "loss"})

    width: Annotated[int, Field(ge=1, le=4096)] = 64
    """Channels n of the first level; level i of the encoder has i * n channels."""
    latent: Annotated[int, Field(ge=1, le=65536)] = 32
    """Length of latent and code (paper: 64); a shorter one keeps samples of small data sets more diverse."""
    skips: bool = False
    """Skip connections from the decoder's first layer to every later level (paper, section 3.4)."""
    residual: Annotated[int, Field(ge=0, le=10**11)] = 0
    """Vanishing residuals: images over which the carry falls from 1 to 0; 0 for none (paper: 256k)."""
    eta: Literal[1, 2] = 2
    """Power of the pixel error in the energy: 2 for squared, 1 for absolute errors (paper: 1)."""
    edges: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Weight in the energy of errors of differences between neighbouring pixels."""
    wavelet: Annotated[int, Field(ge=0, le=4)] = 0
    """Levels of the Haar transform of whose coefficients the energy is, which for squared errors is the same as that of
    pixels; 0 for pixels (photographs and colour drawings: 2)."""
    init: Literal["scaled", "normal", "default"] = "scaled"
    """Initial weights: scaled to a layer's inputs (He et al. 2015, arXiv:1502.01852), N(0, 0.02), or PyTorch's own."""
    output: Literal["linear", "unit-elu"] = "linear"
    """Output of generator and decoder: linear, or 2 ELU(x) - 1, as others end in an ELU for images in [0, 1]."""

    @classmethod
    def paper(cls, *, skips: bool = False, residual: int = 0) -> "Autoencoder":
        """The paper's networks: 128 wide, absolute errors, weights from N(0, 0.02); skips and residuals as options."""
        return cls(width=128, latent=64, eta=1, init="normal", skips=skips, residual=residual)

    @property
    def codes(self) -> int:
        """Length of the encoder's codes, that of the latent."""
        return self.latent

    def build(self, shape: Shape, options: BuildOptions = BuildOptions()) -> Players:  # noqa: B008
        """Build both players for images of `shape` (C, H, W).

        Raises:
            UsageError: the images' sides do not halve down to the bottleneck's.
        """
        channels, size = shape[0], shape[1:]
        generator = Generator(Decoder(self, self.latent + options.condition, output_channels(channels, options), size))
        encoder, decoder = Encoder(self, channels, size), Decoder(self, self.latent, channels, size)
        wavelet = HaarTransform.of_images(self.wavelet, *shape)
        players = Players(generator, EnergyDiscriminator(encoder, decoder, self.eta, self.edges, wavelet))
        for player in players:
            if self.init != "default":
                player.apply(_scaled_init if self.init == "scaled" else normal_init)
        add_tasks(players.discriminator, self.latent, options.logits)
        return players

    def anneal(self, player: nn.Module, images_seen: int) -> None:
        """Set the carry of vanishing residuals, which falls linearly from 1 to 0 over `residual` images."""
        if self.residual:
            set_carry(player, max(0.0, 1 - images_seen / self.residual))


class Encoder(nn.Module):
    """Encoder of images (N, C, H, W) to codes (N, latent); between levels n channels are added and the sides halved."""

    def __init__(self, spec: Autoencoder, channels: int, size: Size) -> None:
        super().__init__()
        n, levels = spec.width, count_levels(size)
        height, width = halve(size, levels - 1)
        self.first = _conv(channels, n)
        self.keep = nn.ModuleList([ConvELU(i * n, i * n, spec) for i in range(1, levels + 1)])
        self.widen = nn.ModuleList([_conv(i * n, (i + 1) * n, stride=2) for i in range(1, levels)])
        self.last = ConvELU(levels * n, levels * n, spec)
        self.to_code = nn.Linear(height * width * levels * n, spec.latent)

    def forward(self, images: Tensor) -> Tensor:
        """Encode images (N, C, H, W) to codes (N, latent)."""
        x = elu(self.first(images))
        for keep, widen in zip(self.keep, self.widen, strict=False):
            x = elu(widen(keep(x)))
        x = self.last(self.keep[-1](x))
        code: Tensor = self.to_code(x.flatten(1))
        return code


class Decoder(nn.Module):
    """Decoder of codes (N, code) to images (N, C, H, W): two convolutions per level, nearest upsampling in between.

    A linear output may lie outside of [-1, 1], to which images are then to be clamped.
    """

    def __init__(self, spec: Autoencoder, code: int, channels: int, size: Size) -> None:
        super().__init__()
        n, levels = spec.width, count_levels(size)
        self.skips, self.bottleneck = spec.skips, (n, *halve(size, levels - 1))
        self.unit_elu = spec.output == "unit-elu"
        self.from_code = nn.Linear(code, math.prod(self.bottleneck))
        n_in = 2 * n if spec.skips else n
        first = [ConvELU(n_in if level else n, n, spec, upsampling=level > 0) for level in range(levels)]
        self.first = nn.ModuleList(first)
        self.second = nn.ModuleList([ConvELU(n, n, spec) for _ in range(levels)])
        self.to_image = OutputConv2d(n, channels, kernel_size=3, padding=1)

    def forward(self, code: Tensor) -> Tensor:
        """Decode codes (N, code) to images (N, C, H, W)."""
        x = h0 = self.from_code(code).unflatten(1, self.bottleneck)
        for level, (first, second) in enumerate(zip(self.first, self.second, strict=True)):
            if level > 0 and self.skips:
                x = torch.cat([x, F.interpolate(h0, size=x.shape[-2:], mode="nearest")], dim=1)
            x = second(first(x))
        images: Tensor = self.to_image(x)
        return 2 * elu(images) - 1 if self.unit_elu else images


class ConvELU(nn.Module):
    """A 3x3 convolution and ELU of x, or of x upsampled twofold, with a vanishing residual where channels stay.

    With carry c the output is c * x + (1 - c) * ELU(conv(x)): the identity at 1, a plain layer at 0.
    """

    carry: Tensor

    def __init__(self, n_in: int, n_out: int, spec: Autoencoder, *, upsampling: bool = False) -> None:
        super().__init__()
        self.conv, self.upsampling = _conv(n_in, n_out), upsampling
        self.residual = spec.residual > 0 and n_in == n_out
        self.register_buffer("carry", torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        """(N, n_in, H, W) to (N, n_out, H, W), or with upsampling (N, n_out, 2 H, 2 W)."""
        out = elu(upsample_and_convolve(self.conv, x) if self.upsampling else self.conv(x))
        if not self.residual:
            return out
        return torch.lerp(out, upsample(x) if self.upsampling else x, self.carry.to(out.dtype))


def elu(x: Tensor) -> Tensor:
    """ELU, in place: `x` must not be needed elsewhere.

    In place saves memory, and time too: torch then computes the gradient from the output, as output + 1 where it is
    negative, instead of another exp of the input.
    """
    return F.elu(x, inplace=True)


def upsample(x: Tensor) -> Tensor:
    """Nearest-neighbour upsampling of (N, C, H, W) by 2."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def upsample_and_convolve(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """`conv(upsample(x))` of (N, C, H, W), for a 3x3 convolution with padding 1.

    Computed as one transposed convolution of stride 2 with 4x4 weights: the same values for four ninths of the work.
    """
    # An output pixel's 3x3 window covers only 2x2 different pixels of x, since upsampling repeats each. The weights of
    # equal pixels are added up beforehand: adjacent rows in pairs, then adjacent columns, 3x3 -> 4x3 -> 4x4. Of these,
    # a stride of 2 applies 2x2 to each output pixel, 4 products instead of 9.
    rows = F.pad(conv.weight, (0, 0, 1, 0)) + F.pad(conv.weight, (0, 0, 0, 1))
    sums = F.pad(rows, (1, 0)) + F.pad(rows, (0, 1))
    # A transposed convolution has its weights flipped, and its channels in the order (in, out).
    return transposed_convolution(x, sums.flip(2, 3).transpose(0, 1), conv.bias, stride=2, padding=1)


def set_carry(network: nn.Module, carry: float) -> None:
    """Set the carry, in [0, 1], of every vanishing residual in `network` (paper, section 3.4)."""
    for module in network.modules():
        if isinstance(module, ConvELU) and module.residual:
            module.carry.fill_(carry)


def count_levels(size: Size) -> int:
    """Number of resolutions from the images' to the bottleneck's, each half of the previous one.

    The bottleneck's longer side is 8 for images of a power of two, as in the paper, else up to 15.

    Raises:
        UsageError: a side does not halve so often, or the shorter one falls below 4.
    """
    return count_halvings(size, "autoencoder", longer=8, shorter=4) + 1


def _conv(n_in: int, n_out: int, stride: int = 1) -> Conv2d:
    return Conv2d(n_in, n_out, kernel_size=3, stride=stride, padding=1)


def _scaled_init(module: nn.Module) -> None:
    """Preserve the signal's variance through linear layers and ELUs: images then depend on latents from the start."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        scaled_init(module, gain=1.0 if isinstance(module, nn.Linear) else ELU_GAIN)
