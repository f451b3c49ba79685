"""What an autoencoder that was trained as a discriminator makes of pictures, and where it fails."""

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from equipoise.config.arguments import checked
from equipoise.data import to_uint8
from equipoise.devices import Device
from equipoise.errors import UsageError
from equipoise.isolation import isolated
from equipoise.networks.players import EnergyDiscriminator
from equipoise.runs.run import Run
from equipoise.sampling.pictures import Given, PictureReader
from equipoise.sampling.players import TrainedPlayers, open_players

BATCH = 64


@dataclass(frozen=True)
class Reconstruction:
    """Pictures beside their reconstructions by D.

    Attributes:
        names: of the pictures.
        originals: (N, C, H, W) uint8.
        reconstructions: (N, C, H, W) uint8.
        energy_maps: (N, H, W) float32, the energy of each pixel.
        energies: (N,) the mean of each map.
    """

    names: list[str]
    originals: Tensor
    reconstructions: Tensor
    energy_maps: Tensor
    energies: NDArray[np.float64]


@checked
@isolated()
def reconstruct(
    run: Run, images: Given, *, best: bool = False, at: int | None = None, device: Device = "auto"
) -> Reconstruction:
    """What a run's discriminator makes of pictures, where it is an autoencoder, and the energy of every pixel.

    Args:
        run: a trained run.
        images: files, folders or other data, by name; or uint8 pictures (N, C, H, W).
        best: use the checkpoint with the best score, instead of the last.
        at: use the checkpoint after so many images, give or take a batch.
        device: where to compute.

    Raises:
        UsageError: the discriminator is no autoencoder, the run is on a toy, or a picture cannot be used.
    """
    players = open_players(run, best=best, at=at, device=device)
    require_autoencoder(players)
    pictures = PictureReader(run, players.shape).read_all(images)
    made, maps = [], []
    for part in torch.split(pictures.pixels, BATCH):
        reconstruction, energy = energy_maps(players, players.on_device(part))
        made.append(to_uint8(reconstruction).cpu())
        maps.append(energy.cpu())
    energy_map = torch.cat(maps)
    energies = energy_map.double().flatten(1).mean(dim=1).numpy()
    return Reconstruction(pictures.names, pictures.pixels, torch.cat(made), energy_map, energies)


def require_autoencoder(players: TrainedPlayers) -> None:
    """Raise UsageError unless the run's discriminator is an autoencoder."""
    if not isinstance(players.discriminator, EnergyDiscriminator):
        raise UsageError(
            f"the discriminator of {players.run.path} is no autoencoder and reconstructs nothing: use `equipoise "
            "invert`, which works with every run, or train began, ebgan or magan"
        )


@torch.no_grad()
def energy_maps(players: TrainedPlayers, images: Tensor) -> tuple[Tensor, Tensor]:
    """Reconstructions (n, C, H, W), not clamped, and energies of the pixels (n, H, W), of images in [-1, 1]."""
    autoencoder, images = cast(EnergyDiscriminator, players.discriminator), images.to(players.dtype)
    made = autoencoder.reconstruct(images)
    return made.float(), autoencoder.energy_map(images - made).float()
