"""Multi-scale structural similarity, and diversity as the lack of it."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.errors import UsageError
from equipoise.metrics.base import Estimate, require
from equipoise.randomness import keyed_generator

WINDOW, SIGMA = 11, 1.5  # of the Gaussian that local means are taken with, in pixels
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, finest first
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
AT_ONCE = 2**20  # values in float64 at once, an image


def scales(height: int, width: int) -> int:
    """How many scales images of this size have: 5 from 176 pixels a side on, 3 for 64, 2 for 28, none below 11."""
    return sum(min(height, width) >> scale >= WINDOW for scale in range(len(WEIGHTS)))


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Multi-scale structural similarity of pairs (Wang, Simoncelli and Bovik, 2003), a mean over channels.

    Images too small for the published five scales are compared at fewer, with those weights scaled to sum to 1.
    Negative structure counts as 0, as in the implementations of TensorFlow and torchmetrics.

    Args:
        a: (N, C, H, W), values in [0, 255], 11 pixels a side or more.
        b: likewise.

    Returns:
        (N,) float64 in [0, 1]; 1 for equal images.

    Raises:
        UsageError: the images are too small.
    """
    count = scales(*a.shape[-2:])
    if not count:
        raise UsageError(f"ms-ssim needs images of {WINDOW} x {WINDOW} pixels or more: leave it out")
    weights = torch.tensor(WEIGHTS[:count], dtype=torch.float64)
    step = max(1, AT_ONCE // a[0].numel())
    parts = [
        _factors(x.double(), y.double(), count) for x, y in zip(torch.split(a, step), torch.split(b, step), strict=True)
    ]
    return (torch.cat(parts) ** (weights / weights.sum())).prod(dim=1)


def _factors(a: Tensor, b: Tensor, count: int) -> Tensor:
    """Contrast and structure at each scale, at the last one times luminance; (n, count), 0 or more."""
    factors = []
    for scale in range(count):
        structure, whole = _ssim(a, b)
        factors.append((whole if scale == count - 1 else structure).clamp(min=0))
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return torch.stack(factors, dim=1)


def _ssim(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Contrast times structure, and that times luminance, each a mean over channels and places (n,)."""
    mean_a, mean_b = _local_mean(a), _local_mean(b)
    variances = _local_mean(a * a) + _local_mean(b * b) - mean_a**2 - mean_b**2
    covariance = _local_mean(a * b) - mean_a * mean_b
    structure = (2 * covariance + C2) / (variances + C2)
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return structure.mean(dim=(1, 2, 3)), (structure * luminance).mean(dim=(1, 2, 3))


def _local_mean(images: Tensor) -> Tensor:
    """The Gaussian-weighted mean of every window that lies within the image."""
    offsets = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    weights = (-((offsets / SIGMA) ** 2) / 2).exp()
    weights = weights / weights.sum()
    planes = images.flatten(0, 1)[:, None]
    means = F.conv2d(F.conv2d(planes, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))
    return means.view(*images.shape[:2], *means.shape[2:])


def ms_ssim_diversity(images: Tensor, *, seed: int = 0) -> Estimate:
    """Mean similarity of images that are paired at random, each used once (Odena et al., 2017, arXiv:1610.09585, 4.2).

    Args:
        images: (N, C, H, W) uint8.
        seed: of the pairing.

    Returns:
        The mean and the spread over N // 2 pairs. Less is more diverse; real images' own value is the one to reach.

    Raises:
        UsageError: there are fewer than two images, or they are too small.
    """
    require("ms-ssim", 2, len(images))
    order = torch.randperm(len(images), generator=keyed_generator(seed, "pairs"))[: len(images) // 2 * 2]
    return Estimate.of(ms_ssim(images[order[0::2]], images[order[1::2]]))


def diversity(images: Tensor) -> float:
    """Mean distance between two different images of (N, C, H, W), root mean square over their values; N >= 2."""
    flat = images.flatten(1).double()
    distances = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")
    count = len(flat)
    return float(distances.sum() / (count * (count - 1)) / math.sqrt(flat.shape[1]))
