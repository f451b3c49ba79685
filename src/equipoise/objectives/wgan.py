"""The Wasserstein GANs, and DRAGAN, which shares their gradient penalty."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from equipoise.objectives.base import Batch, Loss, Needs, Objective, State
from equipoise.objectives.gan import GAN, mean_scores
from equipoise.objectives.penalty import (
    gradient_norms,
    interpolate,
    mean_and_variance,
    row_norms,
    total_deviation,
    unit_norm_penalty,
)

Weight = Annotated[float, Field(ge=0, le=100_000)]


class Wasserstein(Objective):
    """Base of the Wasserstein GANs: the generator's loss."""

    def generator_loss(self, batch: Batch, state: State) -> Loss:
        """L_G = -E c(x~), with x~ = G(z)."""
        loss = -batch.d_fake.score.mean()
        return Loss(loss, {"loss_generator": loss})


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True, extra="forbid"))
class WGAN(Wasserstein):
    """Wasserstein GAN (Arjovsky, Chintala and Bottou 2017), arXiv:1701.07875, algorithm 1.

    The critic's schedule is from the authors' code (martinarjovsky/WassersteinGAN).
    """

    needs = Needs("critic")
    recipe = {"optimizer": "rmsprop", "lr": 5e-4, "separate_latents": True}  # noqa: RUF012
    published = {"optimizer": "rmsprop", "lr": 5e-5, "n_critic": 5, "separate_latents": True}  # noqa: RUF012
    toy_recipe = {"lr": 1e-3, "n_critic": 2}  # noqa: RUF012

    clip: Annotated[float, Field(gt=0, le=100)] = 0.03
    """Bound to which the critic's weights are clipped after each of its steps (paper: 0.01)."""
    long_phases: bool = False
    """100 critic steps per generator step during the first 25 generator steps and at every 500th (authors: yes)."""

    @classmethod
    def presets(cls) -> Mapping[str, tuple[Objective, Mapping[str, Any]]]:
        """`toy`: a larger clip, as 0.01 leaves a perceptron flat."""
        return {"published": (cls(clip=0.01, long_phases=True), {}), "toy": (cls(clip=0.1), {"data": "grid25"})}

    def critic_steps(self, generator_steps: int, n_critic: int, steps_per_epoch: int) -> int:
        """100 in long phases, else `n_critic`."""
        long = self.long_phases and (generator_steps < 25 or generator_steps % 500 == 0)
        return 100 if long else n_critic

    def discriminator_loss(self, batch: Batch, state: State) -> Loss:
        """L_D = E c(x~) - E c(x)."""
        gap = batch.d_real.score.mean() - batch.d_fake.score.mean()
        return Loss(-gap, {"loss_discriminator": -gap, "gap": gap, **mean_scores(batch)})


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True, extra="forbid"))
class WGANGP(Wasserstein):
    """Wasserstein GAN with gradient penalty (Gulrajani et al. 2017), arXiv:1704.00028, equation 3, algorithm 1."""

    needs = Needs("critic", independent=True)
    recipe = {"lr": 5e-4, "beta1": 0.0, "beta2": 0.9, "separate_latents": True}  # noqa: RUF012
    published = {"lr": 1e-4, "beta1": 0.0, "beta2": 0.9, "n_critic": 5, "separate_latents": True}  # noqa: RUF012
    toy_recipe = {"lr": 3e-3, "n_critic": 2}  # noqa: RUF012

    weight: Weight = 10.0
    """Weight lambda of the gradient penalty (paper: 10; its authors' code: 0.1 for points in the plane)."""
    one_sided: bool = False
    """Penalise only gradient norms above 1."""

    @classmethod
    def presets(cls) -> Mapping[str, tuple[Objective, Mapping[str, Any]]]:
        """`toy`: the authors' weight for points in the plane."""
        return {"toy": (cls(weight=0.1), {"data": "grid25"})}

    def discriminator_loss(self, batch: Batch, state: State) -> Loss:
        """L_D = E c(x~) - E c(x) + lambda E (||grad c(x^)||_2 - 1)^2, x^ = u x + (1 - u) x~ with u ~ U[0, 1)."""
        gap = batch.d_real.score.mean() - batch.d_fake.score.mean()
        points = interpolate(batch.real, batch.fake.images, batch.draws.uniform("interpolation", 1, 1, 1))
        norms = self.gradient_norms(batch, points)
        loss = -gap + self.weight * unit_norm_penalty(norms, one_sided=self.one_sided)
        aux = {"loss_discriminator": loss, "gap": gap, "gradient_norm": norms.mean(), **mean_scores(batch)}
        return Loss(loss, aux)

    def gradient_norms(self, batch: Batch, points: Tensor) -> Tensor:
        """||grad c(x^)||_2 at each of `points` (N, C, H, W): (N,)."""
        return gradient_norms(batch.discriminate, points)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True, extra="forbid"))
