"""The parts of gradient penalties: gradient norms of a discriminator, points of evaluation, and penalties on norms."""

from collections.abc import Callable

import torch
from torch import Tensor

from equipoise.objectives.base import TINY
from equipoise.players import DiscriminatorOutput


def gradient_norms(discriminate: Callable[[Tensor], DiscriminatorOutput], images: Tensor) -> Tensor:
    """Euclidean norm of each score's gradient in its own image: ||d D(x_i) / d x_i||_2, over all values of an image.

    Differentiable in the discriminator's weights by a double backward pass; no gradient flows to `images`.

    Args:
        discriminate: the discriminator; scores must not depend on the rest of the batch, so no BatchNorm.
        images: (N, C, H, W), the points of evaluation.

    Returns:
        (N,), at least 1e-6.
    """
    points = images.detach().requires_grad_()
    # The sum's gradient holds each image's own, since no score depends on another image: one backward pass for all.
    (gradient,) = torch.autograd.grad(discriminate(points).score.sum(), points, create_graph=True)
    return row_norms(gradient)


def row_norms(vectors: Tensor) -> Tensor:
    """Euclidean norm of each row of (N, ...), over all of its values: (N,)."""
    # Without TINY a root at 0 has an infinite gradient, and a flat discriminator's weights would become NaN.
    return (vectors.flatten(1).square().sum(1) + TINY).sqrt()


def unit_norm_penalty(norms: Tensor, *, one_sided: bool = False) -> Tensor:
    """Mean squared distance of norms (N,) from 1, or with `one_sided` only of norms above 1; 0-d."""
    excess = norms - 1
    return (excess.clamp_min(0) if one_sided else excess).square().mean()


def interpolate(real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """Random points between pairs of real and generated images, x^ = u x + (1 - u) x~: (N, C, H, W).

    Args:
        real: (N, C, H, W).
        fake: (N, C, H, W); no gradient flows to the generator.
        share: (N, 1, 1, 1) in [0, 1), one u for each pair.
    """
    return share * real + (1 - share) * fake.detach()


def mean_and_variance(images: Tensor) -> Tensor:
    """Mean and variance of each image's values, (N, 2): small enough to gather from all processes."""
    flat = images.flatten(1)
    return torch.stack([flat.mean(1), flat.var(1, correction=0)], 1)


def total_deviation(moments: Tensor) -> Tensor:
    """Standard deviation over all values of all images, from each one's `mean_and_variance` (N, 2); 0-d.

    By the law of total variance.
    """
    means, variances = moments.unbind(1)
    return (variances.mean() + means.var(correction=0)).sqrt()
