"""Minimum reconstruction error: how well a generator can draw images that it has not seen."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from equipoise.randomness import Prior, keyed_generator, latents

AT_ONCE = 64  # images searched for at once


def minimum_reconstruction_error(
    generate: Callable[[Tensor], Tensor],
    images: Tensor,
    latent_size: int,
    *,
    prior: Prior,
    starts: int = 4,
    steps: int = 200,
    lr: float = 0.1,
    seed: int = 0,
) -> Tensor:
    """The least mean squared error min_z mean (G(z) - x)² that a search for the latent finds, for each image.

    Adam from several starts, with a learning rate that falls to 0 along a cosine; latents of the uniform prior are
    kept in [-1, 1]. An image's error depends neither on the others nor on their number. It is an upper bound on the
    true minimum: compare figures of equal starts and steps only (Qi, 2017, arXiv:1701.06264).

    Args:
        generate: (n, latent_size) latents to (n, C, H, W) images, each from its own latent alone; in evaluation mode.
        images: (N, C, H, W) in [-1, 1], on the generator's device.
        latent_size: of the generator.
        prior: of its latents.
        starts: latents from which to search, the same for all images.
        steps: of each search.
        lr: of the first step, in units of the latents.
        seed: of the starts.

    Returns:
        (N,) float64 on the CPU; infinite where the generator gives no finite image.
    """
    first = latents(starts, latent_size, prior, keyed_generator(seed, "reconstruction")).to(images.device)
    with torch.inference_mode(mode=False), torch.enable_grad():
        parts = [
            torch.stack([_search(generate, part.clone(), z, prior, steps, lr) for z in first]).amin(dim=0)
            for part in torch.split(images, AT_ONCE)
        ]
    return torch.cat([torch.empty(0, dtype=torch.float64), *(part.cpu() for part in parts)])


def _search(
    generate: Callable[[Tensor], Tensor], images: Tensor, start: Tensor, prior: Prior, steps: int, lr: float
) -> Tensor:
    """The least error on the way from one start, (n,) float64."""
    z = start.repeat(len(images), 1).requires_grad_()
    adam = torch.optim.Adam([z], lr=lr)
    best = torch.full((len(images),), torch.inf, dtype=torch.float64, device=images.device)
    for step in range(steps + 1):
        errors = (generate(z) - images).square().flatten(1).mean(dim=1)
        best = torch.fmin(best, errors.detach().double())  # fmin passes over NaN
        (z.grad,) = torch.autograd.grad(errors.sum(), z)
        adam.param_groups[0]["lr"] = lr * (1 + math.cos(math.pi * step / (steps + 1))) / 2
        adam.step()
        if prior == "uniform":
            z.data.clamp_(-1, 1)
    return best
