"""Samples written to a grid, an array or a folder of pictures; a toy's points to a scatter or an array."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from torch import Tensor

from equipoise.errors import UsageError
from equipoise.runs.run import Run
from equipoise.sampling.load import load_discriminator
from equipoise.views.figures import grid
from equipoise.views.toy_scatter import realness_score, toy_scatter

PICTURES = {".png", ".jpg", ".jpeg"}


def save_samples(samples: Tensor, out: Path, run: Run) -> None:
    """Write a run's samples: uint8 images as `save_images` does, or a toy's points as `save_points` does.

    Raises:
        UsageError: `out` cannot be written.
    """
    if run.config.toy:
        save_points(samples, out, run)
    else:
        save_images(samples, out)


def save_images(images: Tensor, out: Path) -> None:
    """Write (N, C, H, W) uint8 images as one grid (.png, .jpg), as an array (.npz), or as a folder of PNGs.

    Raises:
        UsageError: `out` cannot be written, or is a folder that already holds something.
    """
    with _writing(out):
        if out.suffix.lower() in PICTURES:
            grid(images).save(out)
        elif out.suffix.lower() == ".npz":
            np.savez_compressed(out, images=images.numpy())
        elif out.suffix:
            raise UsageError(f"cannot write samples as {out.suffix}: use .png, .npz, or a folder's name")
        elif out.exists() and any(out.iterdir()):
            raise UsageError(f"{out} is not empty: choose another --out")
        else:
            out.mkdir(exist_ok=True)
            digits = len(str(len(images) - 1))
            for number, image in enumerate(images):
                grid(image[None], gap=0, scale=1).save(out / f"{number:0{digits}d}.png")


def save_points(points: Tensor, out: Path, run: Run) -> None:
    """Write a toy run's points (N, 2, 1, 1) as an array (.npz), or as a scatter over its data and D's landscape (.png).

    Raises:
        UsageError: `out` cannot be written.
    """
    flat, toy = points.flatten(1), run.config.toy
    assert toy is not None, "a run on a toy"  # noqa: S101
    with _writing(out):
        if out.suffix.lower() in PICTURES:
            toy_scatter(toy, flat, realness_score(load_discriminator(run), run.config.objective)).save(out)
        elif out.suffix.lower() == ".npz":
            np.savez_compressed(out, points=flat.numpy())
        else:
            raise UsageError(f"cannot write points as {out.suffix or 'a folder'}: use .png or .npz")


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Make the folder that `out` is to lie in; inside, what the disk refuses becomes one sentence."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror or error}") from error
