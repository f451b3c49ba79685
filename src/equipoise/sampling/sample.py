"""Latents to pictures. `generate` is the one place where a trained generator runs, whoever asks: a grid while training,
`equipoise sample`, a score.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from equipoise import randomness
from equipoise.config.arguments import checked
from equipoise.config.datasets import open_dataset
from equipoise.config.numbers import Count, CountOrZero, Seed
from equipoise.config.train_config import TrainConfig
from equipoise.data import Dataset, normalise, to_uint8
from equipoise.devices import autocast_context
from equipoise.errors import UsageError, counted
from equipoise.isolation import isolated
from equipoise.latents.edits import Latents, check_length, checked_latents, edit
from equipoise.players import Conditions
from equipoise.randomness import Draws, keyed_generator
from equipoise.runs.run import Run
from equipoise.sampling.conditions import make_conditions
from equipoise.sampling.load import generator_and_facts, trained_generator

DEFAULT_COUNT = 64
BLOCK = 64  # latents in one forward pass
FILLED_IN = 1000  # images at most that a generator which inpaints is given, again and again


@checked
@isolated()
def sample(
    run: Run,
    count: Count | None = None,
    *,
    seed: Seed = 0,
    ema: bool = True,
    best: bool = False,
    at: int | None = None,
    label: CountOrZero | None = None,
    latents: Latents | None = None,
    labels: Tensor | None = None,
    values: Mapping[int, float] | None = None,
    truncate: float = 1.0,
) -> Tensor:
    """Samples of a run's generator.

    The sample at a position depends on the seed and the position alone: a larger count only adds to a smaller one.

    Args:
        run: a trained run.
        count: number of samples; by default 64, or as many as there are latents.
        seed: of the latents.
        ema: use the moving average of the weights.
        best: use the checkpoint with the best score, instead of the last.
        at: use the checkpoint after so many images, give or take a batch.
        label: class of all samples, where the run makes images of a class; by default any.
        latents: (N, latent), to be used instead of drawn ones; an array too.
        labels: (N,) a class for each of these.
        values: to which dimensions of all latents are set, by dimension.
        truncate: factor below 1 by which normal latents are drawn nearer to their mean; see `latents.edits.edit`.

    Returns:
        (count, C, H, W) uint8; of a toy, its points (count, 2, 1, 1) float32.

    Raises:
        UsageError: the run has no readable checkpoint, makes no images of that class, latents are of another length or
            not finite, or a number is out of bounds.
    """
    given = None if latents is None else checked_latents(latents, "latents")
    if given is not None:
        check_length(given, run.config.network.latent)
    count = (DEFAULT_COUNT if given is None else len(given)) if count is None else count
    if given is not None and count > len(given):
        raise UsageError(f"{counted(len(given), 'latent')} given, not {count:,}: lower the count, or leave it out")
    generator = trained_generator(run, ema=ema, best=best, at=at)
    masked = images_to_fill_in(open_dataset(run.config, place=run.place)) if run.config.tasks.inpaint else None

    def block(start: int) -> Tensor:
        z = draw_block(run.config, seed, start) if given is None else _padded(given[start : start + BLOCK])
        return edit(z, run.config.prior, values=values or {}, truncate=truncate)

    if labels is None and label is not None:
        labels = torch.full((count,), label)
    labels = None if labels is None else whole_labels(labels, count, "sample")
    settings: dict[str, Any] = {"labels": labels, "masked": masked, "draw": block}
    return _gathered(sample_batches(generator, run.config, range(count), seed, **settings), count)


def _gathered(batches: Iterator[Tensor], count: int) -> Tensor:
    """All `count` samples together; where there is no room for them, that is known after the first batch."""
    first = next(batches)
    samples, done = torch.empty((count, *first.shape[1:]), dtype=first.dtype), 0
    for batch in chain([first], batches):
        samples[done : done + len(batch)] = batch
        done += len(batch)
    return samples


def sample_classes(run: Run, count: int, *, best: bool = False, at: int | None = None, **settings: Any) -> Tensor:
    """Samples of each class, of the same latents: (classes, count, C, H, W) uint8; arguments as those of `sample`.

    Raises:
        UsageError: the run makes images of no class; or as `sample`.
    """
    facts = generator_and_facts(run, best=best, at=at)[1]
    classes, at = facts["classes"] if run.config.tasks.classify else 0, None if best else facts["images"]
    if not classes:
        raise UsageError(f"{run.path} makes images of no class: train with --classify-d and -g")
    return torch.stack([sample(run, count, label=each, best=best, at=at, **settings) for each in range(classes)])


def sample_batches(
    generator: nn.Module,
    config: TrainConfig,
    positions: range,
    seed: int,
    *,
    labels: Tensor | None = None,
    masked: Tensor | None = None,
    draw: Callable[[int], Tensor] | None = None,
) -> Iterator[Tensor]:
    """Samples at consecutive `positions`, at most BLOCK at a time.

    Args:
        generator: a trained generator, on any device.
        config: of its run.
        positions: of the samples in the endless sequence that belongs to `seed`.
        seed: of the latents.
        labels: classes of the samples from position 0 on; by default any.
        masked: (N, C, H, W) in [-1, 1], to be filled in one after another, where the generator inpaints.
        draw: the BLOCK latents from a position on; by default `draw_block`.

    Yields:
        uint8 (n, C, H, W) on the CPU; of a toy, points (n, 2, 1, 1) float32.

    Raises:
        UsageError: the generator makes no images of one of the classes `labels`.
    """
    classes = getattr(generator, "classes", 0)
    check_labels(labels, classes)
    masked = torch.empty(BLOCK, 1, 1, 1) if masked is None else masked
    # Whole blocks from multiples of BLOCK on, whatever is asked for: matrix products of another size round otherwise,
    # and a sample would have other bits when drawn among more or fewer.
    first = positions.start // BLOCK * BLOCK
    for start in range(first, positions.stop, BLOCK):
        z = draw_block(config, seed, start) if draw is None else draw(start)
        images = masked[torch.arange(start, start + BLOCK) % len(masked)]
        draws = Draws(seed, start, BLOCK, slice(None))
        conditions = make_conditions(config, classes, draws, images, training=False)
        if conditions is not None and labels is not None:
            conditions = conditions._replace(labels=_padded(labels[start : start + BLOCK]))
        block = generate(generator, config, z, conditions)
        block = block if config.toy else to_uint8(block)
        yield block[max(0, positions.start - start) : positions.stop - start]


def whole_labels(labels: Tensor, count: int, each: str) -> Tensor:
    """`labels` (count,) of any whole numbers as int64, the one kind that torch takes for an index.

    Raises:
        UsageError: they are no whole numbers, or not one for each of `count` things called `each`.
    """
    kind = labels.dtype
    if tuple(labels.shape) != (count,) or kind == torch.bool or kind.is_floating_point or kind.is_complex:
        raise UsageError(f"labels are whole numbers ({count},), one a {each}, not {kind} {tuple(labels.shape)}")
    return labels.long()


def check_labels(labels: Tensor | None, classes: int) -> None:
    """Raise UsageError unless `labels` are among the `classes` that a generator makes images of, or are None."""
    wrong = [] if labels is None else labels[(labels < 0) | (labels >= classes)].tolist()
    if wrong:
        known = f"classes 0 to {classes - 1}" if classes else "images of no class: train with --classify-d and -g"
        raise UsageError(f"the run makes {known}, not {wrong[0]}")


def draw_block(config: TrainConfig, seed: int, start: int) -> Tensor:
    """The latents (BLOCK, latent) of the samples from position `start`, a multiple of BLOCK, on."""
    return randomness.latents(BLOCK, config.network.latent, config.prior, keyed_generator(seed, "sample", start))


def draw_latents(config: TrainConfig, seed: int, count: int) -> Tensor:
    """The latents (count, latent) of the first samples."""
    return torch.cat([draw_block(config, seed, start) for start in range(0, count, BLOCK)])[:count]


def _padded(rows: Tensor) -> Tensor:
    """Rows (n, ...) filled up to BLOCK with zeros."""
    return torch.cat([rows, rows.new_zeros(BLOCK - len(rows), *rows.shape[1:])])


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
    order = torch.randperm(len(images), generator=keyed_generator(0, "filled in"))  # they mostly lie class by class
    return normalise(images.batch(order[:FILLED_IN]))
