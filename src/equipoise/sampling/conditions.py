"""What a generator takes beside its latents: classes, images with a hole and its mask, noise for discrete pixels."""

import torch
from torch import Tensor

from equipoise.config.train_config import TrainConfig
from equipoise.objectives.multitask import Mask
from equipoise.players import Conditions
from equipoise.randomness import Draws


def make_conditions(
    config: TrainConfig, classes: int, draws: Draws, images: Tensor, *, training: bool = True
) -> Conditions | None:
    """Conditions for one batch, or None where the generator takes none.

    Args:
        config: of the run.
        classes: number of classes in the data.
        draws: source of classes, masks and noise.
        images: (n, C, H, W) in [-1, 1], to be filled in where the run inpaints; else only their shape matters.
        training: whether discrete images are drawn at random, which takes noise, or are the most likely ones.
    """
    tasks, needs = config.tasks, config.objective.needs
    draws_pixels = needs.levels > 0 and training
    if not (tasks.classify or tasks.inpaint or draws_pixels):
        return None
    _, channels, height, width = images.shape
    return Conditions(
        labels=draws.integers("classes to make", classes) if tasks.classify else None,
        masked=images if tasks.inpaint else None,
        mask=inpainting_masks(tasks.mask, draws, height, width) if tasks.inpaint else None,
        noise=draws.uniform("pixels", needs.samples, channels, height, width) if draws_pixels else None,
    )


def inpainting_masks(kind: Mask, draws: Draws, height: int, width: int) -> Tensor:
    """Masks (n, 1, height, width), 1 where an image is hidden, else 0.

    `centre` hides the middle half of each side; `rectangle` a quarter to a half of each side, anywhere.
    """
    numbers = draws.uniform("masks", 4)  # for each image: two lengths and two positions, in [0, 1)
    if kind == "centre":
        numbers = torch.tensor([1.0, 1.0, 0.5, 0.5]).to(numbers).expand_as(numbers)
    lengths, positions = numbers[:, :2] / 4 + 0.25, numbers[:, 2:]  # lengths as shares of a side
    hidden = []
    for side, length, position in zip((height, width), lengths.unbind(1), positions.unbind(1), strict=True):
        size = (length * side).round().clamp_min(1)
        first = (position * (side - size + 1)).floor()
        pixels = torch.arange(side, device=numbers.device)
        hidden.append((pixels >= first[:, None]) & (pixels < (first + size)[:, None]))  # (n, side)
    rows, columns = hidden
    return (rows[:, :, None] & columns[:, None, :])[:, None].to(numbers.dtype)


def quantize(images: Tensor, levels: int) -> Tensor:
    """Images in [-1, 1], each value rounded to the nearest of `levels` evenly spaced ones; 0 leaves them."""
    if not levels:
        return images
    return ((images + 1) / 2 * (levels - 1)).round().clamp(0, levels - 1) / (levels - 1) * 2 - 1
