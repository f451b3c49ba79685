"""What a generator is given beside its latents: classes, images with a hole and its mask, noise for discrete pixels."""

import torch
from torch import Tensor

from equipoise.config.train_config import TrainConfig
from equipoise.objectives.multitask import Mask
from equipoise.players import Conditions
from equipoise.randomness import Draws


def inpainting_masks(kind: Mask, draws: Draws, height: int, width: int) -> Tensor:
    """What is hidden of each image of the step: (n, 1, height, width), 1 where hidden, else 0.

    `centre` hides the middle half of each side; `rectangle` one of a quarter to a half of each side, anywhere.
    """
    sizes = draws.uniform("masks", 4)
    if kind == "centre":
        sizes = torch.full_like(sizes, 0.5)
        sizes[:, :2] = 1.0  # as long as a side can be, and in the middle
    share, place = sizes[:, :2] / 4 + 0.25, sizes[:, 2:]
    rows = _inside(height, share[:, 0], place[:, 0])
    columns = _inside(width, share[:, 1], place[:, 1])
    return (rows[:, :, None] & columns[:, None, :])[:, None].to(sizes.dtype)


def _inside(length: int, share: Tensor, place: Tensor) -> Tensor:
    """(n, length): whether a pixel lies in a stretch of a share (n,) of all, at a place (n,) in [0, 1)."""
    size = (share * length).round().clamp_min(1)
    first = (place * (length - size + 1)).floor()
    pixels = torch.arange(length, device=share.device)
    return (pixels >= first[:, None]) & (pixels < (first + size)[:, None])


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
        mask=inpainting_masks(tasks.mask, draws, height, width) if tasks.inpaint else None,
        noise=draws.uniform("pixels", samples, channels, height, width) if levels and training else None,
    )
