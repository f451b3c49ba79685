"""Boundary Equilibrium GAN and the known remedies for its collapse."""

import math
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from equipoise.errors import UsageError
from equipoise.objectives.base import (
    TINY,
    Batch,
    FakeTerms,
    HalfBatch,
    Loss,
    Needs,
    Objective,
    ReducedAux,
    State,
    zeros,
)
from equipoise.objectives.ebgan import pulling_away

Weight = Annotated[float, Field(ge=0, le=1000)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True, extra="forbid"))
class BEGAN(Objective):
    """Boundary Equilibrium GAN (Berthelot, Schumm and Metz 2017), arXiv:1703.10717, section 3.4.

    The defaults are equipoise's own (docs/began-in-practice.md), `paper()` the paper's, and `remedies()` those that
    keep the paper's networks diverse where they are small.
    """

    convergence_measure: ClassVar[str | None] = "m_global"
    recipe = {"lr": 1.5e-3, "warmup": 2_000}  # noqa: RUF012
    network_recipe = {"width_ratio": 2.0}  # noqa: RUF012
    toy_recipe = {  # noqa: RUF012
        "update": "simultaneous",
        "lr_ratio": 2.0,
        "warmup": 2_000,
        "lr_patience": 10,
        "prior": "uniform",
    }

    gamma: Annotated[float, Field(gt=0, le=2)] = 1.0
    """Diversity ratio: the boundary gamma L(x) for the energy of generated images (paper: 0.5; photographs and colour
    drawings: 0.85). Above 1, for an image's k alone, it is a margin that follows the data."""
    boundary: Literal["image", "batch"] = "image"
    """What has a k: each generated image, 1 below the boundary and 0 above, or the batch, moved by a gain (paper)."""
    lambda_k: Annotated[float, Field(gt=0, le=1)] = 0.01
    """Proportional gain of the batch's k (paper: 0.001)."""
    relative: bool = True
    """Divide the error that moves the batch's k by L(x), so that the gain has no unit (paper: no)."""
    clip_k: bool = True
    """Keep the batch's k within 0 and 1, as the paper does; compare_gan, the code of "Are GANs Created Equal?", does
    not."""
    recover: Weight = 0.0
    """Weight in both losses of the latent's reconstruction error from the code of G(z) (BEGAN-CS; paper: 0)."""
    match: Weight = 0.0
    """Weight in D's loss of the energy distance between the codes of real images and the latents (paper: 0)."""
    pull: Weight = 0.0
    """Weight in G's loss of the pulling-away term on the codes of generated images (EBGAN; paper: 0)."""

    def __post_init__(self) -> None:
        if self.boundary == "batch" and self.gamma > 1:
            raise UsageError(f"--gamma is at most 1 with --boundary batch, not {self.gamma:g}: its k would stay at 1")
        if self.boundary == "image" and (self.lambda_k, self.relative) != (BEGAN.lambda_k, BEGAN.relative):
            raise UsageError("--lambda-k and --no-relative say how the batch's k moves: use --boundary batch with them")
        if self.boundary == "image" and not self.clip_k:
            raise UsageError("--no-clip-k is of the batch's k, and an image's is 0 or 1: use --boundary batch with it")

    @classmethod
    def paper(cls) -> "BEGAN":
        """The paper's hyper-parameters, without any remedy."""
        return cls(gamma=0.5, boundary="batch", lambda_k=1e-3, relative=False)

    @classmethod
    def remedies(cls) -> "BEGAN":
        """Against the collapse of small networks as the paper has them: code matching beside pulling away."""
        return cls(boundary="batch", lambda_k=3e-3, match=0.1, pull=0.3)

    @property
    def needs(self) -> Needs:
        """An energy, and codes where a remedy is of them; those that are compared with latents are as long as they."""
        compared = self.match > 0 or self.recover > 0
        return Needs("energy", codes=compared or self.pull > 0, latent_codes=compared)

    def initial_state(self, steps_per_epoch: int) -> State:
        """The equilibrium term k = 0: the discriminator first learns to reconstruct real images."""
        return zeros("k")

    def discriminator_loss(self, batch: Batch, state: State) -> Loss:
        """L_D = L(x) - k L(G(z)), and the remedies with a weight.

        With a k for each image that is L(x) + E (gamma L(x) - L(G(z)))_+ but for a constant: images below the boundary
        are pushed up with their full weight, and those above it are left alone. One k for all pushes each of them, and
        by less the closer the means are, however much the images differ.
        """
        real = self.real_terms(HalfBatch(batch.d_real, batch.latent, batch.all_gather))
        fake, aux = batch.d_fake.score, {**real.aux, "energy_fake": batch.d_fake.score.mean()}
        if self.boundary == "image":
            below = self.gamma * batch.all_gather(batch.d_real.score.detach()).mean() - fake
            loss = real.value + F.relu(below).mean()
            aux["k"] = (below > 0).to(below.dtype).mean()
        else:
            loss = real.value - state["k"] * fake.mean()
        if self.recover:
            loss = loss + self.recover * latent_recovery(batch)
        return Loss(loss, aux)

    def generator_loss(self, batch: Batch, state: State) -> Loss:
        """L_G = L(G(z)), and the remedies with a weight."""
        loss, generator, aux = self.fake_terms(HalfBatch(batch.d_fake, batch.latent, batch.all_gather))
        if generator is not None:
            loss = loss + generator
        if self.recover:
            aux["recovery"] = latent_recovery(batch)
            loss = loss + self.recover * aux["recovery"]
        return Loss(loss, aux)

    def shared_term_coefficient(self, state: State) -> Tensor | None:
        """-k, as both losses share L(G(z)); None with a k for each image, or with latent recovery in both losses."""
        return None if self.recover or self.boundary == "image" else -state["k"]

    def real_terms(self, half: HalfBatch) -> Loss:
        """L(x), and the weighted distance of its codes from the latents."""
        loss = energy = half.output.score.mean()
        aux = {"energy_real": energy}
        if self.match:
            codes = half.all_gather(_codes(half.output.code, half.latent))
            aux["code_distance"] = energy_distance(codes, half.all_gather(half.latent))
            loss = loss + self.match * aux["code_distance"]
        return Loss(loss, aux)

    def fake_terms(self, half: HalfBatch) -> FakeTerms:
        """L(G(z)), and for the generator alone the weighted pulling-away term."""
        energy = half.output.score.mean()
        aux = {"energy_fake": energy.detach()}
        if not self.pull:
            return FakeTerms(energy, None, aux)
        pull = pulling_away(half.all_gather(_codes(half.output.code, half.latent)))
        return FakeTerms(energy, self.pull * pull, {**aux, "pulling_away": pull.detach()})

    def adapt(self, state: State, aux: ReducedAux) -> State:
        """K + lambda_k (gamma L(x) - L(G(z))), clipped to [0, 1] with `clip_k`; or the mean of the images' k."""
        if self.boundary == "image":
            return {"k": aux["k"]}
        error = self.gamma * aux["energy_real"] - aux["energy_fake"]
        if self.relative:
            error = error / aux["energy_real"].clamp_min(TINY)
        k = state["k"] + self.lambda_k * error
        return {"k": k.clamp(0, 1) if self.clip_k else k}

    def measures(self, state: State, aux: ReducedAux) -> dict[str, Tensor]:
        """Energies, k, M_global = L(x) + |gamma L(x) - L(G(z))|, and the balance L(G(z)) / L(x)."""
        real, fake = aux["energy_real"], aux["energy_fake"]
        m_global = real + (self.gamma * real - fake).abs()
        return {**aux, "k": state["k"], "m_global": m_global, "balance": fake / real.clamp_min(TINY)}


