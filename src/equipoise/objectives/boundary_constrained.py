"""Boundary-constrained GAN: a GAN whose discriminator is kept flat around real and generated images."""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from equipoise.errors import UsageError
from equipoise.objectives.base import Batch, Loss, Needs, Objective, State
from equipoise.objectives.gan import GAN

Weight = Annotated[float, Field(ge=0, le=1000)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True, extra="forbid"))
class BCGAN(Objective):
    """Boundary-constrained GAN, described in a blog post under BEGAN's name (docs/objectives/bc-gan.md).

    The post uses symbols and signs inconsistently; its terms are reconciled here, with equipoise's own defaults. With
    l_r = -E log D(x), l_f = -E log(1 - D(G(z))) and d the mean distance of a real and a generated image,
    l_f' = l_f - d / distance_scale.
    """

    recipe = {"lr": 1e-3}  # noqa: RUF012

    alpha: Weight = 1.0
    """Weight of l_f' in the discriminator's loss."""
    beta: Weight = 0.5
    """Weight of (l_r - l_f')_+ in the discriminator's loss, from 0 to alpha."""
    mix: Literal["one-sided", "convex"] = "one-sided"
    """Sum of both errors: one-sided, alpha l_f' + beta (l_r - l_f')_+, or convex, alpha l_r + (1 - alpha) l_f."""
    weight_penalty: Weight = 1e-4
    """Weight of half the sum of the discriminator's squared weights and biases."""
    distance_scale: Annotated[float, Field(gt=0, le=1e6)] = 10.0
    """Divisor of the distance d."""
    constraint: Weight = 0.1
    """Weight lambda of the boundary constraint in the discriminator's loss."""
    constraint_g: Weight = 0.1
    """Weight of the boundary constraint in the generator's loss."""
    noise: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Noise U[-noise, noise] added to every value before the constraint is evaluated."""

    def __post_init__(self) -> None:
        if self.mix == "one-sided" and self.beta > self.alpha:
            raise UsageError(f"beta is from 0 to alpha ({self.alpha:g}), not {self.beta:g}: more rewards a bad critic")
        if self.mix == "convex" and self.alpha > 1:
            raise UsageError(f"with the convex mix alpha is from 0 to 1, not {self.alpha:g}")

    @property
    def needs(self) -> Needs:
        """A logit; each constraint takes gradients of single scores, and the generator's in single latents."""
        return Needs("logit", independent=self.constraint + self.constraint_g > 0, independent_g=self.constraint_g > 0)

    def discriminator_loss(self, batch: Batch, state: State) -> Loss:
        """L_D = alpha l_f' + beta (l_r - l_f')_+ + weight_penalty / 2 |theta|^2 + lambda B(x + noise)."""
        loss, active = self._mixed_errors(batch)
        aux = {**GAN().discriminator_loss(batch, state).aux, "mixing_active": active}
        if self.weight_penalty:
            loss = loss + self.weight_penalty / 2 * squared_weights(batch.discriminator).to(loss.dtype)
        if self.constraint:
            images = (batch.real + self._noise(batch, "real")).detach().requires_grad_()
            scores = batch.discriminate(images).score
            aux["boundary_real"], aux["gradient_norm"] = boundary_constraint(scores, images)
            loss = loss + self.constraint * aux["boundary_real"]
        return Loss(loss, {**aux, "loss_discriminator": loss})

    def generator_loss(self, batch: Batch, state: State) -> Loss:
        """L_G = -E log D(G(z)) + lambda_G B(G(z) + noise), with B's gradient in each image's own z."""
        loss = F.softplus(-batch.d_fake.score).mean()
        if not self.constraint_g:
            return Loss(loss, {"loss_generator": loss})
        scores = batch.discriminate(batch.fake.images + self._noise(batch, "fake")).score
        constraint, _ = boundary_constraint(scores, batch.latent)
        loss = loss + self.constraint_g * constraint
        return Loss(loss, {"loss_generator": loss, "boundary_fake": constraint})

    def _mixed_errors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The sum of both errors by `mix`; and 1 if l_r exceeds l_f' over the whole batch, else 0; 0-d each."""
        real, fake = F.softplus(-batch.d_real.score), F.softplus(batch.d_fake.score)  # (N,) each
        distance = (batch.real - batch.fake.images).detach().flatten(1).square().mean(1).sqrt().to(real.dtype)
        reduced = fake - distance / self.distance_scale  # l_f'
        # The hinge is of the whole batch's means: gathered first, so that it opens on all processes alike.
        gap = F.relu(batch.all_gather(real - reduced).mean())
        active = (gap > 0).to(gap.dtype)
        if self.mix == "convex":
            return self.alpha * real.mean() + (1 - self.alpha) * fake.mean(), active
        return self.alpha * reduced.mean() + self.beta * gap, active

    def _noise(self, batch: Batch, which: str) -> Tensor:
        """U[-noise, noise] in the shape of the real images."""
        draws = batch.draws.uniform(f"boundary of {which} images", *batch.real.shape[1:])
        return (2 * draws - 1) * self.noise


def boundary_constraint(scores: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """B = E_i softplus(-s_i) |grad D_i|_max with D = sigmoid(s), and E_i |grad D_i|_max; 0-d, differentiable.

    Args:
        scores: (N,) logits, each a function of its own point alone, so without BatchNorm on the way.
        points: (N, ...) in which the gradient is taken.
    """
    (gradient,) = torch.autograd.grad(scores.sigmoid().sum(), points, create_graph=True)
    norms = gradient.flatten(1).abs().amax(1).to(scores.dtype)
    return (F.softplus(-scores) * norms).mean(), norms.mean()


def squared_weights(network: nn.Module) -> Tensor:
    """Sum of the squares of all weights and biases; 0-d."""
    return torch.stack([weight.square().sum() for weight in network.parameters()]).sum()
