"""The inputs of each step: real images, latents and whatever else is drawn, all functions of seed and images seen."""

import torch
from torch import Tensor

from equipoise.config.train_config import TrainConfig
from equipoise.data import Feed, channels_last, flips, normalise
from equipoise.devices import to_device
from equipoise.randomness import Draws
from equipoise.sampling.conditions import make_conditions, quantize
from equipoise.training.distributed import Distributed
from equipoise.training.step import StepInputs


def make_batch(
    config: TrainConfig, feed: Feed, position: int, distributed: Distributed, device: torch.device
) -> StepInputs:
    """A process's share of the batch that comes after `position` images.

    Everything is a pure function of the seed and the position, and together the processes see what one would see.

    Raises:
        UsageError: the data cannot be read on.
    """
    size = config.batch // distributed.world_size
    share = slice(distributed.rank * size, (distributed.rank + 1) * size)
    draws = Draws(config.seed, position, config.batch, share, device, config.dtype)
    images, labels = feed.draw(config.batch, config.seed, position, distributed.rank, distributed.world_size)
    real = normalise(channels_last(to_device(device, images)))  # points of a toy come as they are
    if config.flip:
        mirrored = to_device(device, torch.from_numpy(flips(config.batch, config.seed, position)[share]))
        real = torch.where(mirrored[:, None, None, None], real.flip(-1), real)
    real = quantize(real.to(config.dtype), config.objective.needs.levels)

    def latents(purpose: str) -> Tensor:
        return draws.latents(purpose, config.network.latent, config.prior)

    return StepInputs(
        real=real,
        latent=latents("latents"),
        draws=draws,
        labels=None if labels is None else to_device(device, labels),
        conditions=make_conditions(config, feed.classes, draws, real),
        latent_g=latents("latents of the generator") if config.separate_latents else None,
    )
