"""Latents to pictures. `generate` is the one place where a trained generator runs, whoever asks: a grid while training,
`equipoise sample`, a score.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from equipoise.config.datasets import open_dataset
from equipoise.config.numbers import Count, Seed, check_numbers
from equipoise.config.train_config import TrainConfig
from equipoise.data import Dataset, normalise, to_uint8
from equipoise.devices import autocast_context
from equipoise.errors import UsageError
from equipoise.isolation import isolated
from equipoise.players import Conditions
from equipoise.randomness import Draws, keyed_generator, latents
from equipoise.runs.run import Run
from equipoise.sampling.conditions import make_conditions
from equipoise.sampling.load import trained_generator

BLOCK = 64  # latents in one forward pass
FILLED_IN = 1000  # images at most that a generator which inpaints is given, again and again


@isolated()
def sample(
    run: Run, count: int, *, seed: int = 0, ema: bool = True, best: bool = False, label: int | None = None
) -> Tensor:
    """Samples of a run's generator.

    The sample at a position depends on the seed and the position alone: a larger count only adds to a smaller one.

    Args:
        run: a trained run.
        count: number of samples.
        seed: of the latents.
        ema: use the moving average of the weights.
        best: use the checkpoint with the best score, instead of the last.
        label: class of all samples, where the run makes images of a class; by default any.

    Returns:
        (count, C, H, W) uint8; of a toy, its points (count, 2, 1, 1) float32.

    Raises:
        UsageError: the run has no readable checkpoint, makes no images of that class, or a number is out of bounds.
    """
    check_numbers({"count": Count, "seed": Seed}, {"count": count, "seed": seed})
    generator = trained_generator(run, ema=ema, best=best)
    masked = images_to_fill_in(open_dataset(run.config, place=run.place)) if run.config.tasks.inpaint else None
    return torch.cat(list(sample_batches(generator, run.config, range(count), seed, label=label, masked=masked)))


def sample_batches(
    generator: nn.Module,
    config: TrainConfig,
    positions: range,
    seed: int,
    *,
    label: int | None = None,
    masked: Tensor | None = None,
) -> Iterator[Tensor]:
    """Samples at consecutive `positions`, at most BLOCK at a time.

    Args:
        generator: a trained generator, on any device.
        config: of its run.
        positions: of the samples in the endless sequence that belongs to `seed`.
        seed: of the latents.
        label: class of all samples; by default any.
        masked: (N, C, H, W) in [-1, 1], to be filled in one after another, where the generator inpaints.

    Yields:
        uint8 (n, C, H, W) on the CPU; of a toy, points (n, 2, 1, 1) float32.

    Raises:
        UsageError: the generator makes no images of the class `label`.
    """
    classes = getattr(generator, "classes", 0)
    if label is not None and not 0 <= label < classes:
        known = f"classes 0 to {classes - 1}" if classes else "images of no class: train with --classify-d and -g"
        raise UsageError(f"the run makes {known}, not {label}")
    masked = torch.empty(BLOCK, 1, 1, 1) if masked is None else masked
    # Whole blocks from multiples of BLOCK on, whatever is asked for: matrix products of another size round otherwise,
    # and a sample would have other bits when drawn among more or fewer.
    first = positions.start // BLOCK * BLOCK
    for start in range(first, positions.stop, BLOCK):
        z = latents(BLOCK, config.network.latent, config.prior, keyed_generator(seed, "sample", start))
        images = masked[torch.arange(start, start + BLOCK) % len(masked)]
        draws = Draws(seed, start, BLOCK, slice(None))
        conditions = make_conditions(config, classes, draws, images, training=False)
        if conditions is not None and label is not None:
            conditions = conditions._replace(labels=torch.full((BLOCK,), label))
        block = generate(generator, config, z, conditions)
        block = block if config.toy else to_uint8(block)
        yield block[max(0, positions.start - start) : positions.stop - start]


@torch.inference_mode()
def generate(
    generator: nn.Module, config: TrainConfig, latents: Tensor, conditions: Conditions | None = None
) -> Tensor:
    """Images, or a toy's points, that a generator makes of latents, in training's precision.

    Args:
        generator: in evaluation mode, on any device.
        config: of its run.
        latents: (N, latent).
        conditions: what the generator takes beside them, N rows each.

    Returns:
        (N, C, H, W) float32 on the CPU: images nominally in [-1, 1], not clamped; of a toy, points (N, 2, 1, 1).
    """
    weight = next(generator.parameters())
    device, dtype, parts = weight.device, weight.dtype, []
    for start in range(0, len(latents), BLOCK):  # a block at a time bounds the memory, whatever N is
        block = slice(start, start + BLOCK)
        inputs: list[Tensor | Conditions] = [latents[block].to(device, dtype)]
        if conditions is not None:  # whose labels are whole numbers, and stay so
            rows = [None if each is None else each[block] for each in conditions]
            kinds = [dtype if each is not None and each.is_floating_point() else None for each in rows]
            moved = (
                None if x is None else x.to(device=device, dtype=kind) for x, kind in zip(rows, kinds, strict=True)
            )
            inputs.append(Conditions(*moved))
        with autocast_context(config.precision_on(device.type), device):
            parts.append(generator(*inputs).images.float().cpu())
    return torch.cat(parts)


def images_to_fill_in(dataset: Dataset) -> Tensor:
    """Images (N, C, H, W) in [-1, 1] that a run has not trained on, or if none were held out, those that it has."""
    held_out = dataset.split("held-out")
    images = held_out if len(held_out) else dataset.split("train")
    return normalise(images.batch(np.arange(min(FILLED_IN, len(images)))))
