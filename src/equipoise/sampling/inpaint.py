"""Inpainting: what a mask hides of an image, filled in by a run that was trained for it (`--inpaint`)."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from equipoise.config.arguments import checked
from equipoise.config.datasets import picture_framing
from equipoise.config.numbers import Seed, Ways
from equipoise.config.train_config import TrainConfig
from equipoise.data import normalise, read_image, to_uint8
from equipoise.data.framing import Framing
from equipoise.errors import UsageError
from equipoise.isolation import isolated
from equipoise.players import Conditions
from equipoise.randomness import Draws, keyed_generator, latents
from equipoise.runs.run import Run
from equipoise.sampling.conditions import inpainting_masks
from equipoise.sampling.load import generator_and_facts
from equipoise.sampling.sample import generate

HIDDEN = 128  # gray level from which on a mask hides


@checked
@isolated()
def inpaint(run: Run, image: Path, mask: Path | str | None = None, *, count: Ways = 4, seed: Seed = 0) -> Tensor:
    """Several ways to fill in what a mask hides of an image.

    Args:
        run: trained with `--inpaint`.
        image: a file; brought to the run's size as its data was.
        mask: an image file, white where to fill in; or four numbers left,top,right,bottom in pixels of the run's size;
            or None, for a mask like those of training.
        count: number of ways.
        seed: of the latents.

    Returns:
        (2 + count, C, H, W) uint8: the image, the image with its hole in middle gray, and the images filled in.

    Raises:
        UsageError: the run does not inpaint, or a file cannot be used.
    """
    config = run.config
    if not config.tasks.inpaint:
        raise UsageError(f"{run.path} does not fill in images: train one with --inpaint 0.999 --adversarial 0.001")
    generator, facts = generator_and_facts(run)
    framing = picture_framing(config, facts["shape"][0], run.place)
    real = normalise(torch.from_numpy(read_image(image, framing).copy())[None])
    hidden = _read_mask(mask, config, seed, replace(framing, channels=1, background=(0, 0, 0)))
    conditions = Conditions(
        labels=torch.arange(count) % facts["classes"] if config.tasks.classify else None,
        masked=real.expand(count, -1, -1, -1),
        mask=hidden.expand(count, -1, -1, -1),
    )
    z = latents(count, config.network.latent, config.prior, keyed_generator(seed, "inpaint"))
    filled = generate(generator, config, z, conditions)
    return to_uint8(torch.cat([real, real * (1 - hidden), filled]))


def _read_mask(mask: Path | str | None, config: TrainConfig, seed: int, framing: Framing) -> Tensor:
    """(1, 1, H, W), 1 where to fill in; a file is brought to `framing`, as the image is."""
    height, width = framing.height, framing.width
    if mask is None:
        return inpainting_masks(config.tasks.mask, Draws(seed, 0, 1, slice(None)), height, width)
    numbers = str(mask).split(",")
    if len(numbers) == 4 and all(re.fullmatch(r"\s*-?\d{1,99}\s*", number) for number in numbers):
        left, top, right, bottom = map(int, numbers)
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise UsageError(f"the mask {mask} must be left,top,right,bottom within {width}x{height} pixels")
        hidden = np.zeros((height, width), np.float32)
        hidden[top:bottom, left:right] = 1
    else:
        hidden = (read_image(Path(mask), framing)[0] >= HIDDEN).astype(np.float32)
    if not hidden.any():
        raise UsageError(f"the mask {mask} hides nothing: paint white what is to be filled in")
    return torch.from_numpy(hidden)[None, None]
