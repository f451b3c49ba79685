"""Boundary Equilibrium GAN and the known remedies for its collapse."""

import math
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from equipoise.objectives.base import Batch, Half, Loss, Needs, Objective, ReducedAux, Shared, State, zeros
from equipoise.objectives.ebgan import pulling_away

Weight = Annotated[float, Field(ge=0, le=1000)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True))
class BEGAN(Objective):
    """Boundary Equilibrium GAN (Berthelot, Schumm and Metz 2017), arXiv:1703.10717, section 3.4.

    The defaults are ours and hold where the paper's collapse (docs/began-in-practice.md); `paper()` gives theirs.
    """

    convergence: ClassVar[str | None] = "m_global"
    needs: ClassVar[Needs] = Needs("energy", codes=True)

    gamma: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Diversity ratio: the energy of generated images over that of real ones (paper: 0.5)."""
    lambda_k: Annotated[float, Field(gt=0, le=1)] = 0.003
    """Proportional gain of k (paper: 0.001)."""
    relative: bool = True
    """Divide the error that moves k by the energy of real images, so that the gain has no unit (paper: no)."""
    recover: Weight = 0.0
    """Weight in both losses of reading the latent back from the code of G(z) (BEGAN-CS; paper: 0)."""
    match: Weight = 0.1
    """Weight in D's loss of the energy distance between the codes of real images and the latents (paper: 0)."""
    pull: Weight = 0.3
    """Weight in G's loss of the pulling-away term on the codes of generated images (EBGAN; paper: 0)."""

    @classmethod
    def paper(cls) -> "BEGAN":
        """The paper's own objective and values."""
        return cls(gamma=0.5, lambda_k=1e-3, relative=False, recover=0, match=0, pull=0)

    def start(self, steps_per_epoch: int) -> State:
        """No term of the generator's in the discriminator's loss yet: k = 0."""
        return zeros("k")

    def discriminator_loss(self, batch: Batch, state: State) -> Loss:
        """L_D = L(x) - k L(G(z)), and the remedies that are on."""
        real = self.real_loss(Half(batch.d_real, batch.latent, batch.all_gather))
        fake = batch.d_fake.score.mean()
        loss = real.value - state["k"] * fake
        if self.recover:
            loss = loss + self.recover * recovery(batch)
        return Loss.of(loss, **real.aux, energy_fake=fake)

    def generator_loss(self, batch: Batch, state: State) -> Loss:
        """L_G = L(G(z)), and the remedies that are on."""
        loss, apart, aux = self.fake_losses(Half(batch.d_fake, batch.latent, batch.all_gather))
        if apart is not None:
            loss = loss + apart
        if self.recover:
            aux["recovery"] = recovery(batch)
            loss = loss + self.recover * aux["recovery"]
        return Loss.of(loss, **aux)

    def factor(self, state: State) -> Tensor | None:
        """Both losses share L(G(z)) up to -k, unless latents are recovered, which both want alike."""
        return None if self.recover else -state["k"]

    def real_loss(self, half: Half) -> Loss:
        """L(x), and the distance of the codes from the latents, if it is on."""
        loss = real = half.output.score.mean()
        aux = {"energy_real": real}
        if self.match:
            codes = half.all_gather(_codes(half.output.code, half.latent))
            aux["code_distance"] = energy_distance(codes, half.all_gather(half.latent))
            loss = loss + self.match * aux["code_distance"]
        return Loss.of(loss, **aux)

    def fake_losses(self, half: Half) -> Shared:
        """L(G(z)), and for the generator alone pulling away, if it is on."""
        fake = half.output.score.mean()
        aux = {"energy_fake": fake.detach()}
        if not self.pull:
            return Shared(fake, None, aux)
        apart = pulling_away(half.all_gather(_codes(half.output.code, half.latent)))
        return Shared(fake, self.pull * apart, {**aux, "pulling_away": apart.detach()})

    def adapt(self, state: State, aux: ReducedAux) -> State:
        """K + lambda_k (gamma L(x) - L(G(z))), clipped to [0, 1]."""
        error = self.gamma * aux["energy_real"] - aux["energy_fake"]
        if self.relative:
            error = error / aux["energy_real"].clamp_min(1e-12)
        return {"k": (state["k"] + self.lambda_k * error).clamp(0, 1)}

    def measures(self, state: State, aux: ReducedAux) -> dict[str, Tensor]:
        """Energies, k, M_global = L(x) + |gamma L(x) - L(G(z))|, and the balance L(G(z)) / L(x)."""
        real, fake = aux["energy_real"], aux["energy_fake"]
        m_global = real + (self.gamma * real - fake).abs()
        return {**aux, "k": state["k"], "m_global": m_global, "balance": fake / real.clamp_min(1e-12)}


def recovery(batch: Batch) -> Tensor:
    """Mean squared error of reading the latent back from the code of G(z) (BEGAN-CS, arXiv:1808.07258); 0-d."""
    return F.mse_loss(_codes(batch.d_fake.code, batch.latent), batch.latent)


def energy_distance(code: Tensor, latent: Tensor) -> Tensor:
    """How far a batch of codes is from the latents' distribution: 2 E|c - z| - E|c - c'| - E|z - z'|.

    Zero in expectation if and only if both have one distribution (Szekely and Rizzo 2013,
    doi:10.1016/j.jspi.2013.03.018); the use on an autoencoder's codes follows Tolstikhin et al. (2018),
    arXiv:1711.01558. Lengths are divided by sqrt(K), so that the weight does not depend on the latent's size.

    Args:
        code: (N, K), N >= 2.
        latent: (N, K), drawn from the latents' distribution.

    Returns:
        0-d; unbiased, so slightly below 0 at times.
    """
    count, size = latent.shape
    pairs = count * (count - 1)
    across = _lengths(code, latent).mean()
    within = _lengths(code, code).sum() / pairs + _lengths(latent, latent).sum() / pairs
    distance: Tensor = (2 * across - within) / math.sqrt(size)
    return distance


def _lengths(a: Tensor, b: Tensor) -> Tensor:
    """(N, M) distances between the rows of a and b; the gradient at distance 0 is 0, not NaN."""
    squares = (a[:, None] - b[None]).square().sum(2)
    return torch.where(squares > 0, squares.clamp_min(1e-30).sqrt(), torch.zeros_like(squares))


def _codes(code: Tensor | None, latent: Tensor) -> Tensor:
    """The codes in the latents' precision; only an autoencoder has them."""
    assert code is not None  # noqa: S101
    return code.to(latent.dtype)
