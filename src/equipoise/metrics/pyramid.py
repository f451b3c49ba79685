"""Patches from the levels of images' Laplacian pyramids, which the sliced Wasserstein distance compares."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.errors import UsageError
from equipoise.randomness import keyed_generator

SIDE = 7  # of a patch, in pixels
VALUES = 2**20  # of images in float64 at once
SMALLEST = 16  # side of the smallest level, in pixels


def patches_per_image(total: int, limit: int = 128, total_limit: int = 2**16) -> int:
    """Number of patches to cut from each of `total` images: `limit`, or fewer to keep below `total_limit` in all."""
    return max(1, min(limit, total_limit // total))


def laplacian_pyramid(images: Tensor) -> list[Tensor]:
    """Bands of (N, C, H, W) images, finest first, each half as large; the last is what remains, blurred.

    Filters as in Burt and Adelson (1983), "The Laplacian pyramid as a compact image code", edges mirrored. In the
    arithmetic of `images`: of bytes as float64 it is exact.
    """
    levels = []
    while min(images.shape[-2:]) > 2 * (SMALLEST - 1):
        smaller = _blur(images)[..., ::2, ::2]
        # Upsampling: zeros between the pixels, blurred, times 4, for three of four pixels are zeros.
        spread = torch.zeros_like(images)
        spread[..., ::2, ::2] = smaller
        levels.append(images - 4 * _blur(spread))
        images = smaller
    return [*levels, images]


def _blur(images: Tensor) -> Tensor:
    """Filter with (1, 4, 6, 4, 1) / 16 along both axes.

    By shifted sums and not a convolution, which rounds an image differently in batches of another size.
    """
    padded = F.pad(images, (2, 2, 2, 2), mode="reflect")
    height, width = images.shape[-2:]
    rows = _binomial([padded[..., y : y + height, :] for y in range(5)])
    return _binomial([rows[..., x : x + width] for x in range(5)])


def _binomial(shifted: list[Tensor]) -> Tensor:
    a, b, c, d, e = shifted
    return (a + e + 4 * (b + d) + 6 * c) / 16


def patches(images: Tensor, positions: list[int], count: int, seed: int) -> tuple[Tensor, ...]:
    """Patches of 7 x 7 pixels from every level, at places that depend on the seed and an image's position alone.

    Args:
        images: (n, C, H, W) uint8.
        positions: of the n images in their set.
        count: number of patches an image and level.
        seed: of the places.

    Returns:
        For each level, finest first, (n * count, C, 7, 7) float32.

    Raises:
        UsageError: the images are smaller than a patch.
    """
    if min(images.shape[-2:]) < SIDE:
        raise UsageError(f"sliced-wasserstein needs images of {SIDE} x {SIDE} pixels or more: leave it out")
    size = max(1, VALUES // max(1, math.prod(images.shape[1:])))  # of a pyramid every value takes 65 bytes
    parts = [
        _cut(images[start : start + size], positions[start : start + size], count, seed)
        for start in range(0, max(1, len(images)), size)  # no images give no patches, of the right shape
    ]
    return tuple(map(torch.cat, zip(*parts, strict=True)))


def _cut(images: Tensor, positions: list[int], count: int, seed: int) -> list[Tensor]:
    """The patches of a few images, as `patches` returns them."""
    levels = []
    for depth, level in enumerate(laplacian_pyramid(images.double())):
        cut = [torch.empty(0, level.shape[1], SIDE, SIDE)]
        for image, position in zip(level, positions, strict=True):
            generator = keyed_generator(seed, f"patches {depth}", position)
            everywhere = image.unfold(1, SIDE, 1).unfold(2, SIDE, 1)  # (C, rows, columns, 7, 7), a view
            y = torch.randint(everywhere.shape[1], (count,), generator=generator)
            x = torch.randint(everywhere.shape[2], (count,), generator=generator)
            cut.append(everywhere[:, y, x].transpose(0, 1).float())
        levels.append(torch.cat(cut))
    return levels
