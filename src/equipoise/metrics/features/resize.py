"""Resizing of images on their way into an extractor, each kernel as that extractor was trained with it.

Kernels differ enough to change FID by several points (Parmar, Zhang and Zhu, 2022, arXiv:2104.11222), so a score's
protocol names its own.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # of R, G and B, ITU-R BT.601


def rgb(images: Tensor) -> Tensor:
    """Bring uint8 (N, 1 or 3, H, W) to float32 (N, 3, H, W) in [0, 255]; gray is repeated."""
    return images.expand(-1, 3, -1, -1).float()


def gray(images: Tensor) -> Tensor:
    """Bring uint8 (N, 1 or 3, H, W) to float32 (N, 1, H, W) in [0, 255]; colour becomes its luma."""
    if images.shape[1] == 1:
        return images.float()
    weights = torch.tensor(LUMA, device=images.device)
    return (images.float() * weights[:, None, None]).sum(dim=1, keepdim=True)


def bicubic(images: Tensor, size: int) -> Tensor:
    """Resize float (N, C, H, W) in [0, 255] to (N, C, size, size), clamped: bicubic (a = -0.5), with antialias.

    As Pillow does, but for its rounding to whole values. Bicubic weights can be negative, and overshoot at edges: hence
    the clamp.
    """
    if images.shape[2:] == (size, size):
        return images
    resized = F.interpolate(images, size=(size, size), mode="bicubic", antialias=True, align_corners=False)
    return resized.clamp(0.0, 255.0)


def area(images: Tensor, height: int, width: int) -> Tensor:
    """Shrink float (N, C, H, W) to (N, C, height, width): a new pixel is the mean of the area that it covers."""
    # The mean over a rectangle is separable: two small matrices, for any ratio of sizes.
    down, across = (
        _coverage(old, new, images.device) for old, new in zip(images.shape[2:], (height, width), strict=True)
    )
    return down @ images @ across.T


def tensorflow_bilinear(images: Tensor, size: int) -> Tensor:
    """Resize float (N, C, H, W) to (N, C, size, size) as TensorFlow 1 did: bilinear, without antialias.

    New pixel i is read at i * H / size, not at the centres' (i + 1/2) * H / size - 1/2, so the picture moves a little:
    a flaw that TensorFlow 2 does not have, but published figures of FID rest on it.
    """
    (upper, lower, down), (left, right, across) = (_neighbours(old, size, images.device) for old in images.shape[2:])
    wide = _interpolate(images[..., left], images[..., right], across)
    return _interpolate(wide[..., upper, :], wide[..., lower, :], down[:, None])


def _coverage(old: int, new: int, device: torch.device) -> Tensor:
    """Share of each old pixel in the mean that is each new one: (new, old) float32, rows summing to 1."""
    edges = torch.arange(new + 1, dtype=torch.float64) * (old / new)
    starts = torch.arange(old, dtype=torch.float64)
    ends = torch.minimum(edges[1:, None], starts + 1)
    overlap = (ends - torch.maximum(edges[:-1, None], starts)).clamp_min(0.0)
    return (overlap * (new / old)).float().to(device)


def _neighbours(old: int, new: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each new pixel the two old ones that it lies between, and its place from the first (0) to the second (1)."""
    place = torch.arange(new, dtype=torch.float32, device=device) * (old / new)
    first = place.long().clamp_max(old - 1)
    return first, (first + 1).clamp_max(old - 1), place - first


def _interpolate(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    return first + (second - first) * weight
