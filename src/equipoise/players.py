"""What the two players are given and give: the only words that networks and objectives share."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn


@dataclass(frozen=True)
class GeneratorOutput:
    """One batch from a generator.

    Attributes:
        images: (N, C, H, W), nominally in [-1, 1]; for discrete images M of each latent, one after the other.
        log_prob: (N,) log-probability of discrete images in nats, where the generator has one.
    """

    images: Tensor
    log_prob: Tensor | None = None


@dataclass(frozen=True)
class DiscriminatorOutput:
    """What a discriminator says of one batch.

    Attributes:
        score: (N,) the objective's scalar: a logit, a critic value or an energy >= 0.
        code: (N, K) what an autoencoder's encoder gives, where there is one.
        logits: (N, T) outputs for auxiliary tasks, where there are any.
    """

    score: Tensor
    code: Tensor | None = None
    logits: Tensor | None = None


class Conditions(NamedTuple):
    """What a generator is given beside the latent, where it was built for it.

    Attributes:
        labels: (N,) int64 class of each image to make.
        masked: (N, C, H, W) in [-1, 1], images to fill in; what is hidden does not matter.
        mask: (N, 1, H, W), 1 where `masked` is hidden, else 0.
        noise: (N, M, C, H, W) in [0, 1), what decides on the values of M discrete images a latent.
    """

    labels: Tensor | None = None
    masked: Tensor | None = None
    mask: Tensor | None = None
    noise: Tensor | None = None


class BuildOptions(NamedTuple):
    """What a run asks of its networks beside images and a score.

    Attributes:
        condition: numbers joined to the latent.
        logits: outputs of the discriminator for auxiliary tasks.
        levels: 0 for images; else the generator gives logits for so many values of each pixel: (N, C, H, W) for two,
            those of the upper one, and (N, C * levels, H, W) for more.
    """

    condition: int = 0
    logits: int = 0
    levels: int = 0


class Players(NamedTuple):
    """A generator z (N, K) -> GeneratorOutput, and a discriminator x (N, C, H, W) -> DiscriminatorOutput."""

    generator: nn.Module
    discriminator: nn.Module
