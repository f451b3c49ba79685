"""Multi-scale structural similarity (MS-SSIM), and diversity as the lack of it.

Wang, Simoncelli and Bovik (2003), "Multiscale structural similarity for image quality assessment"; between samples, as
in Odena et al. (2017), arXiv:1610.09585.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.errors import UsageError
from equipoise.metrics.base import Estimate, MetricResult, require
from equipoise.metrics.metric import Metric, MetricInputs
from equipoise.randomness import keyed_generator

WINDOW, SIGMA = 11, 1.5  # of the Gaussian that local means are taken with, in pixels
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, finest first
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
MAX_VALUES = 2**20  # in float64 at once: 8 MiB, of which the means and products of both images make a dozen


def scales(height: int, width: int) -> int:
    """Number of scales of images of this size: 5 from 176 pixels a side on, 3 for 64, 2 for 28, none below 11."""
    return sum(min(height, width) >> scale >= WINDOW for scale in range(len(WEIGHTS)))


def ms_ssim(a: Tensor, b: Tensor, *, max_values: int = MAX_VALUES) -> Tensor:
    """Multi-scale structural similarity of pairs (Wang, Simoncelli and Bovik, 2003), the mean of the channels' own.

    The paper defines the index of one plane: its scales' means, to their powers, multiplied. So each channel has one of
    its own, and a colour image their mean, as in TensorFlow's `tf.image.ssim_multiscale`. Means over channels before
    the powers, as torchmetrics takes them, are an index of no plane.

    Images too small for the published five scales are compared at fewer, with those weights scaled to sum to 1.
    Negative structure counts as 0, as in the implementations of TensorFlow and torchmetrics.

    Args:
        a: (N, C, H, W), values in [0, 255], 11 pixels a side or more.
        b: likewise.
        max_values: of one set of images that are in float64 at once.

    Returns:
        (N,) float64 in [0, 1]; 1 for equal images.

    Raises:
        UsageError: the images are too small.
    """
    count = scales(*a.shape[-2:])
    if not count:
        raise UsageError(f"ms-ssim needs images of {WINDOW} x {WINDOW} pixels or more: leave it out")
    weights = torch.tensor(WEIGHTS[:count], dtype=torch.float64)
    step = max(1, max_values // a[0].numel())
    parts = []
    for x, y in zip(torch.split(a, step), torch.split(b, step), strict=True):
        x, y = x.double(), y.double()  # noqa: PLW2901
        factors = []
        for scale in range(count):
            structure, whole = _ssim(x, y)
            # luminance counts at the coarsest scale alone
            factors.append((whole if scale == count - 1 else structure).clamp(min=0))  # (n, C)
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)  # noqa: PLW2901
        parts.append(torch.stack(factors, dim=1))
    powers = (weights / weights.sum())[:, None]
    return (torch.cat(parts) ** powers).prod(dim=1).mean(dim=1)


def _ssim(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Contrast times structure, and that times luminance, each a mean over places (n, C)."""
    mean_a, mean_b = _local_mean(a), _local_mean(b)
    variances = _local_mean(a * a) + _local_mean(b * b) - mean_a**2 - mean_b**2
    covariance = _local_mean(a * b) - mean_a * mean_b
    structure = (2 * covariance + C2) / (variances + C2)
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return structure.mean(dim=(2, 3)), (structure * luminance).mean(dim=(2, 3))


def _local_mean(images: Tensor) -> Tensor:
    """Gaussian-weighted mean of every window of 11 x 11 pixels that lies within the image."""
    offsets = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    weights = (-((offsets / SIGMA) ** 2) / 2).exp()
    weights = weights / weights.sum()
    planes = images.flatten(0, 1)[:, None]  # each channel by itself
    # The Gaussian is separable: a column, then a row of 11 weights, instead of 121.
    means = F.conv2d(F.conv2d(planes, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))
    return means.view(*images.shape[:2], *means.shape[2:])


def ms_ssim_diversity(images: Tensor, *, seed: int = 0) -> Estimate:
    """Mean similarity of images that are paired at random, each used once (Odena et al., 2017, arXiv:1610.09585).

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
    return Estimate.from_parts(ms_ssim(images[order[0::2]], images[order[1::2]]))


def diversity(images: Tensor) -> float:
    """Mean distance between two different images of (N, C, H, W), root mean square over their values; N >= 2."""
    flat = images.flatten(1).double()
    distances = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")
    count = len(flat)
    return float(distances.sum() / (count * (count - 1)) / math.sqrt(flat.shape[1]))


def _compute(inputs: MetricInputs) -> MetricResult:
    samples, reference = inputs.pictures
    real = ms_ssim_diversity(reference, seed=inputs.seed)
    return ms_ssim_diversity(samples, seed=inputs.seed).result() | {"real": real.value}


MS_SSIM = Metric(
    compute=_compute,
    needs=frozenset({"pictures"}),
    minimum=2,  # one pair
    minimum_side=WINDOW,
    better="reference",
    ideal=None,
    description="similarity of random pairs of samples: high is collapse",
)
