"""Latents that move step by step along single dimensions or directions, for a look at what each does."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.config.arguments import checked
from equipoise.config.numbers import Count, CountOrZero, Frames, Reach, Seed
from equipoise.devices import Device
from equipoise.errors import UsageError
from equipoise.isolation import isolated
from equipoise.latents.edits import Latents, check_length, checked_latents, edit, moved_along
from equipoise.runs.run import Run
from equipoise.sampling.directions import Kind, class_direction, directions_of
from equipoise.sampling.players import TrainedPlayers, open_players
from equipoise.sampling.sample import check_labels, draw_latents, whole_labels

REACH = {"uniform": 1.0, "normal": 3.0}  # how far to either side a traversal goes, by prior


@dataclass(frozen=True)
class Traversal:
    """Images along some directions, one a row.

    Attributes:
        images: (R, F, C, H, W) uint8, all directions of the first latent, then those of the next.
        latents: (R, F, latent) float32.
        names: of the R rows.
        steps: (F,) positions along each direction.
    """

    images: Tensor
    latents: Tensor
    names: list[str]
    steps: Tensor


@checked
@isolated()
def traverse(
    run: Run,
    dimensions: Sequence[int] = (),
    *,
    along: Sequence[int | tuple[int, int]] = (),
    kind: Kind = "jacobian",
    frames: Frames = 9,
    reach: Reach | None = None,
    count: Count = 1,
    latents: Latents | None = None,
    truncate: float = 1.0,
    label: CountOrZero | None = None,
    labels: Tensor | None = None,
    seed: Seed = 0,
    ema: bool = True,
    best: bool = False,
    at: int | None = None,
    device: Device = "auto",
) -> Traversal:
    """Images as a latent moves along single dimensions, and along directions.

    The latent's part along a direction is replaced by each of `frames` positions from -`reach` to `reach`; all else of
    it stays.

    Args:
        run: a trained run.
        dimensions: of the latents.
        along: numbers of `directions(run, kind)`, or pairs of classes (a, b), whose direction leads from the data's
            class a to class b.
        kind: of the directions that are numbers.
        frames: positions a row.
        reach: how far to either side, in units of the latents; by default 1 where the prior is uniform, else 3.
        count: number of latents from which to start, those of the first images of `sample`.
        latents: (N, latent) to start from instead; an array too.
        truncate: factor by which these are drawn nearer to the mean first, where the prior is normal.
        label: class of the images, where the run makes images of a class; by default 0.
        labels: (N,) a class for each of the `latents` instead.
        seed: of the latent, and of those on which directions rest.
        ema: use the moving average of the generator's weights.
        best: use the checkpoint with the best score, instead of the last.
        at: use the checkpoint after so many images, give or take a batch.
        device: where to compute.

    Raises:
        UsageError: there is no such dimension, direction or class, or a number is out of bounds.
    """
    farthest = REACH[run.config.prior] if reach is None else reach
    if not (dimensions or along):
        raise UsageError("name what is to move: dimensions such as 0,1,2, or directions")
    players = open_players(run, ema=ema, best=best, at=at, device=device)
    starts = draw_latents(run.config, seed, count) if latents is None else checked_latents(latents, "latents")
    check_length(starts, players.latent)
    image_classes = _classes_of(len(starts), (len(dimensions) + len(along)) * frames, label, labels, players.classes)
    starts = edit(starts, players.prior, values={}, truncate=truncate)
    steps = torch.linspace(-farthest, farthest, frames)
    named = list(_vectors(players, dimensions, along, kind, seed))
    moved = torch.stack([moved_along(start, vector, steps) for start in starts for _, vector in named])
    moved = moved.clamp(-1, 1) if players.prior == "uniform" else moved  # a normal one may go farther than usual
    images = players.pictures(moved.flatten(0, 1), image_classes).view(*moved.shape[:2], *players.shape)
    return Traversal(images, moved, _row_names([name for name, _ in named], len(starts)), steps)


def _classes_of(starts: int, times: int, label: int | None, labels: Tensor | None, classes: int) -> Tensor | None:
    """The class (starts * times,) of each image, by default 0; None of a generator that makes images of no `classes`.

    Raises:
        UsageError: there is no such class, or `labels` are not one a latent.
    """
    labels = None if labels is None else whole_labels(labels, starts, "latent")
    if labels is None and (classes or label is not None):
        labels = torch.full((starts,), label or 0)
    check_labels(labels, classes)
    return None if labels is None else labels.repeat_interleave(times)


def _row_names(moves: Sequence[str], starts: int) -> list[str]:
    """Names of the rows: every move from the first latent, from the second, ..; numbered if there are several."""
    numbers = [f", #{number}" if starts > 1 else "" for number in range(starts)]
    return [f"{name}{number}" for number in numbers for name in moves]


def _vectors(
    players: TrainedPlayers,
    dimensions: Sequence[int],
    along: Sequence[int | tuple[int, int]],
    kind: Kind,
    seed: int,
) -> Iterator[tuple[str, Tensor]]:
    """Name and vector (latent,), of length 1, of each dimension and direction."""
    for dimension in dimensions:
        if not 0 <= dimension < players.latent:
            raise UsageError(f"the latents have dimensions 0 to {players.latent - 1}, not {dimension}")
        yield f"z[{dimension}]", torch.eye(players.latent)[dimension]
    numbered = directions_of(players, kind, seed).vectors if any(isinstance(each, int) for each in along) else None
    for each in along:
        if isinstance(each, tuple):
            yield f"class {each[0]} to {each[1]}", class_direction(players, *each, seed).vectors[0]
            continue
        assert numbered is not None  # noqa: S101
        if not 0 <= each < len(numbered):
            raise UsageError(f"there are directions 0 to {len(numbered) - 1}, not {each}")
        yield f"{kind} {each}", numbered[each]
