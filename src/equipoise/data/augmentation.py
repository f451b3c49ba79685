"""Differentiable augmentation: the discriminator sees all images, real and generated, after random changes.

Few images are soon known by heart. Changed at random they are many, and since generated images are changed alike and
the generator's gradient passes through the change, it learns to draw unchanged ones. Zhao et al. (2020),
"Differentiable Augmentation for Data-Efficient GAN Training", arXiv:2006.10738, with their ranges.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.randomness import Draws

Augmentation = Literal["colour", "translation"]

SHIFT = 8  # translations are by up to an eighth of a side


def augment(images: Tensor, kinds: Sequence[Augmentation], draws: Draws, purpose: str) -> Tensor:
    """`images` after random changes, other ones for each image; differentiable.

    Args:
        images: (N, C, H, W) in [-1, 1].
        kinds: `colour` changes brightness, saturation and contrast, `translation` moves images and repeats their edge.
        draws: source of the changes; there may be several images in succession for each of its rows.
        purpose: of the draws.
    """
    with torch.autocast(images.device.type, enabled=False):  # products with bf16 would round the images
        for kind in kinds:
            uniform = draws.uniform(f"{kind} of {purpose}", 3)
            uniform = uniform.repeat_interleave(len(images) // len(uniform), dim=0)
            images = change_colour(images, uniform) if kind == "colour" else translate(images, uniform[:, :2])
    return images


def change_colour(images: Tensor, uniform: Tensor) -> Tensor:
    """Change brightness by up to 0.5, saturation by a factor in [0, 2], and contrast by one in [0.5, 1.5].

    Args:
        images: (N, C, H, W).
        uniform: (N, 3) in [0, 1).
    """
    brightness, saturation, contrast = uniform[:, :, None, None, None].unbind(1)
    images = images + (brightness - 0.5)
    if images.shape[1] > 1:
        gray = images.mean(dim=1, keepdim=True)
        images = (images - gray) * (2 * saturation) + gray
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - mean) * (contrast + 0.5) + mean


def translate(images: Tensor, uniform: Tensor) -> Tensor:
    """Move each image by whole pixels, up to an eighth of each side, and fill with its edge.

    Args:
        images: (N, C, H, W).
        uniform: (N, 2) in [0, 1), for rows and columns.
    """
    down, right = (_selection(side, share) for side, share in zip(images.shape[2:], uniform.unbind(1), strict=True))
    # As products with rows of a single 1, which are exact, and fast in both directions on every device; the gradient
    # of indexing would be a scattered sum.
    moved = torch.einsum("nij,ncjk,nlk->ncil", down.to(images), images, right.to(images))
    # The products lay it out as they like; the discriminator's first and last layers are fast as images are else.
    return moved.contiguous(memory_format=torch.channels_last)


def _selection(side: int, uniform: Tensor) -> Tensor:
    """(N, side, side): in row i a 1 at the place from which i is filled."""
    reach = side // SHIFT
    shift = (uniform * (2 * reach + 1)).floor().long() - reach
    places = (torch.arange(side, device=uniform.device) + shift[:, None]).clamp(0, side - 1)
    return F.one_hot(places, side)
