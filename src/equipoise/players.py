"""What the two players give: the only words that networks and objectives share."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn


@dataclass(frozen=True)
class GeneratorOutput:
    """One batch from a generator.

    Attributes:
        images: (N, C, H, W), nominally in [-1, 1].
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


class Players(NamedTuple):
    """A generator z (N, K) -> GeneratorOutput, and a discriminator x (N, C, H, W) -> DiscriminatorOutput."""

    generator: nn.Module
    discriminator: nn.Module
