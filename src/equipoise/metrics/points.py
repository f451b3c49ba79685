"""How good points in the plane are: the modes that they reach, and their distances from new points of the data."""

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.metrics.base import check_finite, require
from equipoise.metrics.kernel import gaussian, squared_mmd
from equipoise.metrics.modes import toy_modes
from equipoise.metrics.registry import METRICS, Figures, Metric
from equipoise.metrics.sliced import wasserstein_1d

POINT_METRICS = {
    "modes": METRICS["modes"],
    "in-modes": Metric(None, "higher", 1.0, 20, "share of samples within 3 sigma of a centre of the data"),
    "spread": Metric(None, "reference", 1.0, 20, "deviation within modes over that of the data"),
    "mmd": Metric(None, "lower", 0.0, 20, "squared maximum mean discrepancy, Gaussian kernel, unbiased"),
    "wasserstein": Metric(None, "lower", 0.0, 20, "exact Wasserstein-1 distance along an axis, their mean"),
}
"""The scores of toys by name."""

BANDWIDTH_FROM = 2000  # points whose distances decide on the kernel's bandwidth


@dataclass(frozen=True)
class Truth:
    """A mixture of equal isotropic Gaussians that points should follow.

    Attributes:
        centres: (T, D) of the Gaussians.
        sigma: their deviation along each axis.
        modal: whether the centres are modes, to be counted; else they only stand along a curve.
    """

    centres: Tensor
    sigma: float
    modal: bool


def median_distance(points: Tensor) -> float:
    """The median distance between two different ones of points (N, D), N >= 2: a Gaussian kernel's usual bandwidth.

    Gretton et al. (2012), "A kernel two-sample test", section 8.
    """
    return torch.pdist(points.double()).median().item()


def point_figures(samples: Tensor, truth: Truth) -> dict[str, Figures]:
    """The scores that need the truth alone: `in-modes`, and where it has modes, `modes` and `spread`.

    Args:
        samples: (N, D).
        truth: what they should follow.

    Raises:
        UsageError: there is no sample, or one is not finite.
    """
    found = toy_modes(samples, truth.centres, truth.sigma)
    near: dict[str, Figures] = {"in-modes": {"value": found.clear}}
    if not truth.modal:
        return near
    modes = {"value": found.covered, "of": found.of, "clear": found.clear, "kl": found.kl, "js": found.js}
    return {"modes": modes, **near, "spread": {"value": found.spread, "real": 1.0}}


def point_scores(samples: Tensor, references: Tensor, truth: Truth) -> dict[str, Figures]:
    """All scores of POINT_METRICS that apply.

    The kernel's bandwidth is the median distance between references, so it does not depend on the samples.

    Args:
        samples: (N, D), 20 or more.
        references: (M, D) points that follow the truth and were not trained on, 20 or more.
        truth: what both should follow.

    Raises:
        UsageError: there are fewer, or one is not finite.
    """
    require("mmd", POINT_METRICS["mmd"].minimum, len(samples), len(references))
    check_finite(samples)
    bandwidth = median_distance(references[:BANDWIDTH_FROM])
    axes = wasserstein_1d(samples, references)
    return point_figures(samples, truth) | {
        "mmd": {"value": squared_mmd(samples, references, gaussian(bandwidth)), "bandwidth": bandwidth},
        "wasserstein": {"value": axes.mean().item()} | {f"axis {n}": value for n, value in enumerate(axes.tolist())},
    }
