"""Inputs and outputs of both players: the interface between networks and objectives."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn


@dataclass(frozen=True)
class GeneratorOutput:
    """One batch from a generator.

    Attributes:
        images: (N, C, H, W), nominally in [-1, 1]; in training a discrete generator returns (N * M, C, H, W), the M
            images of each latent one after the other.
        log_prob: (N,) or (N * M,) log-probabilities of discrete images in nats; None for continuous ones.
    """

    images: Tensor
    log_prob: Tensor | None = None


@dataclass(frozen=True)
class DiscriminatorOutput:
    """A discriminator's output for one batch.

    Attributes:
        score: (N,) logits, critic values, losses or energies >= 0, as the objective needs.
        code: (N, K) codes of an autoencoder's encoder, else None.
        logits: (N, T) logits of the auxiliary tasks, or None without tasks.
    """

    score: Tensor
    code: Tensor | None = None
    logits: Tensor | None = None


class Conditions(NamedTuple):
    """A generator's inputs beside the latent, each only for generators built for it.

    Attributes:
        labels: (N,) int64, classes of the images to generate.
        masked: (N, C, H, W) in [-1, 1], images to inpaint; masked values are ignored.
        mask: (N, 1, H, W), 1 where `masked` is masked, else 0.
        noise: (N, M, C, H, W) in [0, 1), uniform noise from which M discrete images per latent are drawn.
    """

    labels: Tensor | None = None
    masked: Tensor | None = None
    mask: Tensor | None = None
    noise: Tensor | None = None


class Players(NamedTuple):
    """A generator z (N, K) -> GeneratorOutput, and a discriminator x (N, C, H, W) -> DiscriminatorOutput."""

    generator: nn.Module
    discriminator: nn.Module
