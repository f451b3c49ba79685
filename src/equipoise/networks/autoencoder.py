"""The BEGAN paper's networks: an autoencoder that judges, and a generator with its decoder's architecture.

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

from equipoise.networks.base import Network, Shape
from equipoise.networks.convolution import Conv2d
from equipoise.networks.players import (
    EnergyDiscriminator,
    Generator,
    OutputConv2d,
    Size,
    add_tasks,
    halved,
    halvings,
    normal_init,
    output_channels,
    scaled_init,
)
from equipoise.players import BuildOptions, Players

ELU_GAIN = 1.246  # 1 / sqrt(E[ELU(x)^2]) for x ~ N(0, 1)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True))
class Autoencoder(Network):
    """The BEGAN paper's networks, for images whose sides halve down to 8 (paper) or a little more; see `_levels`."""

    score_kinds: ClassVar[frozenset[str]] = frozenset({"energy", "loss"})

    width: Annotated[int, Field(ge=1, le=4096)] = 64
    """Channels n of the first level; level i of the encoder has i * n."""
    latent: Annotated[int, Field(ge=1, le=65536)] = 32
    """Length of the latent and of the code (paper: 64); fewer keep small data more diverse."""
    skips: bool = False
    """Show the decoder's first layer, enlarged, to every later level (paper, section 3.4)."""
    residual: Annotated[int, Field(ge=0)] = 0
    """Vanishing residuals: images over which the carry falls from 1 to 0; 0 leaves them out (paper: 256k)."""
    eta: Literal[1, 2] = 2
    """Power of the pixel error in the energy: 2 is the squared error, 1 the paper's choice."""
    init: Literal["scaled", "normal", "default"] = "scaled"
    """First weights: scaled to each layer's inputs (He et al. 2015, arXiv:1502.01852), N(0, 0.02), or PyTorch's own."""

    @classmethod
    def paper(cls) -> "Autoencoder":
        """The paper's own networks: 128 wide, absolute error, weights from N(0, 0.02)."""
        return cls(width=128, latent=64, eta=1, init="normal")

    @property
    def codes(self) -> bool:
        """It gives the encoder's codes."""
        return True

    def build(self, shape: Shape, options: BuildOptions = BuildOptions()) -> Players:  # noqa: B008
        """Build both players for images of `shape` (C, H, W).

        Raises:
            UsageError: the images' sides do not halve down to the bottleneck's.
        """
        channels, size = shape[0], shape[1:]
        generator = Generator(Decoder(self, self.latent + options.condition, output_channels(channels, options), size))
        encoder, decoder = Encoder(self, channels, size), Decoder(self, self.latent, channels, size)
        players = Players(generator, EnergyDiscriminator(encoder, decoder, self.eta))
        for player in players:
            player.apply({"scaled": _scaled_init, "normal": normal_init, "default": lambda _: None}[self.init])
        add_tasks(players.discriminator, self.latent, options.logits)
        return players

    def anneal(self, player: nn.Module, images_seen: int) -> None:
        """Set the carry of vanishing residuals: from 1 at the start to 0 once `residual` images are seen."""
        if self.residual:
            set_carry(player, max(0.0, 1 - images_seen / self.residual))


