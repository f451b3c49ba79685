"""The metrics by name, and their computation from the statistics of two sets of images."""

from collections.abc import Iterable

from equipoise.errors import UsageError, quoted
from equipoise.metrics.base import MetricResult, require
from equipoise.metrics.detail import DETAIL, GRAIN
from equipoise.metrics.frechet import FID, FID_INFINITY
from equipoise.metrics.inception import INCEPTION_SCORE
from equipoise.metrics.kernel import CMMD, GAUSSIAN_MMD, KID
from equipoise.metrics.manifold import COVERAGE, DENSITY, PRECISION, RECALL
from equipoise.metrics.memorisation import AUTHENTICITY, MEMORISATION
from equipoise.metrics.metric import Metric, MetricInputs
from equipoise.metrics.modes import MODES
from equipoise.metrics.reconstruction import RECONSTRUCTION
from equipoise.metrics.similarity import MS_SSIM
from equipoise.metrics.sliced import SLICED_WASSERSTEIN
from equipoise.metrics.statistics import Statistic
from equipoise.metrics.vendi import VENDI

METRICS: dict[str, Metric] = {
    "kid": KID,
    "fid": FID,
    "fid-infinity": FID_INFINITY,
    "cmmd": CMMD,
    "gaussian-mmd": GAUSSIAN_MMD,
    "inception-score": INCEPTION_SCORE,
    "precision": PRECISION,
    "recall": RECALL,
    "density": DENSITY,
    "coverage": COVERAGE,
    "sliced-wasserstein": SLICED_WASSERSTEIN,
    "ms-ssim": MS_SSIM,
    "vendi": VENDI,
    "detail": DETAIL,
    "grain": GRAIN,
    "reconstruction": RECONSTRUCTION,
    "memorisation": MEMORISATION,
    "authenticity": AUTHENTICITY,
    "modes": MODES,
}
"""By name, in the order in which they are reported."""


def check_metrics(names: Iterable[str], *counts: int) -> None:
    """Refuse names that are not in METRICS, and sets of `counts` images that are too small, before any work is done.

    Raises:
        UsageError: either.
    """
    for name in names:
        if name not in METRICS:
            raise UsageError(f"there is no score {quoted(name)}: choose from {', '.join(METRICS)}")
        require(name, METRICS[name].minimum, *counts)


def required_statistics(names: Iterable[str]) -> frozenset[Statistic]:
    """Statistics of each set that these metrics need."""
    return frozenset[Statistic]().union(*(METRICS[name].needs for name in names))


def compute_metrics(names: Iterable[str], inputs: MetricInputs) -> dict[str, MetricResult]:
    """Results of metrics, in the order of METRICS.

    Args:
        names: of METRICS.
        inputs: what these metrics need.

    Raises:
        UsageError: a name is unknown, or a set has too few images.
    """
    names = list(names)
    check_metrics(names, inputs.samples.count, inputs.reference.count)
    return {name: metric.compute(inputs) for name, metric in METRICS.items() if name in names}
