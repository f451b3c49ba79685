"""Minimum reconstruction error: how well a generator can draw images that it has not seen (Qi, 2017)."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from equipoise.latents.search import descend, squared_error
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
    for part in torch.split(images, batch):
        # Normal latents may grow without bounds, as they always could here, so that scores stay comparable.
        search = partial(descend, loss=squared_error, prior=prior, steps=steps, lr=lr, keep_in_range=prior == "uniform")
        found = [search(generate, part, start.expand(len(part), -1))[1] for start in first]
        errors.append(torch.stack(found).amin(dim=0).cpu().double())
    return torch.cat(errors)


def reconstruct(inputs: MetricInputs, *, images: int = IMAGES) -> MetricResult:
    """Mean and deviation of the least errors of `images` random images of the reference."""
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
