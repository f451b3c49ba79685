"""Samples written to a grid, an array or a folder of pictures; a toy's points to a scatter or an array."""

from pathlib import Path

import numpy as np
from torch import Tensor

from equipoise.runs.files import PICTURES, check_kind, file_where_asked, folder_where_asked, save_picture
from equipoise.runs.run import Run
from equipoise.sampling.load import load_discriminator
from equipoise.views.figures import grid
from equipoise.views.toy_scatter import realness_score, toy_scatter

POINTS = (*PICTURES, ".npz")  # suffixes of what a toy's points are written to
IMAGES = (*POINTS, "")  # and of what images are, "" of a folder


def save_samples(samples: Tensor, out: Path, run: Run, *, best: bool = False, at: int | None = None) -> None:
    """Write a run's samples: uint8 images as `save_images` does, or a toy's points as `save_points` does.

    Args:
        samples: as `sample` gives them.
        out: where to.
        run: whose they are.
        best: whether of the checkpoint with the best score, instead of the last.
        at: images seen by the checkpoint that they are of, if it is another.

    Raises:
        UsageError: `out` cannot be written.
    """
    if run.config.toy:
        save_points(samples, out, run, best=best, at=at)
    else:
        save_images(samples, out)


def save_images(images: Tensor, out: Path) -> None:
    """Write (N, C, H, W) uint8 images as one grid (.png, .jpg), as an array (.npz), or as a folder of PNGs.

    Raises:
        UsageError: `out` cannot be written, or is a folder that already holds something.
    """
    if out.suffix.lower() in PICTURES:
        save_picture(out, grid(images))
    elif out.suffix.lower() == ".npz":
        with file_where_asked(out) as file:
            np.savez_compressed(file, images=images.numpy())
    else:
        check_kind(out, "samples", IMAGES)
        _save_folder(images, out)


def save_points(points: Tensor, out: Path, run: Run, *, best: bool = False, at: int | None = None) -> None:
    """Write a toy run's points (N, 2, 1, 1) as an array (.npz), or as a scatter over its data and D's landscape (.png).

    Args:
        points: as `sample` gives them.
        out: where to.
        run: whose they are.
        best: as in `save_samples`.
        at: as in `save_samples`.

    Raises:
        UsageError: `out` cannot be written.
    """
    flat, toy = points.flatten(1), run.config.toy
    assert toy is not None, "a run on a toy"  # noqa: S101
    if out.suffix.lower() in PICTURES:
        save_picture(
            out, toy_scatter(toy, flat, realness_score(load_discriminator(run, best=best, at=at), run.config.objective))
        )
    elif out.suffix.lower() == ".npz":
        with file_where_asked(out) as file:
            np.savez_compressed(file, points=flat.numpy())
    else:
        check_kind(out, "points", POINTS)


def _save_folder(images: Tensor, out: Path) -> None:
    digits = len(str(len(images) - 1))
    with folder_where_asked(out) as folder:
        for number, image in enumerate(images):
            grid(image[None], gap=0, scale=1).save(folder / f"{number:0{digits}d}.png")
