"""Building blocks of both players: their outer modules, output layers in full precision, initial weights, and sizes."""

import math
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from equipoise.errors import UsageError
from equipoise.networks.base import BuildOptions
from equipoise.networks.outputs import OutputLinear, to_full_precision
from equipoise.networks.wavelet import HaarTransform
from equipoise.players import Conditions, DiscriminatorOutput, GeneratorOutput


class Generator(nn.Module):
    """A generator without conditions: a decoder from latents (N, latent) to images (N, C, H, W)."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, latent: Tensor, conditions: Conditions | None = None) -> GeneratorOutput:
        """Generate images (N, C, H, W) from latents (N, latent); `conditions` are ignored."""
        return GeneratorOutput(self.decoder(latent))


class Discriminator(nn.Module):
    """Features of images, and layers from features to scores and to the logits of auxiliary tasks."""

    def __init__(self, features: nn.Module, score: nn.Module) -> None:
        super().__init__()
        self.features, self.score = features, score
        self.register_module("tasks", None)

    def forward(self, images: Tensor) -> DiscriminatorOutput:
        """Score images (N, C, H, W) in [-1, 1]: any real numbers (N,)."""
        features = self.features(images)
        return DiscriminatorOutput(self.score(features).flatten(), logits=task_logits(self, features))


class EnergyDiscriminator(nn.Module):
    """An autoencoder; an image's score is its energy, the mean over its pixels of `energy_map`.

    Args:
        encoder: images (N, C, H, W) to codes.
        decoder: codes to images.
        eta: power of the errors.
        edges: weight of errors of differences between neighbouring pixels.
        wavelet: takes coefficients of the errors, whose powers then stand for the pixels' own.
    """

    wavelet: HaarTransform | None

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        eta: int,
        edges: float = 0.0,
        wavelet: HaarTransform | None = None,
    ) -> None:
        super().__init__()
        self.eta, self.edges, self.encoder, self.decoder = eta, edges, encoder, decoder
        self.register_module("wavelet", wavelet)
        self.register_module("tasks", None)

    def forward(self, images: Tensor) -> DiscriminatorOutput:
        """Energies (N,) and codes (N, latent) of images (N, C, H, W) in [-1, 1]."""
        energy, code, _ = self.autoencode(images)
        return DiscriminatorOutput(energy, code, task_logits(self, code))

    def autoencode(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Energies (N,), codes (N, latent) and reconstructions of images (N, C, H, W) in [-1, 1], not clamped."""
        code = self.encoder(images)
        reconstruction = self.decoder(code)
        # Energies in fp32, also under autocast: bf16 would leave three digits of what BEGAN's k is moved by.
        return self.energy(to_full_precision(images - reconstruction)), code, reconstruction

    def energy(self, errors: Tensor) -> Tensor:
        """Energies (N,) of errors (N, C, H, W): the means of `energy_map`, which training need not draw."""
        parts = errors if self.wavelet is None else self.wavelet(errors)
        energies = self._power(parts).mean(tuple(range(1, parts.dim())))
        if not self.edges:
            return energies
        return energies + self.edges * sum(each.mean((1, 2, 3)) for each in self._outlines(errors))

    def energy_map(self, errors: Tensor) -> Tensor:
        """Energy of each pixel (N, H, W), whose mean is the image's, of errors e = v - D(v) (N, C, H, W).

        The mean over channels of |e|^eta; with a wavelet, of |c|^eta for the coefficients c that the pixel has a part
        in. With `edges`, and that times |e - e'|^eta for the next pixel in the row and in the column each, after
        Mathieu, Couprie and LeCun (2016), arXiv:1511.05440, section 3.2: errors of outlines then count for more than
        errors of shades. As there are fewer such pairs than pixels, each counts for more.
        """
        height, width = errors.shape[2:]
        if self.wavelet is None:
            energies = self._power(errors).mean(1)
        else:
            energies = self.wavelet.spread(self._power(self.wavelet(errors)), height, width)
        if not self.edges:
            return energies
        across, down = (each.mean(1) for each in self._outlines(errors))
        across, down = F.pad(across, (0, 1)), F.pad(down, (0, 0, 0, 1))
        return energies + self.edges * (width / (width - 1) * across + height / (height - 1) * down)

    def _power(self, values: Tensor) -> Tensor:
        return values.abs() if self.eta == 1 else values.square()

    def _outlines(self, errors: Tensor) -> list[Tensor]:
        """|e - e'|^eta of neighbours in rows, and in columns."""
        return [self._power(errors.diff(dim=dim)) for dim in (3, 2)]

    def reconstruct(self, images: Tensor) -> Tensor:
        """Reconstruct images (N, C, H, W) in [-1, 1]; same shape, not clamped."""
        reconstruction: Tensor = self.decoder(self.encoder(images))
        return reconstruction


