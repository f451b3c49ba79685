"""A GAN whose discriminator is kept flat at the boundary, after document 000, which calls it BEGAN."""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from equipoise.errors import UsageError
from equipoise.objectives.base import Batch, Loss, Needs, Objective, State
from equipoise.objectives.gan import GAN, USUAL

Weight = Annotated[float, Field(ge=0, le=1000)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True))
class BCGAN(Objective):
    """Boundary-constrained GAN: an article's own objective, published under BEGAN's name (docs/objectives/bc-gan.md).

    Its symbols clash there and its signs waver; these are its terms, made to fit together, with defaults of our own.
    With l_r = -E log D(x), l_f = -E log(1 - D(G(z))) and d the mean distance of a real and a generated image,
    l_f' = l_f - d / distance_scale.
    """

    needs = Needs("logit", independent=True)
    defaults = {**USUAL, "lr": 2e-4, "beta1": 0.5, "beta2": 0.999}  # noqa: RUF012

    alpha: Weight = 1.0
    """Weight of l_f' in the discriminator's loss."""
    beta: Weight = 0.5
    """Weight of (l_r - l_f')_+ in it; from 0 to alpha."""
    mix: Literal["one-sided", "convex"] = "one-sided"
    """How both errors are mixed: alpha l_f' + beta (l_r - l_f')_+, or alpha l_r + (1 - alpha) l_f."""
    weight_penalty: Weight = 1e-4
    """Weight of half the sum of the discriminator's squared weights and biases."""
    distance_scale: Annotated[float, Field(gt=0, le=1e6)] = 10.0
    """What the distance d is divided by."""
    constraint: Weight = 0.1
    """Weight lambda of the boundary's slope in the discriminator's loss."""
    constraint_g: Weight = 0.1
    """The same in the generator's loss."""
    noise: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Images are moved by U[-noise, noise] in every value before the slope is taken."""

    def __post_init__(self) -> None:
        if self.mix == "one-sided" and self.beta > self.alpha:
            raise UsageError(f"beta is from 0 to alpha ({self.alpha:g}), not {self.beta:g}: more rewards a bad critic")
        if self.mix == "convex" and self.alpha > 1:
            raise UsageError(f"with the convex mix alpha is from 0 to 1, not {self.alpha:g}")

    def discriminator_loss(self, batch: Batch, state: State) -> Loss:
        """L_D = alpha l_f' + beta (l_r - l_f')_+ + weight_penalty / 2 |theta|^2 + lambda B(x + noise)."""
        loss, mixed = self._mixed(batch)
        aux = {**GAN().discriminator_loss(batch, state).aux, "mixing_active": mixed}
        if self.weight_penalty:
            loss = loss + self.weight_penalty / 2 * squared(batch.discriminator).to(loss.dtype)
        if self.constraint:
            images = (batch.real + self._moved(batch, "real")).detach().requires_grad_()
            scores = batch.discriminate(images).score
            aux["boundary_real"], aux["gradient_norm"] = boundary(scores, images)
            loss = loss + self.constraint * aux["boundary_real"]
        return Loss.of(loss, **{**aux, "loss_discriminator": loss})

    def generator_loss(self, batch: Batch, state: State) -> Loss:
        """L_G = -E log D(G(z)) + lambda_G times the boundary's slope in z, at G(z) + noise."""
        loss = F.softplus(-batch.d_fake.score).mean()
        if not self.constraint_g:
            return Loss.of(loss, loss_generator=loss)
        scores = batch.discriminate(batch.fake.images + self._moved(batch, "fake")).score
        slope, _ = boundary(scores, batch.latent)
        loss = loss + self.constraint_g * slope
        return Loss.of(loss, loss_generator=loss, boundary_fake=slope)

    def _mixed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Both errors mixed, and whether l_r exceeds l_f' in the whole batch (1) or not (0)."""
        real, fake = F.softplus(-batch.d_real.score), F.softplus(batch.d_fake.score)  # (N,) each
        distance = (batch.real - batch.fake.images).detach().flatten(1).square().mean(1).sqrt().to(real.dtype)
        nearer = fake - distance / self.distance_scale
        gap = F.relu(batch.all_gather(real - nearer).mean())
        exceeds = (gap > 0).to(gap.dtype)
        if self.mix == "convex":
            return self.alpha * real.mean() + (1 - self.alpha) * fake.mean(), exceeds
        return self.alpha * nearer.mean() + self.beta * gap, exceeds

    def _moved(self, batch: Batch, which: str) -> Tensor:
        """U[-noise, noise], as large as the real images."""
        draws = batch.draws.uniform(f"boundary of {which} images", *batch.real.shape[1:])
        return (2 * draws - 1) * self.noise


def boundary(scores: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """B = E_i softplus(-s_i) |grad D_i|_max, differentiable, and E_i |grad D_i|_max; D = sigmoid(s).

    Args:
        scores: (N,) logits of N points, each a function of its own point alone.
        points: (N, ...), what the gradient is taken in.
    """
    (gradient,) = torch.autograd.grad(scores.sigmoid().sum(), points, create_graph=True)
    steepest = gradient.flatten(1).abs().amax(1).to(scores.dtype)
    return (F.softplus(-scores) * steepest).mean(), steepest.mean()


def squared(network: nn.Module) -> Tensor:
    """Sum of the squares of all weights and biases."""
    return torch.stack([weight.square().sum() for weight in network.parameters()]).sum()
