"""Patches from the levels of images' Laplacian pyramids: what the sliced Wasserstein distance looks at."""

import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.errors import UsageError
from equipoise.randomness import keyed_generator

SIDE = 7  # of a patch, in pixels
SMALLEST = 16  # side of the smallest level, in pixels
PER_IMAGE, IN_ALL = 128, 2**16  # patches at most, a level


def patches_per_image(total: int) -> int:
    """Patches to cut from each of `total` images: 128 as published, fewer where that would be more than 2^16 in all."""
    return max(1, min(PER_IMAGE, IN_ALL // total))


def laplacian_pyramid(images: Tensor) -> list[Tensor]:
    """Split (N, C, H, W) images into bands, finest first, each half as large; the last is what remains, blurred.

    Filters as in Burt and Adelson (1983), edges mirrored. In the arithmetic of `images`: bytes as float64 are exact.
    """
    levels = []
    while min(images.shape[-2:]) > 2 * (SMALLEST - 1):
        smaller = _blur(images)[..., ::2, ::2]
        spread = torch.zeros_like(images)
        spread[..., ::2, ::2] = smaller
        levels.append(images - 4 * _blur(spread))
        images = smaller
    return [*levels, images]


def _blur(images: Tensor) -> Tensor:
    """Filter with (1, 4, 6, 4, 1) / 16 along both axes, by shifted sums that treat every image alike."""
    padded = F.pad(images, (2, 2, 2, 2), mode="reflect")
    height, width = images.shape[-2:]
    rows = _weighted([padded[..., y : y + height, :] for y in range(5)])
    return _weighted([rows[..., x : x + width] for x in range(5)])


def _weighted(parts: list[Tensor]) -> Tensor:
    a, b, c, d, e = parts
    return (a + e + 4 * (b + d) + 6 * c) / 16


def patches(images: Tensor, positions: list[int], count: int, seed: int) -> tuple[Tensor, ...]:
    """Cut 7 x 7 patches from every level, at places that depend on the seed and an image's position alone.

    Args:
        images: (n, C, H, W) uint8.
        positions: of the n images in their set.
        count: patches an image and level.
        seed: of the places.

    Returns:
        For each level, finest first, (n * count, C, 7, 7) float32.

    Raises:
        UsageError: the images are smaller than a patch.
    """
    if min(images.shape[-2:]) < SIDE:
        raise UsageError(f"sliced-wasserstein needs images of {SIDE} x {SIDE} pixels or more: leave it out")
    levels = laplacian_pyramid(images.double())
    return tuple(
        torch.cat(
            [
                torch.empty(0, level.shape[1], SIDE, SIDE),
                *(
                    _cut(image, count, keyed_generator(seed, f"patches {depth}", at))
                    for image, at in zip(level, positions, strict=True)
                ),
            ]
        )
        for depth, level in enumerate(levels)
    )


def _cut(image: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(C, H, W) -> (count, C, 7, 7)."""
    windows = image.unfold(1, SIDE, 1).unfold(2, SIDE, 1)  # (C, rows, columns, 7, 7), a view
    y = torch.randint(windows.shape[1], (count,), generator=generator)
    x = torch.randint(windows.shape[2], (count,), generator=generator)
    return windows[:, y, x].transpose(0, 1).float()
