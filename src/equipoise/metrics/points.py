"""Metrics of points in the plane: the modes that they reach, and their distances from new points of the data."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from equipoise.metrics.base import MetricResult, check_finite, require
from equipoise.metrics.kernel import gaussian, squared_mmd
from equipoise.metrics.modes import MODES, ToyModes, toy_modes
from equipoise.metrics.sliced import wasserstein_1d

BANDWIDTH_POINTS = 2000  # points whose distances decide on the kernel's bandwidth
MIN_POINTS = 20  # of each set, for distances between two sets


@dataclass(frozen=True)
class Truth:
    """A mixture of equal isotropic Gaussians that points should follow.

    Attributes:
        centres: (T, D) of the Gaussians.
        sigma: standard deviation along each axis.
        modal: whether the centres are modes, to be counted; else they only stand along a curve.
    """

    centres: Tensor
    sigma: float
    modal: bool


@dataclass(frozen=True)
class PointInputs:
    """All that a metric of points may look at.

    Attributes:
        samples: (N, D).
        truth: the distribution that they should follow.
        reference: (M, D) points that follow it and were not trained on; None for metrics that need the truth alone.
    """

    samples: Tensor
    truth: Truth
    reference: Tensor | None = None

    @cached_property
    def modes(self) -> ToyModes:
        """How the samples spread over the modes, computed once for all metrics."""
        return toy_modes(self.samples, self.truth.centres, self.truth.sigma)

    @property
    def pair(self) -> tuple[Tensor, Tensor]:
        """Samples and reference."""
        assert self.reference is not None, "a metric that reads the reference says so"  # noqa: S101
        return self.samples, self.reference


@dataclass(frozen=True, kw_only=True)
class PointMetric:
    """A metric of points.

    Attributes:
        compute: from its inputs to a dictionary with `value`, and details by name.
        better: lower or higher; `reference` where the true points' own value is the one to come near.
        ideal: value of new points of the data; None where it depends on the data.
        needs_modes: whether it applies only where the truth has modes.
        needs_reference: whether it compares with other points; else the truth alone suffices.
        minimum: number of points that the samples must have, and the reference where that is compared with.
        description: one line.
    """

    compute: Callable[[PointInputs], MetricResult]
    better: Literal["lower", "higher", "reference"]
    ideal: float | None
    description: str
    needs_modes: bool = False
    needs_reference: bool = False
    minimum: int = 1


def median_distance(points: Tensor) -> float:
    """The median distance between two different ones of points (N, D), N >= 2: a Gaussian kernel's usual bandwidth.

    Gretton et al. (2012), "A kernel two-sample test", section 8.
    """
    return torch.pdist(points.double()).median().item()


def _mmd(inputs: PointInputs) -> MetricResult:
    samples, reference = inputs.pair
    bandwidth = median_distance(reference[:BANDWIDTH_POINTS])  # of the reference alone: the same for all samples
    return {"value": squared_mmd(samples, reference, gaussian(bandwidth)), "bandwidth": bandwidth}


def _wasserstein(inputs: PointInputs) -> MetricResult:
    axes = wasserstein_1d(*inputs.pair)
    return {"value": axes.mean().item()} | {f"axis {n}": distance for n, distance in enumerate(axes.tolist())}


POINT_METRICS: dict[str, PointMetric] = {
    "modes": PointMetric(
        compute=lambda inputs: inputs.modes.result(),
        better="higher",
        ideal=None,
        needs_modes=True,
        description=MODES.description,
    ),
    "in-modes": PointMetric(
        compute=lambda inputs: {"value": inputs.modes.clear},
        better="higher",
        ideal=1.0,
        description="share of samples within 3 sigma of a centre of the data",
    ),
    "spread": PointMetric(
        compute=lambda inputs: {"value": inputs.modes.spread, "real": 1.0},
        better="reference",
        ideal=1.0,
        needs_modes=True,
        description="deviation within modes over that of the data",
    ),
    "mmd": PointMetric(
        compute=_mmd,
        better="lower",
        ideal=0.0,
        needs_reference=True,
        minimum=MIN_POINTS,
        description="squared maximum mean discrepancy, Gaussian kernel, unbiased",
    ),
    "wasserstein": PointMetric(
        compute=_wasserstein,
        better="lower",
        ideal=0.0,
        needs_reference=True,
        minimum=MIN_POINTS,
        description="exact Wasserstein-1 distance along an axis, their mean",
    ),
}
"""The metrics of toys by name, in the order in which they are reported."""


def applicable(truth: Truth) -> list[str]:
    """Names of the metrics in POINT_METRICS that mean something of points that follow `truth`."""
    return [name for name, metric in POINT_METRICS.items() if truth.modal or not metric.needs_modes]


def point_figures(samples: Tensor, truth: Truth) -> dict[str, MetricResult]:
    """Results of the metrics that need the truth alone: `in-modes`, and where it has modes, `modes` and `spread`.

    Args:
        samples: (N, D).
        truth: the distribution that they should follow.

    Raises:
        UsageError: there is no sample, or one is not finite.
    """
    inputs = PointInputs(samples, truth)
    names = [name for name in applicable(truth) if not POINT_METRICS[name].needs_reference]
    return {name: POINT_METRICS[name].compute(inputs) for name in names}


def point_scores(
    samples: Tensor, reference: Tensor, truth: Truth, names: Collection[str] | None = None
) -> dict[str, MetricResult]:
    """Results of metrics in POINT_METRICS, in their order.

    Args:
        samples: (N, D).
        reference: (M, D) points that follow the truth and were not trained on.
        truth: the distribution that both should follow.
        names: some of `applicable`; by default all of them.

    Raises:
        UsageError: there are fewer points than a metric takes, or one is not finite.
    """
    names = applicable(truth) if names is None else names
    for name in names:
        require(name, POINT_METRICS[name].minimum, len(samples), len(reference), of="points")
    check_finite(samples)
    inputs = PointInputs(samples, truth, reference)
    return {name: metric.compute(inputs) for name, metric in POINT_METRICS.items() if name in names}
