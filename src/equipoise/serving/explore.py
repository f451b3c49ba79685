"""What takes longer than a picture: players with their encoder, directions, the training images nearest to one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from equipoise.config.datasets import open_dataset
from equipoise.data import to_uint8
from equipoise.devices import Device
from equipoise.errors import UsageError
from equipoise.metrics.distances import distance_blocks
from equipoise.randomness import random_places
from equipoise.runs.run import Run
from equipoise.sampling.directions import directions_of
from equipoise.sampling.invert import Inverter, Search
from equipoise.sampling.players import TrainedPlayers, open_players
from equipoise.sampling.reconstruct import energy_maps
from equipoise.sampling.traverse import REACH
from equipoise.serving.models import Checkpoint
from equipoise.views.captions import heat_map

DIRECTIONS = 8  # of the strongest
SEARCH = Search(steps=150, starts=4)  # from the encoder's latent too, where there is one
TYPICAL = 256  # training images whose energies say what is usual
TRAINING_IMAGES, TRAINING_BYTES = 10_000, 2**28  # among which near ones are looked for
HELD_OUT = 256  # images that say how near a new one usually is
NEAREST = 6


@dataclass(frozen=True, eq=False)
class Explorer:
    """Players of a checkpoint, and what was learnt to go from pictures to latents.

    Attributes:
        players: of the run.
        inverter: from pictures to latents.
        typical: median and 95th percentile of the training images' energies; None where there are none.
    """

    players: TrainedPlayers
    inverter: Inverter
    typical: dict[str, float] | None

    @property
    def size(self) -> int:
        """Bytes of the weights."""
        networks = filter(None, (self.players.generator, self.players.trained_discriminator))
        return sum(each.numel() * each.element_size() for network in networks for each in network.state_dict().values())


def players_of(run: Run, checkpoint: Checkpoint, device: Device) -> TrainedPlayers:
    """Both players of a checkpoint.

    Raises:
        UsageError: they cannot be opened.
    """
    at = None if checkpoint.best else checkpoint.at
    return open_players(run, ema=checkpoint.ema, best=checkpoint.best, at=at, device=device)


def open_explorer(run: Run, checkpoint: Checkpoint, device: Device) -> Explorer:
    """Open players, and learn the way from pictures to latents.

    Raises:
        UsageError: they cannot be opened.
    """
    players = players_of(run, checkpoint, device)
    return Explorer(players, Inverter(players, SEARCH), _typical_energies(players) if players.encodes else None)


def _typical_energies(players: TrainedPlayers) -> dict[str, float] | None:
    try:
        images = open_dataset(players.run.config, place=players.run.place).split("train")
    except UsageError:  # the data have gone
        return None
    pictures = images.batch(random_places(len(images), TYPICAL, 0, "typical energies"))
    parts = [
        energy_maps(players, players.on_device(part))[1].flatten(1).mean(dim=1) for part in torch.split(pictures, 64)
    ]
    energies = torch.cat(parts).double()
    return {"median": energies.median().item(), "p95": energies.quantile(0.95).item()}


def invert_picture(explorer: Explorer, picture: Tensor) -> dict[str, Any]:
    """The latent of a picture (1, C, H, W) uint8, and what both players make of it; pictures are (C, H, W) uint8."""
    players = explorer.players
    found = explorer.inverter(["picture"], picture)
    answer: dict[str, Any] = {
        "latent": found.latents[0].tolist(),
        "label": None if found.labels is None else int(found.labels[0]),
        "residue": float(found.residues[0]),
        "image": found.reconstructions[0],
        "original": picture[0],
        "typical": explorer.typical,
    }
    if players.encodes:
        made, energies = energy_maps(players, players.on_device(picture))
        # As bright as the most usual pictures' brightest places would be, so that two maps can be compared.
        highest = max(float(energies.quantile(0.995)), 4 * (explorer.typical or {"p95": 0.0})["p95"])
        answer |= {
            "reconstruction": to_uint8(made[0]).cpu(),
            "energy_map": torch.from_numpy(heat_map(energies.cpu().numpy(), highest))[0],
            "energy": energies.double().mean().item(),
        }
    return answer


def strongest_directions(run: Run, checkpoint: Checkpoint, device: Device) -> list[dict[str, Any]]:
    """Directions in which a generator's images change most, the strongest first.

    Raises:
        UsageError: the players cannot be opened.
    """
    players = players_of(run, checkpoint, device)
    found, reach = directions_of(players, "jacobian"), REACH[players.prior]
    pairs = zip(found.vectors[:DIRECTIONS], found.strengths[:DIRECTIONS], strict=True)
    return [
        {
            "index": index,
            "name": f"direction {index + 1}",
            "vector": vector.tolist(),
            "strength": strength.item(),
            "range": [-reach, reach],
        }
        for index, (vector, strength) in enumerate(pairs)
    ]


@dataclass(frozen=True, eq=False)
class TrainingImages:
    """Training images of a run, all or randomly chosen ones.

    Attributes:
        pixels: (N, C, H, W) uint8.
        places: (N,) of each among all training images.
        usual_distance: median distance of held-out images to their nearest training image; None without held-out ones.
    """

    pixels: Tensor
    places: Tensor
    usual_distance: float | None


def training_images(run: Run) -> TrainingImages:
    """Read the training images of a run.

    Raises:
        UsageError: they are not there.
    """
    dataset = open_dataset(run.config, place=run.place)
    images = dataset.split("train")
    most = max(1, min(TRAINING_IMAGES, TRAINING_BYTES // int(np.prod(images.shape))))
    places = random_places(len(images), most, 0, "training images")
    pixels, held_out = images.batch(places), dataset.split("held-out")
    usual = None
    if len(held_out):
        queries = held_out.batch(random_places(len(held_out), HELD_OUT, 0, "usual distance"))
        usual = distances(queries, pixels).amin(dim=1).median().item()
    return TrainingImages(pixels, places, usual)


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Root mean squares of the differences of pictures (N, ...) and (M, ...) uint8, black to white being 1: (N, M)."""
    x, y = a.flatten(1).float() / 255, b.flatten(1)
    found = [torch.cat([block for _, block in distance_blocks(x, part.float() / 255)]) for part in torch.split(y, 1024)]
    return (torch.cat(found, dim=1) / x.shape[1]).sqrt()


def nearest_images(picture: Tensor, training: TrainingImages) -> list[dict[str, Any]]:
    """The training images nearest to a picture (1, C, H, W) uint8, the nearest first."""
    found = distances(picture, training.pixels)[0]
    order = found.argsort(stable=True)[:NEAREST].tolist()
    return [
        {"image": training.pixels[at], "distance": found[at].item(), "index": int(training.places[at])} for at in order
    ]


def real_images(run: Run, count: int) -> Tensor:
    """Training images (n, C, H, W) uint8, chosen at random.

    Raises:
        UsageError: they are not there.
    """
    images = open_dataset(run.config, place=run.place).split("train")
    return images.batch(random_places(len(images), count, 0, "real images"))
