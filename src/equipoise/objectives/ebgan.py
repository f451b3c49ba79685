"""Energy-based GAN, with the pulling-away term."""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from equipoise.objectives.base import Batch, Loss, Needs, Objective, ReducedAux, State
from equipoise.objectives.gan import USUAL


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True))
class EBGAN(Objective):
    """Energy-based GAN (Zhao, Mathieu and LeCun 2016), arXiv:1609.03126, equations 1, 2 and 4.

    An energy is what the network makes of the reconstruction error: the autoencoder's is the mean over all values of an
    image, so that a margin does not depend on its size. The paper's margins (10 for MNIST, 20 for CelebA, 80 for LSUN)
    belong to energies on other scales and mean nothing here.
    """

    defaults = {**USUAL, "network": "autoencoder", "lr": 1e-3, "beta1": 0.5, "beta2": 0.999}  # noqa: RUF012

    margin: Annotated[float, Field(gt=0, le=1e6)] = 0.1
    """Energy above which generated images no longer count for the discriminator: a few times what real ones come to."""
    pull: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Weight in G's loss of the pulling-away term on the codes of generated images (paper: 0.1 where it is used)."""

    @property
    def needs(self) -> Needs:
        """Energies, and codes for the pulling-away term."""
        return Needs("energy", codes=self.pull > 0)

    def discriminator_loss(self, batch: Batch, state: State) -> Loss:
        """L_D = E(x) + (m - E(G(z)))_+, the hinge of each image by itself."""
        real, fake = batch.d_real.score, batch.d_fake.score
        loss = real.mean() + hinge(fake, self.margin).mean()
        return Loss.of(loss, loss_discriminator=loss, **energy_statistics(real, fake, self.margin))

    def generator_loss(self, batch: Batch, state: State) -> Loss:
        """L_G = E(G(z)) + pull f_PT(codes); the gradient flows through both terms of the energy."""
        loss = batch.d_fake.score.mean()
        if not self.pull:
            return Loss.of(loss, loss_generator=loss)
        assert batch.d_fake.code is not None  # noqa: S101
        alike = pulling_away(batch.all_gather(batch.d_fake.code.to(loss.dtype)))
        loss = loss + self.pull * alike
        return Loss.of(loss, loss_generator=loss, pulling_away=alike)

    def measures(self, state: State, aux: ReducedAux) -> dict[str, Tensor]:
        """The losses' aux, the margin, and the balance E(G(z)) / E(x), which comes to 1."""
        real, fake = aux["energy_real"], aux["energy_fake"]
        return {**aux, "margin": torch.full_like(real, self.margin), "balance": fake / real.clamp_min(1e-12)}


def hinge(energy: Tensor, margin: float | Tensor) -> Tensor:
    """(margin - energy)_+ of each image, (N,): its gradient is -1 where the energy is below the margin, else 0."""
    return F.relu(margin - energy)


def energy_statistics(real: Tensor, fake: Tensor, margin: float | Tensor) -> dict[str, Tensor]:
    """Mean energies (N,), and the share of generated images below the margin."""
    return {
        "energy_real": real.mean(),
        "energy_fake": fake.mean(),
        "hinge_active": (fake < margin).to(fake.dtype).mean(),
    }


def pulling_away(code: Tensor) -> Tensor:
    """Mean squared cosine between the codes of different samples (section 2.4, equation 4 of the paper).

    Args:
        code: (N, K) with N >= 2.

    Returns:
        0-d in [0, 1]: 0 where all codes are orthogonal, 1 where they all lie on one line.
    """
    count = len(code)
    unit = F.normalize(code, dim=1)
    cosines = (unit @ unit.T).square()
    return (cosines.sum() - cosines.diagonal().sum()) / (count * (count - 1))
