"""Latents to pictures: draw samples from a run."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from equipoise.config import TrainConfig
from equipoise.data import to_uint8
from equipoise.errors import UsageError
from equipoise.pictures import grid
from equipoise.randomness import keyed, latents
from equipoise.run import Run

AT_ONCE = 64


def sample(run: Run, count: int, *, seed: int = 0, ema: bool = True, best: bool = False) -> Tensor:
    """Draw images from a run's generator.

    The image at a position depends on the seed and the position alone: more samples only add to fewer.

    Args:
        run: a trained run.
        count: how many.
        seed: of the latents.
        ema: use the moving average of the weights.
        best: use the checkpoint with the best score, instead of the last.

    Returns:
        (count, C, H, W) uint8.

    Raises:
        UsageError: the run has no checkpoint that can be read.
    """
    generator = run.generator(ema=ema, best=best)
    return torch.cat(list(drawn(generator, run.config, range(count), seed, torch.device("cpu"))))


@torch.inference_mode()
def drawn(
    generator: nn.Module, config: TrainConfig, positions: range, seed: int, device: torch.device
) -> Iterator[Tensor]:
    """Draw the images at consecutive `positions`, some at a time: uint8 (n, C, H, W) on the CPU.

    Whole blocks are computed, so that the image at a position has the same bits whatever else is asked for.
    """
    for start in range(positions.start // AT_ONCE * AT_ONCE, positions.stop, AT_ONCE):
        z = latents(AT_ONCE, config.network.latent, config.prior, keyed(seed, "sample", start))
        dtype = next(generator.parameters()).dtype
        images = to_uint8(generator(z.to(device, dtype)).images).cpu()
        yield images[max(0, positions.start - start) : positions.stop - start]


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
