"""Critics in place of classifiers: the Wasserstein GANs, and DRAGAN, which shares their gradient penalty."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from equipoise.objectives.base import Batch, Loss, Needs, Objective, State
from equipoise.objectives.gan import GAN, USUAL, mean_scores
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
    """What all of them share: c(x) - c(x~) is the critic's gain and the generator's loss."""

    def generator_loss(self, batch: Batch, state: State) -> Loss:
        """L_G = -E c(x~)."""
        loss = -batch.d_fake.score.mean()
        return Loss.of(loss, loss_generator=loss)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True))
class WGAN(Wasserstein):
    """Wasserstein GAN (Arjovsky, Chintala and Bottou 2017), arXiv:1701.07875, algorithm 1.

    The critic's schedule is that of the authors' code (martinarjovsky/WassersteinGAN).
    """

    needs = Needs("critic")
    defaults = {**USUAL, "optimizer": "rmsprop", "lr": 5e-5, "n_critic": 5, "separate_latents": True}  # noqa: RUF012

    toy_defaults = {**Objective.toy_defaults, "lr": 1e-3, "n_critic": 2}  # noqa: RUF012

    clip: Annotated[float, Field(gt=0, le=100)] = 0.01
    """All weights of the critic are clipped to [-clip, clip] after each of its steps."""
    long_phases: bool = True
    """100 steps of the critic for one of the generator's, for its first 25 steps and at every 500th."""

    @classmethod
    def presets(cls) -> Mapping[str, tuple[Objective, Mapping[str, Any]]]:
        """`toy`: for perceptrons, whose critic 0.01 leaves flat, and for short runs."""
        return {"toy": (cls(clip=0.1, long_phases=False), {"data": "grid25"})}

    def critic_steps(self, generator_steps: int, n_critic: int, steps_per_epoch: int) -> int:
        """100 or `n_critic`."""
        long = self.long_phases and (generator_steps < 25 or generator_steps % 500 == 0)
        return 100 if long else n_critic

    def discriminator_loss(self, batch: Batch, state: State) -> Loss:
        """L_D = E c(x~) - E c(x)."""
        gap = batch.d_real.score.mean() - batch.d_fake.score.mean()
        return Loss.of(-gap, loss_discriminator=-gap, gap=gap, **mean_scores(batch))


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True))
class WGANGP(Wasserstein):
    """Wasserstein GAN with gradient penalty (Gulrajani et al. 2017), arXiv:1704.00028, equation 3, algorithm 1."""

    needs = Needs("critic", independent=True)
    defaults = {  # noqa: RUF012
        **USUAL,
        "lr": 1e-4,
        "beta1": 0.0,
        "beta2": 0.9,
        "n_critic": 5,
        "separate_latents": True,
    }
    toy_defaults = {**Objective.toy_defaults, "lr": 3e-3, "n_critic": 2}  # noqa: RUF012

    weight: Weight = 10.0
    """Weight of the penalty, the paper's lambda; the authors take 0.1 on 2-D toys."""
    one_sided: bool = False
    """Penalise only slopes above 1."""

    @classmethod
    def presets(cls) -> Mapping[str, tuple[Objective, Mapping[str, Any]]]:
        """`toy`: the authors' weight for points in the plane, on 25 Gaussians."""
        return {"toy": (cls(weight=0.1), {"data": "grid25"})}

    def discriminator_loss(self, batch: Batch, state: State) -> Loss:
        """L_D = E c(x~) - E c(x) + lambda E (||grad c(x^)||_2 - 1)^2, x^ = u x + (1 - u) x~ with u ~ U[0, 1)."""
        gap = batch.d_real.score.mean() - batch.d_fake.score.mean()
        points = interpolate(batch.real, batch.fake.images, batch.draws.uniform("interpolation", 1, 1, 1))
        slope = self.gradient_norms(batch, points)
        loss = -gap + self.weight * unit_norm_penalty(slope, one_sided=self.one_sided)
        return Loss.of(loss, loss_discriminator=loss, gap=gap, gradient_norm=slope.mean(), **mean_scores(batch))

    def gradient_norms(self, batch: Batch, points: Tensor) -> Tensor:
        """||grad c(x^)||_2 of each of `points` (N, C, H, W): (N,)."""
        return gradient_norms(batch.discriminate, points)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True))
class WGANFD(WGANGP):
    """WGAN-GP with slopes read off finite differences, so that no double backward pass is needed.

    Ours, after a remark on noise-perturbed critics that nobody had carried out (docs/objectives/wgan-fd.md). For
    noise e ~ N(0, I) the change of a linear critic w'x is w'e, whose mean square is ||w||^2.
    """

    probes: Annotated[int, Field(ge=1, le=64)] = 4
    """Differences taken at each point; a slope is the root of their mean square."""
    reach: Annotated[float, Field(gt=0, le=10)] = 0.1
    """Root mean square length of a difference's step, in the images' units, where pixels are in [-1, 1]."""

    def gradient_norms(self, batch: Batch, points: Tensor) -> Tensor:
        """sqrt(mean_k d_k^2), d_k = alpha (c(x^) - c(x^ - e_k / alpha)), alpha = sqrt(C H W) / reach.

        In full precision, since bf16 would round such differences away.
        """
        count, *shape = points.shape
        alpha = math.sqrt(math.prod(shape)) / self.reach
        noise = batch.draws.normal("probes", self.probes, *shape)
        shifted = points[:, None] - noise / alpha
        scores: Tensor = batch.discriminator(torch.cat([points, shifted.flatten(0, 1)])).score
        changes = alpha * (scores[:count, None] - scores[count:].view(count, self.probes))
        return row_norms(changes / math.sqrt(self.probes))


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True))
class DRAGAN(GAN):
    """DRAGAN (Kodali et al. 2017), arXiv:1705.07215, algorithm 1: a GAN whose logits have slope 1 around real images.

    The images are perturbed as in the authors' code (kodalinaveen3/DRAGAN).
    """

    needs = Needs("logit", independent=True)

    weight: Weight = 10.0
    """Weight of the penalty, the paper's lambda."""
    radius: Annotated[float, Field(gt=0, le=10)] = 0.5
    """How far the perturbation reaches, in standard deviations of all of the batch's values."""

    @classmethod
    def presets(cls) -> Mapping[str, tuple[Objective, Mapping[str, Any]]]:
        """`toy`: lambda 0.1, for points in the plane."""
        return {"toy": (cls(weight=0.1), {"data": "grid25"})}

    def discriminator_loss(self, batch: Batch, state: State) -> Loss:
        """The GAN's + lambda E (||grad s(x')||_2 - 1)^2, x' = x + u radius std(x) r; u of an image, r of a value."""
        plain = super().discriminator_loss(batch, state)
        reach = self.radius * total_deviation(batch.all_gather(mean_and_variance(batch.real)))
        noise = batch.draws.uniform("perturbation", *batch.real.shape[1:])
        slope = gradient_norms(batch.discriminate, batch.real + batch.draws.uniform("reach", 1, 1, 1) * reach * noise)
        loss = plain.value + self.weight * unit_norm_penalty(slope)
        return Loss.of(loss, **{**plain.aux, "loss_discriminator": loss, "gradient_norm": slope.mean()})
