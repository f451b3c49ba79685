"""Latents to pictures: draw samples from a run."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from equipoise.config.datasets import open_split
from equipoise.config.train_config import TrainConfig
from equipoise.data import normalise, to_uint8
from equipoise.devices import autocast_context
from equipoise.errors import UsageError
from equipoise.randomness import Draws, keyed_generator, latents
from equipoise.runs.run import Run
from equipoise.sampling.conditions import conditions
from equipoise.sampling.load import load_generator

AT_ONCE = 64


def sample(
    run: Run, count: int, *, seed: int = 0, ema: bool = True, best: bool = False, label: int | None = None
) -> Tensor:
    """Draw images from a run's generator.

    The image at a position depends on the seed and the position alone: more samples only add to fewer.

    Args:
        run: a trained run.
        count: how many.
        seed: of the latents.
        ema: use the moving average of the weights.
        best: use the checkpoint with the best score, instead of the last.
        label: the class of all of them, where the run makes images of a class; by default any.

    Returns:
        (count, C, H, W) uint8; of a toy, its points (count, 2, 1, 1) float32.

    Raises:
        UsageError: the run has no checkpoint that can be read, or makes no images of that class.
    """
    generator = load_generator(run, ema=ema, best=best)
    return torch.cat(list(drawn(generator, run.config, range(count), seed, torch.device("cpu"), label)))


@torch.inference_mode()
def drawn(
    generator: nn.Module,
    config: TrainConfig,
    positions: range,
    seed: int,
    device: torch.device,
    label: int | None = None,
) -> Iterator[Tensor]:
    """Draw the images at consecutive `positions`, some at a time: uint8 (n, C, H, W) on the CPU, or a toy's points.

    Whole blocks are computed, so that the image at a position has the same bits whatever else is asked for, and in the
    precision that training takes on `device`. A generator that fills in images is given held-out ones.

    Raises:
        UsageError: the generator makes no images of the class `label`.
    """
    dtype, classes = next(generator.parameters()).dtype, getattr(generator, "classes", 0)
    if label is not None and not 0 <= label < classes:
        known = f"classes 0 to {classes - 1}" if classes else "images of no class: train with --classify-d and -g"
        raise UsageError(f"the run makes {known}, not {label}")
    precision = config.precision_on(device.type)
    filled = _to_fill_in(config) if config.tasks.inpaint else torch.empty(AT_ONCE, 1, 1, 1)
    for start in range(positions.start // AT_ONCE * AT_ONCE, positions.stop, AT_ONCE):
        z = latents(AT_ONCE, config.network.latent, config.prior, keyed_generator(seed, "sample", start)).to(
            device, dtype
        )
        draws = Draws(seed, start, AT_ONCE, slice(None), device, dtype)
        real = filled[torch.arange(start, start + AT_ONCE) % len(filled)].to(device, dtype)
        given = conditions(config, classes, draws, real, training=False)
        if given is not None and label is not None:
            given = given._replace(labels=torch.full((AT_ONCE,), label, device=device))
        with autocast_context(precision, device):
            made = (generator(z) if given is None else generator(z, given)).images
        images = made.float().cpu() if config.toy else to_uint8(made).cpu()
        yield images[max(0, positions.start - start) : positions.stop - start]


def _to_fill_in(config: TrainConfig) -> Tensor:
    """Up to a thousand images in [-1, 1] that the run has not trained on, or if there are none, has."""
    held = open_split(config, "held-out")
    images = held if len(held) else open_split(config, "train")
    return normalise(images.batch(np.arange(min(1000, len(images)))))
