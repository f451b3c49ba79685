"""Latents to pictures: draw samples from a run."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from equipoise.data import to_uint8
from equipoise.errors import UsageError
from equipoise.pictures import grid
from equipoise.randomness import keyed, latents
from equipoise.run import Run

AT_ONCE = 64


@torch.inference_mode()
def sample(run: Run, count: int, *, seed: int = 0, ema: bool = True) -> Tensor:
    """Draw images from a run's generator.

    The image at a position depends on the seed and the position alone: more samples only add to fewer.

    Args:
        run: a trained run.
        count: how many.
        seed: of the latents.
        ema: use the moving average of the weights.

    Returns:
        (count, C, H, W) uint8.

    Raises:
        UsageError: the run has no checkpoint that can be read.
    """
    generator = run.generator(ema=ema)
    size, prior = run.config.network.latent, run.config.prior

    def batches() -> Iterator[Tensor]:
        for start in range(0, count, AT_ONCE):
            z = latents(AT_ONCE, size, prior, keyed(seed, "sample", start))
            yield to_uint8(generator(z[: count - start]).images)

    return torch.cat(list(batches()))


def save_images(images: Tensor, out: Path) -> None:
    """Write (N, C, H, W) uint8 images as one grid (.png, .jpg), as an array (.npz), or as a folder of PNGs.

    Raises:
        UsageError: `out` cannot be written, or is a folder that already holds something.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix.lower() in {".png", ".jpg", ".jpeg"}:
            grid(images).save(out)
        elif out.suffix.lower() == ".npz":
            np.savez_compressed(out, images=images.numpy())
        elif out.suffix:
            raise UsageError(f"cannot write samples as {out.suffix}: use .png, .npz, or a folder's name")
        else:
            _save_folder(images, out)
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror or error}") from error


def _save_folder(images: Tensor, out: Path) -> None:
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty: choose another --out")
    out.mkdir(exist_ok=True)
    digits = len(str(len(images) - 1))
    for number, image in enumerate(images):
        grid(image[None], gap=0, scale=1).save(out / f"{number:0{digits}d}.png")
