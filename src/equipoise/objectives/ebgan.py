"""Energy-based GAN, with the pulling-away term."""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from equipoise.objectives.base import TINY, Aux, Batch, Loss, Needs, Objective, ReducedAux, State
from equipoise.objectives.penalty import gradient_norms


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True, extra="forbid"))
class EBGAN(Objective):
    """Energy-based GAN (Zhao, Mathieu and LeCun 2016), arXiv:1609.03126, equations 1, 2 and 4.

    The energy is the autoencoder's reconstruction error, a mean over all values of an image, so that the margin does
    not depend on its size. The paper's margins (10 for MNIST, 20 for CelebA, 80 for LSUN) belong to energies on other
    scales and do not apply here.
    """

    recipe = {"lr": 1.5e-3}  # noqa: RUF012
    published = {"lr": 1e-3}  # noqa: RUF012

    margin: Annotated[float, Field(gt=0, le=1e6)] = 0.1
    """Margin m: energy above which a generated image has no gradient in D's loss; a few times that of real images."""
    pull: Annotated[float, Field(ge=0, le=1000)] = 0.1
    """Weight in G's loss of the pulling-away term on the codes of generated images (paper: 0, and 0.1 in EBGAN-PT)."""
    penalty: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Weight in D's loss of half the squared gradients of energies at real and generated images (paper: 0)."""

    @classmethod
    def presets(cls) -> Mapping[str, tuple[Objective, Mapping[str, Any]]]:
        """`published` goes without the pulling-away term; `toy` has the penalty and a margin for it."""
        return {"published": (cls(pull=0.0), {}), "toy": (cls(margin=3.0, pull=0.0, penalty=0.1), {"data": "grid25"})}

    @property
    def needs(self) -> Needs:
        """Energies, codes for the pulling-away term, and independent energies for the penalty."""
        return Needs("energy", codes=self.pull > 0, independent=self.penalty > 0)

    def discriminator_loss(self, batch: Batch, state: State) -> Loss:
        """L_D = E(x) + (m - E(G(z)))_+ + penalty / 2 (||grad E(x)||^2 + ||grad E(G(z))||^2).

        The penalty is R1 and R2 of Mescheder et al. (2018), arXiv:1801.04406, equations 8 and 9, of the energy.
        """
        real, fake = batch.d_real.score, batch.d_fake.score
        aux = energy_statistics(real, fake, self.margin)
        loss = real.mean() + F.relu(self.margin - fake).mean()  # the hinge of each image, not of their mean
        if self.penalty:
            norms = gradient_norms(batch.discriminate, torch.cat([batch.real, batch.fake.images])).to(loss.dtype)
            loss = loss + self.penalty * norms.square().mean()  # the half of both means' sum
            aux["gradient_norm"] = norms.mean()
        return Loss(loss, {"loss_discriminator": loss, **aux})

    def generator_loss(self, batch: Batch, state: State) -> Loss:
        """L_G = E(G(z)) + pull f_PT(codes); the gradient flows through input and reconstruction."""
        loss = batch.d_fake.score.mean()
        if not self.pull:
            return Loss(loss, {"loss_generator": loss})
        assert batch.d_fake.code is not None  # noqa: S101
        pull = pulling_away(batch.all_gather(batch.d_fake.code.to(loss.dtype)))
        loss = loss + self.pull * pull
        return Loss(loss, {"loss_generator": loss, "pulling_away": pull})

    def measures(self, state: State, aux: ReducedAux) -> dict[str, Tensor]:
        """Auxiliary values, the margin, and the balance E(G(z)) / E(x), which approaches 1."""
        real, fake = aux["energy_real"], aux["energy_fake"]
        return {**aux, "margin": torch.full_like(real, self.margin), "balance": fake / real.clamp_min(TINY)}


def energy_statistics(real: Tensor, fake: Tensor, margin: float | Tensor) -> Aux:
    """Means of the energies (N,), and the share of generated images below the margin."""
    return {
        "energy_real": real.mean(),
        "energy_fake": fake.mean(),
        "hinge_active": (fake < margin).to(fake.dtype).mean(),
    }


def pulling_away(code: Tensor) -> Tensor:
    """Pulling-away term: mean squared cosine between the codes of different images (arXiv:1609.03126, equation 4).

    Args:
        code: (N, K).

    Returns:
        0-d in [0, 1]: 0 if all codes are orthogonal, or there is only one, 1 if all are collinear.
    """
    count = len(code)
    unit = F.normalize(code, dim=1)
    cosines = (unit @ unit.T).square()
    return (cosines.sum() - cosines.diagonal().sum()) / max(1, count * (count - 1))  # the diagonal is 1 for any codes
