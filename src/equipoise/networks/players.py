"""Both players as every network has them: around its layers, what comes out."""

import math
from typing import cast

import torch
from torch import Tensor, nn

from equipoise.errors import UsageError
from equipoise.players import BuildOptions, Conditions, DiscriminatorOutput, GeneratorOutput


class Generator(nn.Module):
    """A decoder of latents (N, latent) to images (N, C, H, W)."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, latent: Tensor, conditions: Conditions | None = None) -> GeneratorOutput:
        """Make images (N, C, H, W) of latents (N, latent), which hold all conditions there are."""
        return GeneratorOutput(self.decoder(latent))


class Discriminator(nn.Module):
    """Images (N, C, H, W) to features, and features to a score, and to logits for auxiliary tasks where asked for."""

    def __init__(self, features: nn.Module, score: nn.Module) -> None:
        super().__init__()
        self.features, self.score = features, score
        self.register_module("tasks", None)

    def forward(self, images: Tensor) -> DiscriminatorOutput:
        """ScoreKind images (N, C, H, W) in [-1, 1]: scores (N,), any real numbers."""
        features = self.features(images)
        score = precisely(self.score, features).flatten()
        return DiscriminatorOutput(score, logits=task_logits(self, features))


class EnergyDiscriminator(nn.Module):
    """Encoder and decoder; an image's score is its energy, the mean over its values of |v - D(v)|^eta."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, eta: int) -> None:
        super().__init__()
        self.eta, self.encoder, self.decoder = eta, encoder, decoder
        self.register_module("tasks", None)

    def forward(self, images: Tensor) -> DiscriminatorOutput:
        """ScoreKind images (N, C, H, W) in [-1, 1]: energies (N,) and codes (N, latent)."""
        code = self.encoder(images)
        energy = precise(images - self.decoder(code)).abs().pow(self.eta).flatten(1).mean(1)
        return DiscriminatorOutput(energy, code, task_logits(self, code))

    def reconstruct(self, images: Tensor) -> Tensor:
        """Autoencode `images` (N, C, H, W) in [-1, 1]; same shape, unclamped."""
        reconstruction: Tensor = self.decoder(self.encoder(images))
        return reconstruction


class FullPrecision(nn.Module):
    """A layer in front of whose class this stands computes in float32 (or float64), also under autocast.

    For the last layer before what a person sees: in bf16's 8 bits of mantissa points coincide, and neighbouring shades
    of an image become one.
    """

    def forward(self, x: Tensor) -> Tensor:
        """As the layer does, of features of any precision."""
        with torch.autocast(x.device.type, enabled=False):
            return cast(Tensor, super().forward(precise(x)))


class OutputLinear(FullPrecision, nn.Linear):
    """A linear layer in full precision."""


class OutputConv2d(FullPrecision, nn.Conv2d):
    """A convolution in full precision."""


class OutputConvTranspose2d(FullPrecision, nn.ConvTranspose2d):  # type: ignore[misc]  # nobody asks for its sizes
    """A transposed convolution in full precision."""


def add_tasks(discriminator: nn.Module, features: int, logits: int) -> None:
    """Give a discriminator of so many features a linear head for auxiliary tasks, if there are `logits`.

    Once all other first weights are drawn: they are then the same as without tasks.
    """
    if logits:
        head = nn.Linear(features, logits)
        scaled_init(head, gain=1.0)
        discriminator.tasks = head


def task_logits(discriminator: nn.Module, features: Tensor) -> Tensor | None:
    """The head's logits (N, T) of `features` (N, ...), if there is a head."""
    head = cast(nn.Module | None, discriminator.tasks)
    return None if head is None else precisely(head, features.flatten(1))


def output_channels(channels: int, options: BuildOptions) -> int:
    """Channels that the generator gives for images of `channels`: logits take more, see `BuildOptions.levels`."""
    return channels * options.levels if options.levels > 2 else channels


def precisely(layer: nn.Module, features: Tensor) -> Tensor:
    """`layer` of `features` in full precision, also under autocast: bf16 would leave three digits of a score."""
    with torch.autocast(features.device.type, enabled=False):
        return cast(Tensor, layer(precise(features)))


def precise(values: Tensor) -> Tensor:
    """`values` in float32, or in float64 if they are."""
    return values if values.dtype == torch.float64 else values.float()


LAYERS = nn.Conv2d | nn.ConvTranspose2d | nn.Linear


def normal_init(module: nn.Module) -> None:
    """Draw the weights of one convolution or linear layer from N(0, 0.02), with no bias; leave any other module."""
    if isinstance(module, LAYERS):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def scaled_init(layer: nn.Conv2d | nn.Linear, gain: float) -> None:
    """Draw a layer's weights with standard deviation `gain` / sqrt(inputs), with no bias (He et al. 2015).

    With gain 1 the variance of the signal stays through the layer; an activation's own gain makes up for its loss.
    """
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


Size = tuple[int, int]
"""(height, width) in pixels."""


def halvings(size: Size, network: str, longer: int, shorter: int) -> int:
    """How often `size` is halved on the way to the bottleneck, at least once.

    The bottleneck is `longer` on its longer side where that is `longer` times a power of two; else up to twice that,
    less one.

    Args:
        size: of the images.
        network: its name, for the refusal.
        longer: least longer side of the bottleneck, in pixels.
        shorter: least shorter side of it.

    Raises:
        UsageError: a side does not halve so often, or the shorter one falls below `shorter`.
    """
    times = max(1, int(math.log2(max(*size, longer) / longer)))
    grain = 2**times
    if min(size) < shorter * grain or max(size) < longer * grain or any(side % grain for side in size):
        most = max(longer * grain, max(size) // grain * grain)
        height, width = (
            max(shorter * grain, min(most, round(side / grain) * grain)) if side < max(size) else most for side in size
        )
        near = f"{width}" if width == height else f"{width}x{height}"
        raise UsageError(
            f"the {network} needs a width and height that divide by {grain}, to {longer} or more on the longer side "
            f"and {shorter} or more on the shorter, not {size[1]}x{size[0]}: try --resolution {near}"
        )
    return times


def halved(size: Size, times: int) -> Size:
    """`size` after so many halvings."""
    return size[0] >> times, size[1] >> times
