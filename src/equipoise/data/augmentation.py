"""Differentiable augmentation: the discriminator sees all images, real and generated, after random changes.

Few images are soon known by heart. Changed at random they are many, and since generated images are changed alike and
the generator's gradient passes through the change, it learns to draw unchanged ones. Colour and translation are as in
Zhao et al. (2020), "Differentiable Augmentation for Data-Efficient GAN Training", arXiv:2006.10738, with their ranges;
scale is after Karras et al. (2020), "Training Generative Adversarial Networks with Limited Data", arXiv:2006.06676,
appendix B, who leave some of the images as they are, so that it stays clear which ones are unchanged.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from equipoise.randomness import Draws

Augmentation = Literal["colour", "scale", "translation"]

SHIFT = 8  # translations are by up to an eighth of a side
SIZE, RATIO = 0.3, 0.2  # octaves by which an image becomes larger or smaller, and each side beside that
SCALED = 0.5  # share of the images that are scaled


def augment(images: Tensor, kinds: Sequence[Augmentation], draws: Draws, purpose: str) -> Tensor:
    """`images` after random changes, other ones for each image; differentiable.

    Args:
        images: (N, C, H, W) in [-1, 1].
        kinds: `colour` changes brightness, saturation and contrast, `scale` the size and the proportions of half of the
            images, `translation` moves images and repeats their edge.
        draws: source of the changes; there may be several images in succession for each of its rows.
        purpose: of the draws.
    """
    with torch.autocast(images.device.type, enabled=False):  # products with bf16 would round the images
        for kind in kinds:
            uniform = draws.uniform(f"{kind} of {purpose}", 3)
            uniform = uniform.repeat_interleave(len(images) // len(uniform), dim=0)
            images = CHANGES[kind](images, uniform)
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
        uniform: (N, 2 or more) in [0, 1), for rows and columns.
    """

    def places(side: int, share: Tensor) -> Tensor:
        reach = side // SHIFT
        shift = (share * (2 * reach + 1)).floor() - reach
        return (torch.arange(side, device=share.device) + shift[:, None]).clamp(0, side - 1)

    return _resample(images, *(places(side, uniform[:, axis]) for axis, side in enumerate(images.shape[2:])))


def scale(images: Tensor, uniform: Tensor) -> Tensor:
    """Make half of the images larger or smaller about their middle, and longer or wider, mirrored at their edge.

    The size changes by a factor from 2^-SIZE to 2^SIZE, and the height by another from 2^-RATIO to 2^RATIO, by whose
    inverse the width does.

    Args:
        images: (N, C, H, W).
        uniform: (N, 3) in [0, 1), for size, proportions, and whether anything changes.
    """
    size, ratio = (2 * uniform[:, :2] - 1).unbind(1)
    octaves = torch.stack([SIZE * size + RATIO * ratio, SIZE * size - RATIO * ratio])
    factors = torch.where(uniform[:, 2] < SCALED, octaves.exp2(), 1.0)  # (2, N)

    def places(side: int, factor: Tensor) -> Tensor:
        middle = side / 2
        centres = torch.arange(side, device=factor.device) + 0.5 - middle  # of pixels
        found = (centres / factor[:, None] + middle).abs()
        return (side - (side - found).abs() - 0.5).clamp(0, side - 1)

    return _resample(images, *(places(side, factor) for side, factor in zip(images.shape[2:], factors, strict=True)))


def _resample(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Images (N, C, H, W) filled from `rows` (N, H) and `columns` (N, W), by linear interpolation."""
    # As products with matrices, which for whole places are exact, and fast in both directions on every device, twice
    # differentiable, and always summed in one order; the gradient of indexing would be a scattered sum.
    down, right = (
        (1 - (places[:, :, None] - torch.arange(places.shape[1], device=places.device)).abs()).clamp_min(0)
        for places in (rows, columns)
    )
    moved = torch.einsum("nij,ncjk,nlk->ncil", down.to(images), images, right.to(images))
    # The products lay it out as they like; the discriminator's first and last layers are fast as images are else.
    return moved.contiguous(memory_format=torch.channels_last)


CHANGES: dict[Augmentation, Callable[[Tensor, Tensor], Tensor]] = {
    "colour": change_colour,
    "scale": scale,
    "translation": translate,
}