class Encoder(nn.Module):
    """Images (N, C, H, W) to codes (N, latent): each level but the last widens by n and halves the side."""

    def __init__(self, spec: Autoencoder, channels: int, size: Size) -> None:
        super().__init__()
        n, levels = spec.width, _levels(size)
        height, width = _bottleneck(size)
        self.first = _conv(channels, n)
        self.keep = nn.ModuleList([Conv(i * n, i * n, spec) for i in range(1, levels + 1)])
        self.widen = nn.ModuleList([_conv(i * n, (i + 1) * n, stride=2) for i in range(1, levels)])
        self.last = Conv(levels * n, levels * n, spec)
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
    """Codes (N, code) to images (N, C, H, W): two convolutions a level, nearest upsampling between levels.

    The output has no activation; clamp it to [-1, 1] to show it.
    """

    def __init__(self, spec: Autoencoder, code: int, channels: int, size: Size) -> None:
        super().__init__()
        n, levels = spec.width, _levels(size)
        self.skips, self.smallest = spec.skips, (n, *_bottleneck(size))
        self.from_code = nn.Linear(code, math.prod(self.smallest))
        wide = 2 * n if spec.skips else n
        first = [Conv(wide if level else n, n, spec, doubling=level > 0) for level in range(levels)]
        self.first = nn.ModuleList(first)
        self.second = nn.ModuleList([Conv(n, n, spec) for _ in range(levels)])
        self.to_image = OutputConv2d(n, channels, kernel_size=3, padding=1)

    def forward(self, code: Tensor) -> Tensor:
        """Decode codes (N, code) to images (N, C, H, W)."""
        x = h0 = self.from_code(code).unflatten(1, self.smallest)
        for level, (first, second) in enumerate(zip(self.first, self.second, strict=True)):
            if level > 0 and self.skips:
                x = torch.cat([x, F.interpolate(h0, size=x.shape[-2:], mode="nearest")], dim=1)
            x = second(first(x))
        images: Tensor = self.to_image(x)
        return images


class Conv(nn.Module):
    """A 3x3 convolution and ELU, on x or on x enlarged; where the channels stay and residuals are on, mixed with that.

    With carry c the layer gives c * x + (1 - c) * ELU(conv(x)): the identity at 1, a plain layer at 0.
    """

    carry: Tensor

    def __init__(self, n_in: int, n_out: int, spec: Autoencoder, *, doubling: bool = False) -> None:
        super().__init__()
        self.conv, self.doubling = _conv(n_in, n_out), doubling
        self.residual = spec.residual > 0 and n_in == n_out
        self.register_buffer("carry", torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        """One layer, (N, n_in, H, W) to (N, n_out, H, W), or twice the sides."""
        out = elu(enlarged(self.conv, x) if self.doubling else self.conv(x))
        if not self.residual:
            return out
        return torch.lerp(out, doubled(x) if self.doubling else x, self.carry.to(out.dtype))


def elu(x: Tensor) -> Tensor:
    """ELU in place of `x`, which nothing else may need: its gradient is then read off what it gave, without exp."""
    return F.elu(x, inplace=True)


def doubled(x: Tensor) -> Tensor:
    """`x` (N, C, H, W) with each pixel twice in both directions."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def enlarged(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """`conv`, 3x3 with padding 1, of `x` (N, C, H, W) with its sides doubled.

    As one transposed convolution of stride 2, whose 4x4 weights are sums of those that fall on one pixel of `x`: the
    same numbers for four ninths of the work.
    """
    rows = F.pad(conv.weight, (0, 0, 1, 0)) + F.pad(conv.weight, (0, 0, 0, 1))
    sums = F.pad(rows, (1, 0)) + F.pad(rows, (0, 1))
    return F.conv_transpose2d(x, sums.flip(2, 3).transpose(0, 1), conv.bias, stride=2, padding=1)


def set_carry(network: nn.Module, carry: float) -> None:
    """Set the carry of every vanishing residual in `network` (paper, section 3.4), in [0, 1]."""
    for module in network.modules():
        if isinstance(module, Conv) and module.residual:
            module.carry.fill_(carry)


def _levels(size: Size) -> int:
    """How many sizes there are, from the images' to the bottleneck's: each half of the one before.

    The bottleneck is 8 on its longer side where that is a power of two, as in the paper; else up to 15.

    Raises:
        UsageError: a side does not halve so often, or the shorter one falls below 4.
    """
    return halvings(size, "autoencoder", longer=8, shorter=4) + 1


def _bottleneck(size: Size) -> Size:
    return halved(size, _levels(size) - 1)


def _conv(n_in: int, n_out: int, stride: int = 1) -> Conv2d:
    return Conv2d(n_in, n_out, kernel_size=3, stride=stride, padding=1)


def _scaled_init(module: nn.Module) -> None:
    """Keep the variance of the signal through an ELU, so that latents reach the image from the first step."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        scaled_init(module, gain=1.0 if isinstance(module, nn.Linear) else ELU_GAIN)