class WGANFD(WGANGP):
    """WGAN-GP with gradient norms estimated by finite differences, without a double backward pass.

    Equipoise's own, not published (docs/objectives/wgan-fd.md). For noise e ~ N(0, I) a linear critic w'x changes by
    w'e, whose mean square is ||w||^2. The gradient in the critic's weights needs a smooth critic: between points on
    both sides of an activation's kink a difference has a gradient of its own.
    """

    needs = Needs("critic", independent=True, smooth=True)

    probes: Annotated[int, Field(ge=1, le=64)] = 4
    """Finite differences per point; the root of their mean square estimates the gradient norm."""
    reach: Annotated[float, Field(gt=0, le=10)] = 0.1
    """Root mean square length of a finite difference's step, for pixels in [-1, 1]."""

    def gradient_norms(self, batch: Batch, points: Tensor) -> Tensor:
        """sqrt(mean_k d_k^2), d_k = alpha (c(x^) - c(x^ - e_k / alpha)), alpha = sqrt(C H W) / reach."""
        count, *shape = points.shape
        alpha = math.sqrt(math.prod(shape)) / self.reach
        noise = batch.draws.normal("probes", self.probes, *shape)
        shifted = points[:, None] - noise / alpha
        with torch.autocast(points.device.type, enabled=False):  # bf16 would round such small differences away
            scores: Tensor = batch.discriminator(torch.cat([points, shifted.flatten(0, 1)])).score
        changes = alpha * (scores[:count, None] - scores[count:].view(count, self.probes))
        return row_norms(changes / math.sqrt(self.probes))


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True, extra="forbid"))
class DRAGAN(GAN):
    """DRAGAN (Kodali et al. 2017), arXiv:1705.07215, algorithm 1: a GAN with a gradient penalty around real images.

    Perturbed as in the authors' code (kodalinaveen3/DRAGAN): upwards only, by up to `radius` standard deviations.
    """

    needs = Needs("logit", independent=True)

    weight: Weight = 10.0
    """Weight lambda of the gradient penalty."""
    radius: Annotated[float, Field(gt=0, le=10)] = 0.5
    """Largest perturbation, in standard deviations over all values of the batch."""

    @classmethod
    def presets(cls) -> Mapping[str, tuple[Objective, Mapping[str, Any]]]:
        """`toy`: a weight of 0.1, as WGAN-GP's for points in the plane."""
        return {"toy": (cls(weight=0.1), {"data": "grid25"})}

    def discriminator_loss(self, batch: Batch, state: State) -> Loss:
        """The GAN's + lambda E (||grad s(x')||_2 - 1)^2, x' = x + u radius std(x) r; one u an image, one r a value."""
        gan = super().discriminator_loss(batch, state)
        reach = self.radius * total_deviation(batch.all_gather(mean_and_variance(batch.real)))
        r, u = batch.draws.uniform("perturbation", *batch.real.shape[1:]), batch.draws.uniform("reach", 1, 1, 1)
        norms = gradient_norms(batch.discriminate, batch.real + u * reach * r)
        loss = gan.value + self.weight * unit_norm_penalty(norms)
        return Loss(loss, {**gan.aux, "loss_discriminator": loss, "gradient_norm": norms.mean()})