def latent_recovery(batch: Batch) -> Tensor:
    """Mean squared error of the code of G(z) as an estimate of z (BEGAN-CS, arXiv:1808.07258); 0-d."""
    return F.mse_loss(_codes(batch.d_fake.code, batch.latent), batch.latent)


def energy_distance(code: Tensor, latent: Tensor) -> Tensor:
    """Energy distance between the distributions of codes and latents: 2 E|c - z| - E|c - c'| - E|z - z'|.

    Zero in expectation if and only if both distributions are equal (Szekely and Rizzo 2013,
    doi:10.1016/j.jspi.2013.03.018); the use on an autoencoder's codes follows Tolstikhin et al. (2018),
    arXiv:1711.01558. Divided by sqrt(K), so that its weight does not depend on the latent's size.

    Args:
        code: (N, K).
        latent: (N, K), samples of the prior.

    Returns:
        0-d; unbiased, so slightly below 0 at times; 0 for a single code, which tells nothing of a distribution.
    """
    count, size = latent.shape
    if count == 1:
        return code.new_zeros(())
    pairs = count * (count - 1)  # an image's distance from itself is left out, which makes the estimate unbiased
    between = _distances(code, latent).mean()
    within = _distances(code, code).sum() / pairs + _distances(latent, latent).sum() / pairs
    distance: Tensor = (2 * between - within) / math.sqrt(size)
    return distance


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """(N, M) Euclidean distances between the rows of a and b."""
    squares = (a[:, None] - b[None]).square().sum(2)
    # At distance 0 the root's gradient is infinite, and where() multiplies it by 0, which is NaN: hence the clamp too.
    return torch.where(squares > 0, squares.clamp_min(1e-30).sqrt(), torch.zeros_like(squares))


def _codes(code: Tensor | None, latent: Tensor) -> Tensor:
    """The discriminator's codes in the precision of the latents, also under bf16 autocast."""
    assert code is not None  # noqa: S101
    return code.to(latent.dtype)
