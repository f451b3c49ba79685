"""The original GAN."""

import torch.nn.functional as F
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from equipoise.objectives.base import Aux, Batch, Loss, Needs, Objective, State, accuracy


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True, extra="forbid"))
class GAN(Objective):
    """Generative Adversarial Nets (Goodfellow et al. 2014), arXiv:1406.2661, equation 1.

    With D = sigmoid(s): L_D = -E log D(x) - E log(1 - D(G(z))), computed from the logits s. The log of a sigmoid would
    overflow from |s| = 17 on in fp32.
    """

    needs = Needs("logit")
    recipe = {"lr": 5e-4}  # noqa: RUF012

    minimax: bool = False
    """Minimax loss of the generator, E log(1 - D(G(z))), instead of the non-saturating -E log D(G(z))."""

    def discriminator_loss(self, batch: Batch, state: State) -> Loss:
        """L_D = E softplus(-s(x)) + E softplus(s(G(z)))."""
        real, fake = batch.d_real.score, batch.d_fake.score
        loss = F.softplus(-real).mean() + F.softplus(fake).mean()
        return Loss(
            loss,
            {
                "loss_discriminator": loss,
                "accuracy": accuracy(real, fake),
                **mean_scores(batch),
                "probability_real": real.sigmoid().mean(),
                "probability_fake": fake.sigmoid().mean(),
            },
        )

    def generator_loss(self, batch: Batch, state: State) -> Loss:
        """L_G = E softplus(-s(G(z))), or the minimax loss -E softplus(s(G(z)))."""
        fake = batch.d_fake.score
        loss = -F.softplus(fake).mean() if self.minimax else F.softplus(-fake).mean()
        return Loss(loss, {"loss_generator": loss})


def mean_scores(batch: Batch) -> Aux:
    """Mean scores of real and of generated images."""
    return {"score_real": batch.d_real.score.mean(), "score_fake": batch.d_fake.score.mean()}
