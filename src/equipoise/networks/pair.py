"""Both players as every network has them: around its layers, what comes out."""

from typing import cast

import torch
from torch import Tensor, nn

from equipoise.networks.initial import scaled_init
from equipoise.players import Conditions, DiscriminatorOutput, Extras, GeneratorOutput


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
        """Judge images (N, C, H, W) in [-1, 1]: scores (N,), any real numbers."""
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
        """Judge images (N, C, H, W) in [-1, 1]: energies (N,) and codes (N, latent)."""
        code = self.encoder(images)
        energy = precise(images - self.decoder(code)).abs().pow(self.eta).flatten(1).mean(1)
        return DiscriminatorOutput(energy, code, task_logits(self, code))

    def reconstruct(self, images: Tensor) -> Tensor:
        """Autoencode `images` (N, C, H, W) in [-1, 1]; same shape, unclamped."""
        reconstruction: Tensor = self.decoder(self.encoder(images))
        return reconstruction


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


def output_channels(channels: int, extras: Extras) -> int:
    """Channels that the generator gives for images of `channels`: logits take more, see `Extras.levels`."""
    return channels * extras.levels if extras.levels > 2 else channels


def precisely(layer: nn.Module, features: Tensor) -> Tensor:
    """`layer` of `features` in full precision, also under autocast: bf16 would leave three digits of a score."""
    with torch.autocast(features.device.type, enabled=False):
        return cast(Tensor, layer(precise(features)))


def precise(values: Tensor) -> Tensor:
    """`values` in float32, or in float64 if they are."""
    return values if values.dtype == torch.float64 else values.float()
