"""Directions of a run's latents: those in which its images change most, those of its data, and between two classes."""

import re
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from equipoise.config.arguments import checked
from equipoise.config.datasets import open_dataset
from equipoise.config.numbers import Seed
from equipoise.devices import Device
from equipoise.errors import UsageError, quoted
from equipoise.isolation import isolated
from equipoise.latents.principal import Directions, jacobian_directions, principal_directions
from equipoise.randomness import random_places
from equipoise.runs.run import Run
from equipoise.sampling.invert import Inverter, Search
from equipoise.sampling.players import TrainedPlayers, open_players

Kind = Literal["jacobian", "data"]
"""Directions in which images change most, on average, or in which the data's latents vary most."""

POINTS = 32  # latents at which the Jacobian is taken
ENCODED, SEARCHED = 2_000, 200  # images of the data whose latents are taken, by the encoder or by a search
STEPS = 100  # of that search


@checked
@isolated()
def directions(
    run: Run,
    kind: Kind = "jacobian",
    *,
    ema: bool = True,
    best: bool = False,
    at: int | None = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> Directions:
    """Orthogonal directions of a run's latents, the strongest first.

    Args:
        run: a trained run.
        kind: `jacobian`: eigenvectors of the mean of J^T J over drawn latents, J the generator's Jacobian. `data`:
            principal components of the latents of the run's own images, which the discriminator's encoder gives, or
            where there is none, a search.
        ema: use the moving average of the generator's weights.
        best: use the checkpoint with the best score, instead of the last.
        at: use the checkpoint after so many images, give or take a batch.
        seed: of the latents drawn.
        device: where to compute.

    Raises:
        UsageError: the run is on a toy or fills in images, or its data are gone.
    """
    return directions_of(open_players(run, ema=ema, best=best, at=at, device=device), kind, seed)


def directions_of(players: TrainedPlayers, kind: Kind, seed: int = 0) -> Directions:
    """`directions` of players that are open; on the CPU."""
    if kind == "data":
        latents, _ = data_latents(players, seed)
        return principal_directions(latents)
    z = players.draw(POINTS, "jacobian", seed)
    labels = torch.arange(POINTS, device=z.device) % max(1, players.classes)
    # In full precision, as the directions are those of small differences.
    return jacobian_directions(lambda z: players.generate(z, labels, exact=True), z)


def class_direction(players: TrainedPlayers, a: int, b: int, seed: int = 0) -> Directions:
    """The direction from the data's class a to class b: the difference of their mean latents, as its strength too.

    Raises:
        UsageError: the classes are one, the data have no labels, or no images of a class.
    """
    if a == b:
        raise UsageError(f"from class {a} to itself there is no direction: name two classes, as in 3:7")
    latents, labels = data_latents(players, seed, (a, b))
    difference = latents[labels == b].mean(dim=0) - latents[labels == a].mean(dim=0)
    length = difference.norm().clamp_min(1e-30)
    return Directions((difference / length)[None], length[None])


def data_latents(players: TrainedPlayers, seed: int, classes: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
    """Latents (N, latent) of the images that a run was trained on, or of those of some classes, and their labels."""
    run = players.run
    images = open_dataset(run.config, place=run.place).split("train")
    labels = np.zeros(len(images), np.int64) if images.labels is None else images.labels
    count = ENCODED if players.encodes else SEARCHED
    if classes and images.labels is None:
        raise UsageError(f"{run.config.data} has no labels: name a direction by its number, such as --direction 0")
    chosen: list[int] = []
    for label in classes:
        members = np.flatnonzero(labels == label)
        if not len(members):
            known = f"classes 0 to {images.classes - 1}"
            raise UsageError(f"{run.config.data} has {known}, and no images of {label} to train on: choose others")
        chosen += members[random_places(len(members), count // 2, seed, f"class {label}")].tolist()
    places = np.array(chosen) if classes else random_places(len(images), count, seed, "directions").numpy()
    inverter = Inverter(players, Search(fast=players.encodes, steps=STEPS, starts=1, seed=seed))
    pictures = images.batch(places)
    return inverter([""] * len(pictures), pictures).latents, torch.from_numpy(labels[places])


def parse_directions(text: str) -> list[int | tuple[int, int]]:
    """Directions by name: numbers from 0, or two classes as in 3:7, with commas between.

    Raises:
        UsageError: it is neither.
    """
    named: list[int | tuple[int, int]] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?::(\d{1,9}))?\s*", part)
        if match is None:
            raise UsageError(
                f"{quoted(text)} names no directions: give numbers such as 0,1,2, or two classes as in 3:7"
            )
        named.append(int(match[1]) if match[2] is None else (int(match[1]), int(match[2])))
    return named
