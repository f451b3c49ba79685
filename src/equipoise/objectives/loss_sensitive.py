"""Loss-sensitive GAN and its generalisation; not the least squares GAN, which is also called LSGAN."""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from equipoise.objectives.base import Batch, Loss, Needs, Objective, State
from equipoise.objectives.penalty import gradient_norms

Weight = Annotated[float, Field(ge=0, le=1000)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True, extra="forbid"))
class LSGAN(Objective):
    """Loss-sensitive GAN and GLS-GAN (Qi 2017), arXiv:1701.06264, equations 6 and 7 and section 6.

    The discriminator is a loss function L: a real image's loss is to lie below that of the paired generated image, by a
    margin proportional to the distance of the two. The defaults are those of the author's code.
    """

    lower_is_real = True  # without the ReLU too

    recipe = {"prior": "uniform", "lr": 4e-4}  # noqa: RUF012
    published = {"prior": "uniform", "lr": 1e-4}  # noqa: RUF012

    a: Weight = 0.0
    """Weight of E L(x) in the discriminator's loss (paper: 1; author's code: 0)."""
    weight: Weight = 1.0
    """Weight lambda of the cost of violated margins."""
    nu: Annotated[float, Field(ge=-1, le=1)] = 0.0
    """Slope of the cost C(a) = max(a, nu a) of satisfied margins, a < 0: 0 is LS-GAN, 1 is WGAN."""
    tau: Annotated[float, Field(ge=0, le=1e6)] = 2.4576
    """Margin per mean absolute difference of two images in [-1, 1]: the author's 2e-4 per value times 3 * 64 * 64."""
    relu: bool = True
    """ReLU on the score, so that a loss is never negative; energies pass through unchanged."""
    penalty: Weight = 0.0
    """Weight of the norm of the score's gradient at real images, taken before the ReLU."""
    clip: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Bound to which the discriminator's weights are clipped after each of its steps; 0 for no clipping."""

    @classmethod
    def presets(cls) -> Mapping[str, tuple[Objective, Mapping[str, Any]]]:
        """The author's settings, GLS-GAN with clipped weights or a gradient penalty, the paper's formula, and toys.

        `seed` is equation 6 with a = 1: L_D = L(x) + (Delta + L(x) - L(G(z)))_+. `toy` goes without the ReLU.
        """
        return {
            "authors": (cls(), {}),
            "gls": (cls(relu=False, nu=0.2, clip=0.08), {"lr": 2e-4}),
            "gp": (cls(relu=False, penalty=10.0), {"lr": 2e-4, "prior": "normal"}),
            "seed": (cls(a=1.0), {}),
            "toy": (cls(relu=False), {"data": "grid25"}),
        }

    @property
    def needs(self) -> Needs:
        """A loss >= 0, or without the ReLU any number; independent scores with the penalty."""
        return Needs("loss" if self.relu else "critic", independent=self.penalty > 0)

    def discriminator_loss(self, batch: Batch, state: State) -> Loss:
        """L_D = a E L(x) + lambda E C(tau |x - G(z)| + L(x) - L(G(z))) + penalty E ||grad s(x)||."""
        real, fake = self._losses(batch.d_real.score), self._losses(batch.d_fake.score)
        margin = self.tau * (batch.real - batch.fake.images).abs().flatten(1).mean(1).detach().to(real.dtype)
        violation = margin + real - fake  # (N,), of each pair; negative where the margin is satisfied
        loss = self.a * real.mean() + self.weight * torch.maximum(violation, self.nu * violation).mean()
        aux = {"loss_real": real.mean(), "loss_fake": fake.mean(), "margin": margin.mean()}
        aux["hinge_active"] = (violation > 0).to(real.dtype).mean()
        if self.penalty:
            aux["gradient_norm"] = gradient_norms(batch.discriminate, batch.real).mean().to(real.dtype)
            loss = loss + self.penalty * aux["gradient_norm"]
        return Loss(loss, {"loss_discriminator": loss, **aux})

    def generator_loss(self, batch: Batch, state: State) -> Loss:
        """L_G = E L(G(z))."""
        loss = self._losses(batch.d_fake.score).mean()
        return Loss(loss, {"loss_generator": loss})

    def _losses(self, scores: Tensor) -> Tensor:
        return F.relu(scores) if self.relu else scores
