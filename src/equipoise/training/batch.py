"""What each step is given: real images, latents and whatever else is drawn, all functions of seed and images seen."""

import torch
from torch import Tensor

from equipoise.config.train_config import TrainConfig
from equipoise.data import Feed, channels_last, flips, normalise
from equipoise.devices import onto
from equipoise.randomness import Draws
from equipoise.sampling.conditions import conditions, rounded
from equipoise.training.distributed import Team
from equipoise.training.step import Given


def deal(config: TrainConfig, feed: Feed, position: int, team: Team, device: torch.device) -> Given:
    """A process's share of the batch that comes after `position` images.

    Everything is a pure function of the seed and the position, and together the processes see what one would see.

    Raises:
        UsageError: the data cannot be read on.
    """
    size = config.batch // team.size
    share = slice(team.rank * size, (team.rank + 1) * size)
    draws = Draws(config.seed, position, config.batch, share, device, config.dtype)
    images, labels = feed.draw(config.batch, config.seed, position, team.rank, team.size)
    real = normalise(channels_last(onto(device, images)))  # points of a toy come as they are
    if config.flip:
        mirrored = onto(device, torch.from_numpy(flips(config.batch, config.seed, position)[share]))
        real = torch.where(mirrored[:, None, None, None], real.flip(-1), real)
    real = rounded(real.to(config.dtype), config.objective.needs.levels)

    def latents(purpose: str) -> Tensor:
        return draws.latents(purpose, config.network.latent, config.prior)

    return Given(
        real=real,
        latent=latents("latents"),
        draws=draws,
        labels=None if labels is None else onto(device, labels),
        conditions=conditions(config, feed.classes, draws, real),
        latent_g=latents("latents of the generator") if config.separate_latents else None,
    )
