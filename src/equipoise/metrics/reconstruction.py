"""Minimum reconstruction error: how well a generator can draw images that it has not seen (Qi, 2017)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from equipoise.metrics.base import MetricResult
from equipoise.metrics.metric import Metric, MetricInputs, present
from equipoise.randomness import Prior, keyed_generator, latents

IMAGES = 64  # held-out images to reconstruct: each takes hundreds of steps


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
    batch: int = 64,
) -> Tensor:
    """The least mean squared error min_z mean (G(z) - x)² that a search for the latent finds, for each image.

    Adam from several starts, with a learning rate that falls to 0 along a cosine; latents of the uniform prior are
    kept in [-1, 1]. An image's error depends neither on the others nor on their number. It is an upper bound on the
    true minimum: compare results of equal starts and steps only (Qi, 2017, arXiv:1701.06264).

    Args:
        generate: (n, latent_size) latents to (n, C, H, W) images, each from its own latent alone; in evaluation mode.
        images: (N, C, H, W) in [-1, 1], on the generator's device.
        latent_size: of the generator.
        prior: of its latents.
        starts: number of latents from which to search, the same for all images.
        steps: of each search.
        lr: of the first step, in units of the latents.
        seed: of the starts.
        batch: number of images that are searched for at once.

    Returns:
        (N,) float64 on the CPU; infinite where the generator gives no finite image.
    """
    first = latents(starts, latent_size, prior, keyed_generator(seed, "reconstruction")).to(images.device)
    errors = [torch.empty(0, dtype=torch.float64)]
    with torch.inference_mode(mode=False), torch.enable_grad():  # whatever the caller's mode
        for part in torch.split(images, batch):
            # cloned: a tensor that was made in inference mode takes no part in a backward pass
            searches = [_search(generate, part.clone(), start, prior, steps, lr) for start in first]
            errors.append(torch.stack(searches).amin(dim=0).cpu())
    return torch.cat(errors)


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
        # The sum, not the mean: each latent's gradient is then that of its own image, whatever their number. And not
        # `backward()`, which would leave gradients in the generator's weights.
        (z.grad,) = torch.autograd.grad(errors.sum(), z)
        adam.param_groups[0]["lr"] = lr * (1 + math.cos(math.pi * step / (steps + 1))) / 2
        adam.step()
        if prior == "uniform":
            z.data.clamp_(-1, 1)
    return best


def reconstruct(inputs: MetricInputs, *, images: int = IMAGES) -> MetricResult:
    """Mean and deviation of the least errors of the first `images` images of the reference."""
    generator = present(inputs.generator)
    real = generator.real(images)
    errors = minimum_reconstruction_error(
        generator.generate, real, generator.latent_size, prior=generator.prior, seed=inputs.seed
    )
    spread = errors.std(correction=0).item()
    return {"value": errors.mean().item(), "spread": spread, "images": float(len(real))}


RECONSTRUCTION = Metric(
    compute=reconstruct,
    needs_generator=True,
    better="lower",
    ideal=0.0,
    minimum=1,
    by_default=lambda _: False,  # a search of minutes
    description="error of the nearest image that the generator can draw",
)
