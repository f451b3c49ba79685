"""Boundary-seeking GANs, for continuous and for discrete images."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from equipoise.objectives.base import Batch, Loss, Needs, Objective, ReducedAux, State, zeros
from equipoise.objectives.gan import GAN

Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True, extra="forbid"))
class BGAN(Objective):
    """Boundary-seeking GAN (Hjelm et al. 2017), arXiv:1702.08431, section 2.3: continuous images.

    The generator seeks the decision boundary D = 1/2, where log D - log(1 - D) = s is 0; computed from the logit s, as
    the log of a sigmoid would overflow. The authors draw latents from U[0, 1], an affine map of U[-1, 1], which the
    first layer absorbs.
    """

    needs = Needs("logit")
    recipe = {"prior": "uniform", "lr": 1e-3}  # noqa: RUF012
    published = {"prior": "uniform", "lr": 1e-4}  # noqa: RUF012

    scale: Annotated[float, Field(gt=0, le=1000)] = 0.5
    """Factor of the squared distance to the boundary in G's loss (authors' code: 1)."""
    log_z_rate: Share = 0.0
    """Update rate of the moving average of log Z = log E exp s (paper: 0, so that log Z stays 0; their code: 0.005)."""

    @classmethod
    def presets(cls) -> Mapping[str, tuple[Objective, Mapping[str, Any]]]:
        """`seed`: the paper's equation; `authors`: their code, with a moving average of log Z."""
        return {"seed": (cls(), {}), "authors": (cls(scale=1.0, log_z_rate=0.005), {})}

    def initial_state(self, steps_per_epoch: int) -> State:
        """Log Z = 0, the boundary at s = 0."""
        return zeros("log_z")

    def discriminator_loss(self, batch: Batch, state: State) -> Loss:
        """L_D = -E log D(x) - E log(1 - D(G(z)))."""
        return GAN().discriminator_loss(batch, state)

    def generator_loss(self, batch: Batch, state: State) -> Loss:
        """L_G = scale E (s(G(z)) - log Z)^2."""
        score = batch.d_fake.score
        loss = self.scale * (score - state["log_z"]).square().mean()
        log_mean_weight = log_mean_exp(batch.all_gather(score.detach()))
        return Loss(loss, {"loss_generator": loss, "log_mean_weight": log_mean_weight})

    def adapt(self, state: State, aux: ReducedAux) -> State:
        """Log Z + rate (log mean exp s - log Z), after each generator step."""
        return update_log_z(state, aux, self.log_z_rate)

    def measures(self, state: State, aux: ReducedAux) -> dict[str, Tensor]:
        """Auxiliary values, and log Z."""
        return {**aux, **state}


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True, extra="forbid"))
class BGANDiscrete(Objective):
    """Boundary-seeking GAN (Hjelm et al. 2017), arXiv:1702.08431, section 2.2 and algorithm 1: discrete images.

    Discrete images have no gradient; their log-probabilities have. Each is weighted by the discriminator's score of the
    image, normalised over the images of one latent.
    """

    recipe = {"prior": "uniform", "lr": 5e-4, "lr_ratio": 5.0}  # noqa: RUF012
    published = {"prior": "uniform", "lr": 1e-4}  # noqa: RUF012

    samples: Annotated[int, Field(ge=1, le=1000)] = 20
    """Number M of images drawn per latent; with 1 the weights are constant and the generator learns nothing."""
    levels: Annotated[int, Field(ge=2, le=256)] = 2
    """Number of values per pixel: 2 for Bernoulli images, more for categorical ones; real images are rounded."""
    log_z_rate: Share = 0.005
    """Update rate of the moving average of log Z, which is only logged."""

    @property
    def needs(self) -> Needs:
        """A logit, and a generator of discrete images."""
        return Needs("logit", spectral=True, levels=self.levels, samples=self.samples)

    def initial_state(self, steps_per_epoch: int) -> State:
        """Log Z = 0."""
        return zeros("log_z")

    def discriminator_loss(self, batch: Batch, state: State) -> Loss:
        """L_D = -E log D(x) - E log(1 - D(x_m))."""
        return GAN().discriminator_loss(batch, state)

    def generator_loss(self, batch: Batch, state: State) -> Loss:
        """L_G = -E_z sum_m w~_m log g(x_m | z), with w~ the softmax over m of s(x_m), without gradient."""
        log_prob = batch.fake.log_prob
        assert log_prob is not None  # noqa: S101
        scores = batch.d_fake.score.detach()
        weights = scores.view(-1, self.samples).softmax(1).to(log_prob.dtype)  # (N, M)
        loss = -(weights * log_prob.view(-1, self.samples)).sum(1).mean()
        loss, all_scores = loss.to(scores.dtype), batch.all_gather(scores)
        aux = {
            "loss_generator": loss,
            "log_mean_weight": log_mean_exp(all_scores),
            "log_weight_variance": all_scores.var(correction=0),
            "effective_sample_size": (1 / weights.square().sum(1)).mean().to(scores.dtype),
        }
        return Loss(loss, aux)

    def adapt(self, state: State, aux: ReducedAux) -> State:
        """Log Z + rate (log mean w - log Z), after each generator step."""
        return update_log_z(state, aux, self.log_z_rate)

    def measures(self, state: State, aux: ReducedAux) -> dict[str, Tensor]:
        """Auxiliary values, and log Z."""
        return {**aux, **state}


def log_mean_exp(scores: Tensor) -> Tensor:
    """Log of the mean of exp(scores), (N,) -> 0-d, without overflow."""
    return torch.logsumexp(scores, 0) - math.log(len(scores))


def update_log_z(state: State, aux: ReducedAux, rate: float) -> State:
    """The moving average of log Z after a step."""
    if "log_mean_weight" not in aux:  # a step of the discriminator alone
        return state
    return {"log_z": state["log_z"] + rate * (aux["log_mean_weight"] - state["log_z"])}
