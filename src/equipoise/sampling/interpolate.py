"""Ways through latents: between pictures of one's own, or between drawn latents."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from equipoise.config.arguments import checked
from equipoise.config.messages import construct
from equipoise.config.numbers import Ends, Frames
from equipoise.data.packed.workers import ProgressCallback
from equipoise.devices import Device
from equipoise.errors import UsageError
from equipoise.isolation import isolated
from equipoise.latents.paths import PathKind, path
from equipoise.runs.run import Run
from equipoise.sampling.invert import Inversion, Inverter, Search
from equipoise.sampling.pictures import Given, Named, PictureReader
from equipoise.sampling.players import TrainedPlayers, open_players
from equipoise.sampling.sample import check_labels


@dataclass(frozen=True)
class Interpolation:
    """Frames on a way through latents.

    Attributes:
        frames: (S, F, C, H, W) uint8, F frames a section; a section begins with the frame with which the one before
            ended.
        latents: (S, F, latent) float32.
        inversion: of the pictures between which the way leads, or None between drawn latents.
        one_step: (S, F, C, H, W) uint8, the frames between the latents of the encoder alone; None without an encoder,
            between drawn latents, and where the frames are these themselves (`fast`).
        loop: whether the last section leads back.
        spherical: whether along great circles.
    """

    frames: Tensor
    latents: Tensor
    inversion: Inversion | None
    one_step: Tensor | None
    loop: bool
    spherical: bool

    @property
    def film(self) -> Tensor:
        """All frames one after the other, (T, C, H, W) uint8, those where sections meet once."""
        later = self.frames[1:, 1:].flatten(0, 1)
        film = torch.cat([self.frames[0], later])
        return film[:-1] if self.loop else film


@checked
@isolated()
def interpolate(
    run: Run,
    images: Given | None = None,
    *,
    frames: Frames = 12,
    random: Ends = 0,
    loop: bool = False,
    along: PathKind = "auto",
    ema: bool = True,
    best: bool = False,
    at: int | None = None,
    device: Device = "auto",
    progress: ProgressCallback | None = None,
    **settings: Any,
) -> Interpolation:
    """Frames between pictures, each inverted first (as in BEGAN's paper, figure 4), or between drawn latents.

    Args:
        run: a trained run.
        images: two or more: files, folders or other data, by name; or uint8 pictures (N, C, H, W).
        frames: of a section, its two ends among them.
        random: number of drawn latents instead of pictures.
        loop: lead back to the first.
        along: linear, spherical, or auto: spherical where the prior is normal.
        ema: use the moving average of the generator's weights.
        best: use the checkpoint with the best score, instead of the last.
        at: use the checkpoint after so many images, give or take a batch.
        device: where to compute.
        progress: called with the pictures done, and of all.
        settings: of the search, the fields of `Search`; `label` is the class of all frames between drawn latents.

    Raises:
        UsageError: as `invert`; or fewer than two pictures, or pictures and `random` both.
    """
    images = [images] if isinstance(images, str | Path) else images
    _check_ends(images, random)
    search, players = construct(Search, settings), open_players(run, ema=ema, best=best, at=at, device=device)
    inversion = None
    if images is not None and len(images):
        pictures = PictureReader(run, players.shape).read_all(images)
        if len(pictures) < 2:
            raise UsageError(f"{pictures.names[0]} alone has no other end: give two or more pictures")
        inversion = Inverter(players, search)(pictures.names, pictures.pixels, progress)
    else:
        check_labels(None if search.label is None else torch.tensor([search.label]), players.classes)
    spherical = along == "spherical" or (along == "auto" and players.prior == "normal")

    def between(points: Tensor, ends: Tensor | None) -> tuple[Tensor, Tensor]:
        """Frames and latents of the way through `points`, whose classes are `ends`."""
        latents = path(points, frames, spherical=spherical, loop=loop)
        made = players.pictures(latents.flatten(0, 1), _labels(players, latents, search.label, ends))
        return made.view(*latents.shape[:2], *players.shape), latents

    if inversion is None:
        made, latents = between(players.draw(random, "interpolate", search.seed).cpu(), None)
        return Interpolation(made, latents, None, None, loop, spherical)
    made, latents = between(inversion.latents, inversion.labels)
    encoded = inversion.one_step if inversion.searched else None
    one_step = None if encoded is None else between(encoded.latents, encoded.labels)[0]
    return Interpolation(made, latents, inversion, one_step, loop, spherical)


def _check_ends(images: Sequence[Named] | Tensor | np.ndarray | None, random: int) -> None:
    """Raise UsageError unless there are either pictures or drawn latents to go between."""
    if (images is None or not len(images)) == (random == 0):
        raise UsageError("give two or more pictures to go between, or --random 8 for drawn latents, and not both")
    if random == 1:
        raise UsageError("one latent has no other end: give --random 2 or more")


def _labels(players: TrainedPlayers, latents: Tensor, label: int | None, ends: Tensor | None) -> Tensor | None:
    """Class of each frame, (S * F,): that of the nearer end, which between drawn latents is the same everywhere."""
    if not players.classes:
        return None
    sections, frames = latents.shape[:2]
    if ends is None:
        return torch.full((sections * frames,), label or 0)
    ends = torch.cat([ends, ends[:1]])
    later = torch.arange(frames) >= frames / 2
    return torch.where(later, ends[1 : sections + 1, None], ends[:sections, None]).flatten()
