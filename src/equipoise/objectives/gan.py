"""The first GAN, by which all others are named."""

from typing import Any

import torch.nn.functional as F
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor

from equipoise.objectives.base import Aux, Batch, Loss, Needs, Objective, State, accuracy

USUAL: dict[str, Any] = {
    "network": "dcgan",
    "update": "alternating",
    "prior": "normal",
    "batch": 64,
    "lr_ratio": 1.0,
    "warmup": 0,
    "lr_patience": 0,
}
"""What the authors of nearly all of these objectives did: one learning rate, constant, and players that take turns."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True))
class GAN(Objective):
    """Generative Adversarial Nets (Goodfellow et al. 2014), arXiv:1406.2661, equation 1.

    With D = sigmoid(s): L_D = -E log D(x) - E log(1 - D(G(z))), in logits s, so that nothing overflows.
    """

    needs = Needs("logit")
    defaults = {**USUAL, "lr": 2e-4, "beta1": 0.5, "beta2": 0.999}  # noqa: RUF012

    minimax: bool = False
    """L_G = E log(1 - D(G(z))), as the equation has it, and not -E log D(G(z)), which does not saturate."""

    def discriminator_loss(self, batch: Batch, state: State) -> Loss:
        """L_D = E softplus(-s(x)) + E softplus(s(x~))."""
        real, fake = batch.d_real.score, batch.d_fake.score
        loss = F.softplus(-real).mean() + F.softplus(fake).mean()
        return Loss.of(
            loss,
            loss_discriminator=loss,
            accuracy=accuracy(real, fake),
            **mean_scores(batch),
            **mean_probabilities(batch),
        )

    def generator_loss(self, batch: Batch, state: State) -> Loss:
        """L_G = E softplus(-s(x~)), or -E softplus(s(x~)) for the minimax game."""
        fake = batch.d_fake.score
        loss = -F.softplus(fake).mean() if self.minimax else F.softplus(-fake).mean()
        return Loss.of(loss, loss_generator=loss)


def mean_scores(batch: Batch) -> Aux:
    """Mean scores, as the discriminator gives them."""
    return {"score_real": batch.d_real.score.mean().detach(), "score_fake": batch.d_fake.score.mean().detach()}


def mean_probabilities(batch: Batch) -> Aux:
    """Mean probabilities of being real, where scores are logits."""
    return {"probability_real": _probability(batch.d_real.score), "probability_fake": _probability(batch.d_fake.score)}


def _probability(logits: Tensor) -> Tensor:
    return logits.sigmoid().mean().detach()
