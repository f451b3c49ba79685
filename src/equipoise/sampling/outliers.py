"""Odd pictures among many: those that a discriminator takes for unreal, or reconstructs badly, and copies.

An autoencoder's energy is higher the more there is to be seen in a picture, so that a black frame has hardly any.
Beside it counts the energy relative to the contrast: how much of what is to be seen was not reconstructed. Of a plain
frame that is all, since an autoencoder that has never seen one puts something into it.
"""

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from equipoise.config.arguments import checked
from equipoise.config.datasets import check_place, open_dataset
from equipoise.config.numbers import Count
from equipoise.data.digests import content_digest
from equipoise.data.packed.workers import ProgressCallback
from equipoise.devices import Device
from equipoise.errors import UsageError
from equipoise.isolation import isolated
from equipoise.networks.players import EnergyDiscriminator
from equipoise.randomness import random_places
from equipoise.runs.run import Run
from equipoise.sampling.pictures import Given, PictureReader, Pictures
from equipoise.sampling.players import TrainedPlayers, open_players

BATCH = 256
MOST_COPIED = 10_000  # pictures with copies that are kept to be shown
REFERENCE = 2_000  # training images with which others are compared
NORMAL_MAD = 1.4826  # standard deviation over the median absolute deviation of a normal distribution
NORMAL_MEAN_AD = 1.2533  # and over the mean absolute deviation
ALIKE = 1e-6  # of the median: a deviation below is that of roundings
LEAST_CONTRAST = 0.1  # of the data's median: a picture of less counts as one of so much

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Outliers:
    """Pictures ranked by how odd they are, the oddest first.

    Attributes:
        names: of the pictures.
        oddness: (N,) how many standard deviations of the data's they lie above its median, by what is odder of the two:
        scores: (N,) energies; of a discriminator without an energy its loss, or its logit or critic value negated;
        relative: (N,) energies in relation to the pictures' contrast, or None without energies.
        reasons: by which: `energy` (or `score`) or `relative energy`.
        copies: (N,) how many of the pictures are the same, pixel by pixel.
        oddest, typical: (n, C, H, W) uint8, the first and the last of the pictures.
        copied: (n, C, H, W) uint8, those of which there are most copies, one of each.
        copied_names: of these, the first of each.
        unreadable: name and reason of what could not be read.
    """

    names: list[str]
    oddness: Numbers
    scores: Numbers
    relative: Numbers | None
    reasons: list[str]
    copies: NDArray[np.int64]
    oddest: Tensor
    typical: Tensor
    copied: Tensor
    copied_names: list[tuple[str, int]]
    unreadable: list[tuple[str, str]]


@checked
@isolated()
def outliers(
    run: Run,
    data: Given | None = None,
    *,
    shown: Count = 24,
    best: bool = False,
    at: int | None = None,
    device: Device = "auto",
    progress: ProgressCallback | None = None,
) -> Outliers:
    """Pictures ranked by how odd they are to a run's discriminator, beside the images that it was trained on.

    Args:
        run: a trained run.
        data: files, folders or data of any kind, by name; or uint8 pictures (N, C, H, W); by default the run's own.
        shown: number of the oddest, and of the most typical, that are kept as pictures.
        best: use the checkpoint with the best score, instead of the last.
        at: use the checkpoint after so many images, give or take a batch.
        device: where to compute.
        progress: called with the pictures done, and of all.

    Raises:
        UsageError: the run is on a toy or fills in images, or there is no picture that can be read.
    """
    players = open_players(run, best=best, at=at, device=device)
    reader = PictureReader(run, players.shape)
    if data is None:
        check_place(run.place)
    parts = reader.read([run.place] if data is None else data, BATCH, progress)
    scale, first = _scale_of_data(players, parts)
    names: list[str] = []
    found: list[Scores] = []
    oddest, typical, copies = _Extreme(shown), _Extreme(shown), _Copies()
    for part in [*first, *parts]:
        scores = score_pictures(players, part.pixels)
        for number, value in enumerate(scale.oddness(scores).tolist(), len(names)):
            picture = part.pixels[number - len(names)]
            oddest.offer(value, number, picture)
            typical.offer(-value, -number, picture)
            copies.add(part.names[number - len(names)], picture)
        names += part.names
        found.append(scores)
    scores = Scores.joined(found)
    oddness, reasons = scale.oddness(scores), scale.reasons(scores)
    order = np.argsort(-oddness, kind="stable")
    copied_names, copied = copies.most(shown)
    return Outliers(
        names=[names[index] for index in order],
        oddness=oddness[order],
        scores=scores.scores[order],
        relative=scale.relative_energies(scores)[order] if players.encodes else None,
        reasons=[reasons[index] for index in order],
        copies=copies.counts()[order],
        oddest=oddest.pictures(),
        typical=typical.pictures().flip(0),
        copied=copied,
        copied_names=copied_names,
        unreadable=reader.skipped,
    )


class Scores(NamedTuple):
    """What a discriminator says of pictures, the higher the odder, and their contrast: (n,) each.

    The contrast is the energy that a picture would have if it were reconstructed as one plain colour, its mean.
    """

    scores: Numbers
    contrasts: Numbers

    @classmethod
    def joined(cls, parts: list[Self]) -> Self:
        """Those of several parts in a row."""
        return cls(*(np.concatenate(each) for each in zip(*parts, strict=True)))


