"""What each step is given: real images, latents and whatever else is drawn, all functions of seed and images seen."""

import torch
from torch import Tensor

from equipoise.config import TrainConfig
from equipoise.data import Feed, channels_last, flips, normalise
from equipoise.objectives.multitask import masks
from equipoise.players import Conditions
from equipoise.randomness import Draws
from equipoise.step import Given
from equipoise.team import Team
from equipoise.transfer import onto


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


def rounded(images: Tensor, levels: int) -> Tensor:
    """Images in [-1, 1] with each value at the nearest of `levels` even ones; 0 leaves them."""
    if not levels:
        return images
    return ((images + 1) / 2 * (levels - 1)).round().clamp(0, levels - 1) / (levels - 1) * 2 - 1


def conditions(
    config: TrainConfig, classes: int, draws: Draws, real: Tensor, *, training: bool = True
) -> Conditions | None:
    """What the generator is given beside the latents, if anything.

    Args:
        config: of the run.
        classes: that its data has.
        draws: decide on classes, masks and noise.
        real: (n, C, H, W) in [-1, 1], images to fill in where that is the task.
        training: whether discrete images are drawn, which takes noise, or the likeliest ones taken.
    """
    tasks, levels, samples = config.tasks, config.objective.needs.levels, config.objective.needs.samples
    if not (tasks.classify or tasks.inpaint or (levels and training)):
        return None
    _, channels, height, width = real.shape
    return Conditions(
        labels=draws.integers("classes to make", classes) if tasks.classify else None,
        masked=real if tasks.inpaint else None,
        mask=masks(tasks.mask, draws, height, width) if tasks.inpaint else None,
        noise=draws.uniform("pixels", samples, channels, height, width) if levels and training else None,
    )
