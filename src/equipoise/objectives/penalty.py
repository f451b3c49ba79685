"""How steep a discriminator is at given images, in a form that a loss can hold down."""

from collections.abc import Callable

import torch
from torch import Tensor

from equipoise.players import DiscriminatorOutput

TINY = 1e-12
"""Under each square root: where the slope is 0, its gradient is 0 and not NaN."""


def gradient_norms(judge: Callable[[Tensor], DiscriminatorOutput], images: Tensor) -> Tensor:
    """Euclidean norm of each image's own score's gradient: ||d D(x_i) / d x_i||_2 over all of its values at once.

    Differentiable in the discriminator's weights by a double backward pass; what made `images` is not reached.

    Args:
        judge: the discriminator, which must judge each image by itself, so without BatchNorm.
        images: (N, C, H, W) where to ask.

    Returns:
        (N,), at least 1e-6.
    """
    at = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(judge(at).score.sum(), at, create_graph=True)
    return row_norms(gradient)


def row_norms(vectors: Tensor) -> Tensor:
    """Euclidean norm of each row of (N, ...), over all of its values: (N,)."""
    return (vectors.flatten(1).square().sum(1) + TINY).sqrt()


def unit_norm_penalty(slope: Tensor, *, one_sided: bool = False) -> Tensor:
    """Mean squared distance of slopes (N,) from 1, or only of those above it; 0-d."""
    excess = slope - 1
    return (excess.clamp_min(0) if one_sided else excess).square().mean()


def interpolate(real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """x^ = u x + (1 - u) x~, (N, C, H, W): a point between each real image and the generated one beside it.

    Args:
        real: (N, C, H, W).
        fake: (N, C, H, W); what made them is left out of the graph.
        share: (N, 1, 1, 1) in [0, 1), one u for each pair.
    """
    return share * real + (1 - share) * fake.detach()


def mean_and_variance(images: Tensor) -> Tensor:
    """(N, 2): mean and variance over each image's values, of which `deviation` makes those of a whole batch."""
    flat = images.flatten(1)
    return torch.stack([flat.mean(1), flat.var(1, correction=0)], 1)


def total_deviation(spreads: Tensor) -> Tensor:
    """Standard deviation over all values of all images, of their (N, 2) `spread`: the law of total variance; 0-d."""
    means, variances = spreads.unbind(1)
    return (variances.mean() + means.var(correction=0)).sqrt()