@torch.no_grad()
def score_pictures(players: TrainedPlayers, pictures: Tensor) -> Scores:
    """Scores of pictures (N, C, H, W) uint8 by a discriminator of any kind."""
    lower_is_real = players.run.config.objective.lower_is_real
    discriminator = players.discriminator
    power = discriminator.energy_map if isinstance(discriminator, EnergyDiscriminator) else torch.abs
    scores, contrasts = [], []
    for part in torch.split(pictures, BATCH):
        images = players.on_device(part).to(players.dtype)
        score: Tensor = discriminator(images).score
        scores.append((score if lower_is_real else -score).cpu().double())
        plain = images.mean(dim=(2, 3), keepdim=True)
        contrasts.append(power(images - plain).flatten(1).mean(dim=1).cpu().double())
    return Scores(torch.cat(scores).numpy(), torch.cat(contrasts).numpy())


class Spread(NamedTuple):
    """Where most of some numbers lie: their median, and a standard deviation that outliers do not move."""

    median: float
    deviation: float

    @classmethod
    def of(cls, numbers: Numbers) -> Self:
        """Of numbers (N,): the deviation is that of a normal distribution with their median absolute deviation.

        Where more than half of them are alike, as of copies, it is by their mean absolute deviation (Iglewicz and
        Hoaglin 1993, How to Detect and Handle Outliers).
        """
        median = float(np.median(numbers))
        apart = np.abs(numbers - median)
        least = max(ALIKE * abs(median), 1e-12)
        deviation = NORMAL_MAD * float(np.median(apart))
        if deviation < least:
            deviation = max(NORMAL_MEAN_AD * float(np.mean(apart)), least)
        return cls(median, deviation)

    def deviations(self, numbers: Numbers) -> Numbers:
        """How many deviations numbers (n,) lie above the median."""
        return (numbers - self.median) / self.deviation


class Scale(NamedTuple):
    """How scores and relative energies of the data spread, the latter None without energies."""

    plain: Spread
    relative: Spread | None
    least_contrast: float

    @classmethod
    def of(cls, scores: Scores, *, energies: bool) -> Self:
        """Of the data's scores."""
        scale = cls(Spread.of(scores.scores), None, LEAST_CONTRAST * float(np.median(scores.contrasts)) + 1e-12)
        return scale._replace(relative=Spread.of(scale.relative_energies(scores))) if energies else scale

    def relative_energies(self, scores: Scores) -> Numbers:
        """Energies over contrasts, (n,)."""
        return scores.scores / np.maximum(scores.contrasts, self.least_contrast)

    def oddness(self, scores: Scores) -> Numbers:
        """The larger one of both deviations, (n,)."""
        deviations = self.plain.deviations(scores.scores)
        if self.relative is None:
            return deviations
        return np.maximum(deviations, self.relative.deviations(self.relative_energies(scores)))

    def reasons(self, scores: Scores) -> list[str]:
        """Which of both each picture's oddness comes from."""
        if self.relative is None:
            return ["score"] * len(scores.scores)
        by_energy = self.plain.deviations(scores.scores) >= self.oddness(scores)
        return ["energy" if each else "relative energy" for each in by_energy]


def _scale_of_data(players: TrainedPlayers, parts: Iterator[Pictures]) -> tuple[Scale, list[Pictures]]:
    """The scale of the run's data, or where they are gone, of the first pictures, which are then returned."""
    first: list[Pictures] = []
    try:
        images = open_dataset(players.run.config, place=players.run.place).split("train")
        pictures = images.batch(random_places(len(images), REFERENCE, 0, "scale of scores"))
    except UsageError:
        while sum(map(len, first)) < REFERENCE and (part := next(parts, None)) is not None:
            first.append(part)
        pictures = torch.cat([part.pixels for part in first])
    return Scale.of(score_pictures(players, pictures), energies=players.encodes), first


class _Extreme:
    """The pictures of the highest values, so that not all need be in memory; of equal ones those of lower numbers."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.heap: list[tuple[float, int, Tensor]] = []  # the lowest value first

    def offer(self, value: float, number: int, picture: Tensor) -> None:
        entry = (value, -number, picture)
        if len(self.heap) < self.count:
            heapq.heappush(self.heap, entry)
        elif entry[:2] > self.heap[0][:2]:
            heapq.heapreplace(self.heap, entry)

    def pictures(self) -> Tensor:
        return torch.stack([entry[2] for entry in sorted(self.heap, key=lambda entry: entry[:2], reverse=True)])


class _Copies:
    """Which pictures are the same, pixel by pixel, and the first of each that is there again."""

    def __init__(self) -> None:
        self.digests: list[int] = []
        self.first: dict[int, str] = {}
        self.again: dict[int, Tensor] = {}

    def add(self, name: str, picture: Tensor) -> None:
        digest = content_digest(picture.numpy())
        if digest in self.first and len(self.again) < MOST_COPIED:
            self.again.setdefault(digest, picture)
        self.first.setdefault(digest, name)
        self.digests.append(digest)

    def counts(self) -> NDArray[np.int64]:
        """How often each picture is there, (N,)."""
        counts = Counter(self.digests)
        return np.array([counts[digest] for digest in self.digests])

    def most(self, count: int) -> tuple[list[tuple[str, int]], Tensor]:
        """Names, numbers of copies and pictures of those that are there most often, `count` at most."""
        counts = Counter(digest for digest in self.digests if digest in self.again)
        most = counts.most_common(count)
        pictures = [self.again[digest] for digest, _ in most]
        named = [(self.first[digest], number) for digest, number in most]
        return named, torch.stack(pictures) if pictures else torch.empty(0, dtype=torch.uint8)
