"""Generators of checkpoints, as they are kept in memory, and the latents that they are asked for."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from equipoise.config.train_config import TrainConfig
from equipoise.data import to_uint8
from equipoise.devices import Device, make_launcher
from equipoise.errors import UsageError, counted
from equipoise.latents.edits import check_length, checked_latents
from equipoise.players import Conditions
from equipoise.randomness import Draws
from equipoise.runs.checkpoint import CheckpointError, read_tensors
from equipoise.runs.numbered import images_of
from equipoise.runs.run import Run
from equipoise.sampling.load import trained_generator
from equipoise.sampling.sample import BLOCK, check_labels, draw_latents, generate
from equipoise.serving.refusal import Refusal


@dataclass(frozen=True)
class Checkpoint:
    """Which weights: hashable, so that what is kept of them is found again.

    Attributes:
        path: the run's folder.
        at: images seen.
        best: whether it is the one that is kept for its score.
        ema: the average of the weights, or the weights.
        written: time of change of its file, which another run in the same folder would have otherwise.
    """

    path: str
    at: int
    best: bool
    ema: bool
    written: int


def find_checkpoint(run: Run, at: int | None, *, best: bool, ema: bool) -> Checkpoint:
    """The checkpoint after `at` images, the best or the newest.

    Raises:
        Refusal: there is none, or two are asked for.
    """
    if best and at is not None:
        raise Refusal(422, "give either at or best: which checkpoint is meant?")
    files = [file] if best and (file := run.best_checkpoint()) else [] if best else run.checkpoints()
    if at is None and not best:
        files = _without_damaged(files)
    chosen = [file for file in files if at is None or images_of(file) == at]
    if not chosen:
        there = ", ".join(f"{images_of(file):,}" for file in files) or "no number of"
        asked = "best one" if best else f"one after {at:,}" if at is not None else "one yet"
        raise Refusal(404, f"the run has checkpoints after {there} images, and no {asked}")
    try:
        written = chosen[-1].stat().st_mtime_ns
    except OSError as error:
        raise Refusal(404, "this checkpoint has just been deleted: take another") from error
    return Checkpoint(str(run.path), images_of(chosen[-1]), best, ema and run.config.ema > 0, written)


def _without_damaged(files: list[Path]) -> list[Path]:
    """Checkpoints without the newest that are cut short, as far as their heads tell; all of them if each is."""
    for end in range(len(files), 0, -1):
        with suppress(CheckpointError):
            read_tensors(files[end - 1], metadata_only=True)
            return files[:end]
    return files


@dataclass(frozen=True, eq=False)
class Model:
    """A generator that is ready to be asked.

    Attributes:
        checkpoint: whose weights it has.
        generator: in evaluation mode, on the device.
        config: of its run.
        classes: that it makes images of, or 0.
    """

    checkpoint: Checkpoint
    generator: nn.Module
    config: TrainConfig
    classes: int

    @property
    def size(self) -> int:
        """Bytes of its weights."""
        return sum(each.numel() * each.element_size() for each in self.generator.state_dict().values())

    def images(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Images (N, C, H, W) uint8 of latents (N, latent) and classes (N,), which count where it knows any."""
        conditions = Conditions(labels=labels) if self.classes else None
        return to_uint8(generate(self.generator, self.config, latents, conditions))


def open_model(run: Run, checkpoint: Checkpoint, device: Device) -> Model:
    """Load a generator.

    Raises:
        UsageError: the run makes no images of latents, or the checkpoint cannot be read.
    """
    config = run.config
    if config.toy or config.tasks.inpaint:
        what = "is on a toy, of points" if config.toy else "fills in images"
        raise UsageError(f"this run {what}, and makes no images of latents: take another run")
    at = None if checkpoint.best else checkpoint.at
    generator = trained_generator(run, ema=checkpoint.ema, best=checkpoint.best, at=at)
    place = make_launcher(device, 1).device
    generator = generator.to(place).requires_grad_(requires_grad=False)
    return Model(checkpoint, generator, config, int(getattr(generator, "classes", 0)))


def given_latents(config: TrainConfig, rows: list[list[float]]) -> Tensor:
    """Latents (N, latent) that a client sends.

    Raises:
        UsageError: they are of another length than this run's, or not all of one.
    """
    if len({len(row) for row in rows}) != 1:
        raise UsageError("the latents are of several lengths: give rows of one")
    latents = checked_latents(torch.tensor(rows, dtype=torch.float64).float(), "latents")
    check_length(latents, config.network.latent)
    return latents


def drawn(config: TrainConfig, classes: int, seed: int, count: int) -> tuple[Tensor, Tensor]:
    """Latents (count, latent) and classes (count,) of the first samples of a seed, as `equipoise sample` draws them."""
    labels = torch.zeros(count, dtype=torch.int64)
    if classes:
        labels = Draws(seed, 0, BLOCK, slice(None)).integers("classes to make", classes)[:count]
    return draw_latents(config, seed, count), labels


def chosen_labels(labels: int | list[int] | None, classes: int, drawn_labels: Tensor) -> Tensor:
    """Classes (N,) to make: one for all, one for each, or those that were drawn.

    Raises:
        UsageError: the run makes no images of such a class, or there are not as many as latents.
    """
    if labels is None:
        return drawn_labels
    count = len(drawn_labels)
    chosen = torch.full((count,), labels) if isinstance(labels, int) else torch.tensor(labels, dtype=torch.int64)
    if len(chosen) != count:
        raise UsageError(
            f"{counted(count, 'latent')} and {counted(len(chosen), 'label')}: give one label for each, or one for all"
        )
    check_labels(chosen, classes)
    return chosen
