"""Boundary-seeking GANs: for images of continuous values, and of discrete ones."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from equipoise.objectives.base import Batch, Loss, Needs, Objective, ReducedAux, State, zeros
from equipoise.objectives.gan import GAN, USUAL

Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True))
class BGAN(Objective):
    """Boundary-seeking GAN (Hjelm et al. 2017), arXiv:1702.08431, section 2.3: images of continuous values.

    The generator seeks the boundary D = 1/2, where log D - log(1 - D) = s is 0; no logarithm of a sigmoid is taken. The
    authors draw latents from U[0, 1], which differs from U[-1, 1] by what the first layer learns anyway.
    """

    needs = Needs("logit")
    defaults = {**USUAL, "prior": "uniform", "lr": 1e-4, "beta1": 0.5, "beta2": 0.999}  # noqa: RUF012

    scale: Annotated[float, Field(gt=0, le=1000)] = 0.5
    """Factor of the squared distance to the boundary in G's loss (the authors' code: 1)."""
    log_z_rate: Share = 0.0
    """Share of the moving mean of log Z = log E exp s that each step renews; 0 leaves log Z at 0, as in the paper's
    equation (the authors' code: 0.005)."""

    @classmethod
    def presets(cls) -> Mapping[str, tuple[Objective, Mapping[str, Any]]]:
        """`seed`: the equation; `authors`: their code, with a moving mean of log Z."""
        return {"seed": (cls(), {}), "authors": (cls(scale=1.0, log_z_rate=0.005), {})}

    def start(self, steps_per_epoch: int) -> State:
        """The boundary at s = 0."""
        return zeros("log_z")

    def discriminator_loss(self, batch: Batch, state: State) -> Loss:
        """L_D = -E log D(x) - E log(1 - D(G(z)))."""
        return GAN().discriminator_loss(batch, state)

    def generator_loss(self, batch: Batch, state: State) -> Loss:
        """L_G = scale E (s(G(z)) - log Z)^2."""
        score = batch.d_fake.score
        loss = self.scale * (score - state["log_z"]).square().mean()
        return Loss.of(loss, loss_generator=loss, log_mean_weight=log_mean_exp(batch.all_gather(score.detach())))

    def adapt(self, state: State, aux: ReducedAux) -> State:
        """Log Z + rate (log mean exp s - log Z), after each step of the generator's."""
        return moved(state, aux, self.log_z_rate)

    def measures(self, state: State, aux: ReducedAux) -> dict[str, Tensor]:
        """The losses' aux, and log Z."""
        return {**aux, **state}


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True))
class BGANDiscrete(Objective):
    """Boundary-seeking GAN (Hjelm et al. 2017), arXiv:1702.08431, section 2.2 and algorithm 1: discrete values.

    Images drawn from a generator's probabilities have no gradient; their log-probabilities have, each weighted by how
    real the discriminator finds the image beside the others of its latent.
    """

    defaults = {**USUAL, "prior": "uniform", "lr": 1e-4, "beta1": 0.5, "beta2": 0.999}  # noqa: RUF012

    samples: Annotated[int, Field(ge=1, le=1000)] = 20
    """Images M drawn for each latent; at 1 the generator learns nothing."""
    levels: Annotated[int, Field(ge=2, le=256)] = 2
    """Values that a pixel can have: 2 makes Bernoulli images, more categorical ones; real images are rounded."""
    log_z_rate: Share = 0.005
    """Share of the moving mean of log Z that each step renews; it is watched only."""

    @property
    def needs(self) -> Needs:
        """A logit, and a generator of discrete images."""
        return Needs("logit", levels=self.levels, samples=self.samples)

    def start(self, steps_per_epoch: int) -> State:
        """Weights that average to 1."""
        return zeros("log_z")

    def discriminator_loss(self, batch: Batch, state: State) -> Loss:
        """L_D = -E log D(x) - E log(1 - D(x_m))."""
        return GAN().discriminator_loss(batch, state)

    def generator_loss(self, batch: Batch, state: State) -> Loss:
        """L_G = -E_z sum_m w~_m log g(x_m | z), where w~ is the softmax over m of s(x_m), without gradient."""
        log_prob = batch.fake.log_prob
        assert log_prob is not None  # noqa: S101
        scores = batch.d_fake.score.detach()
        weights = scores.view(-1, self.samples).softmax(1).to(log_prob.dtype)  # (N, M)
        loss = -(weights * log_prob.view(-1, self.samples)).sum(1).mean()
        everywhere = batch.all_gather(scores)
        return Loss.of(
            loss.to(scores.dtype),
            loss_generator=loss.to(scores.dtype),
            log_mean_weight=log_mean_exp(everywhere),
            log_weight_variance=everywhere.var(correction=0),
            effective_sample_size=(1 / weights.square().sum(1)).mean().to(scores.dtype),
        )

    def adapt(self, state: State, aux: ReducedAux) -> State:
        """Log Z + rate (log mean w - log Z), after each step of the generator's."""
        return moved(state, aux, self.log_z_rate)

    def measures(self, state: State, aux: ReducedAux) -> dict[str, Tensor]:
        """The losses' aux, and log Z."""
        return {**aux, **state}


def log_mean_exp(scores: Tensor) -> Tensor:
    """Log of the mean of exp(scores), (N,) -> 0-d, without overflow."""
    return torch.logsumexp(scores, 0) - math.log(len(scores))


def moved(state: State, aux: ReducedAux, rate: float) -> State:
    """The moving mean of log Z after a step; only the generator's loss sees the weights."""
    if "log_mean_weight" not in aux:
        return state
    return {"log_z": state["log_z"] + rate * (aux["log_mean_weight"] - state["log_z"])}