def add_tasks(discriminator: nn.Module, features: int, logits: int) -> None:
    """Add a linear head for auxiliary tasks to a discriminator with so many features, if there are `logits`.

    To be called after all other weights are initialised, which are then the same as without tasks.
    """
    if logits:
        head = OutputLinear(features, logits)
        scaled_init(head, gain=1.0)
        discriminator.tasks = head


def task_logits(discriminator: nn.Module, features: Tensor) -> Tensor | None:
    """Logits (N, T) of the auxiliary tasks from features (N, ...), or None without a head."""
    head = cast(nn.Module | None, discriminator.tasks)
    return None if head is None else head(features.flatten(1))


def output_channels(channels: int, options: BuildOptions) -> int:
    """Channels of the generator's output for images of `channels`: more for logits of three or more levels."""
    return channels * options.levels if options.levels > 2 else channels


# Initial weights

LAYERS = nn.Conv2d | nn.ConvTranspose2d | nn.Linear


def normal_init(module: nn.Module) -> None:
    """Initialise a convolution or linear layer with weights from N(0, 0.02) and no bias; skip any other module."""
    if isinstance(module, LAYERS):
        draw_normal(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def scaled_init(layer: nn.Conv2d | nn.Linear, gain: float) -> None:
    """Initialise a layer with weights of standard deviation `gain` / sqrt(inputs) and no bias (He et al. 2015).

    With a gain of 1 the layer preserves the signal's variance; an activation's gain compensates for its loss.
    """
    draw_normal(layer.weight, 0.0, gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def draw_normal(weights: Tensor, mean: float, std: float) -> None:
    """Draw `weights` from N(mean, std); none on torch's `meta` device, where tensors have only shapes.

    There torch would import its compiler to draw nothing, which takes as long as importing torch.
    """
    if not weights.is_meta:
        nn.init.normal_(weights, mean, std)


# Sizes

Size = tuple[int, int]
"""(height, width) in pixels."""


def count_halvings(size: Size, network: str, longer: int, shorter: int) -> int:
    """Number of halvings, at least one, from the images' size to the bottleneck's.

    The bottleneck's longer side is `longer` for images of `longer` times a power of two, else up to 2 * longer - 1.

    Args:
        size: of the images.
        network: name of the network, for the error.
        longer: minimum of the bottleneck's longer side, in pixels.
        shorter: minimum of the bottleneck's shorter side, in pixels.

    Raises:
        UsageError: a side does not halve so often, or the shorter one falls below `shorter`.
    """
    count = max(1, int(math.log2(max(*size, longer) / longer)))
    divisor = 2**count
    if min(size) < shorter * divisor or max(size) < longer * divisor or any(side % divisor for side in size):
        # Suggest the nearest size that works: the longer side rounded down, so as not to enlarge images, the other
        # to the nearest multiple between the minimum and the longer side.
        limit = max(longer * divisor, max(size) // divisor * divisor)
        height, width = (
            limit if side == max(size) else max(shorter * divisor, min(limit, round(side / divisor) * divisor))
            for side in size
        )
        near = f"{width}" if width == height else f"{width}x{height}"
        raise UsageError(
            f"the {network} needs a width and height that divide by {divisor}, to {longer} or more on the longer side "
            f"and {shorter} or more on the shorter, not {size[1]}x{size[0]}: try --resolution {near}"
        )
    return count


def halve(size: Size, times: int) -> Size:
    """`size` after so many halvings."""
    return size[0] >> times, size[1] >> times
