"""How good samples are: pure functions of features, patches and pictures, and the table of metrics by name.

Everything is computed in float64: differences of nearly equal sums, as in KID and FID, leave float32 few digits.
"""

from equipoise.metrics.base import Estimate, MetricResult
from equipoise.metrics.frechet import extrapolated_distance, frechet_distance
from equipoise.metrics.inception import inception_score
from equipoise.metrics.kernel import clip_distance, gaussian, kernel_distance, squared_mmd
from equipoise.metrics.manifold import ManifoldScores, manifold_scores
from equipoise.metrics.memorisation import Memorisation, Nearest, crowding, memorisation, nearest
from equipoise.metrics.metric import Available, Generator, Metric, MetricInputs
from equipoise.metrics.modes import Modes, ToyModes, class_modes, toy_modes
from equipoise.metrics.moments import Moments
from equipoise.metrics.points import (
    POINT_METRICS,
    PointInputs,
    PointMetric,
    Truth,
    applicable,
    median_distance,
    point_figures,
    point_scores,
)
from equipoise.metrics.reconstruction import minimum_reconstruction_error
from equipoise.metrics.registry import METRICS, check_metrics, compute_metrics, required_statistics
from equipoise.metrics.similarity import ms_ssim, ms_ssim_diversity
from equipoise.metrics.sliced import patch_distances, sliced_wasserstein, wasserstein_1d
from equipoise.metrics.statistics import (
    FeatureBatch,
    Limits,
    Statistic,
    Statistics,
    accumulate,
    merge_statistics,
    partition,
)
from equipoise.metrics.vendi import vendi_score

__all__ = [
    "METRICS",
    "POINT_METRICS",
    "Available",
    "Estimate",
    "FeatureBatch",
    "Generator",
    "Limits",
    "ManifoldScores",
    "Memorisation",
    "Metric",
    "MetricInputs",
    "MetricResult",
    "Modes",
    "Moments",
    "Nearest",
    "PointInputs",
    "PointMetric",
    "Statistic",
    "Statistics",
    "ToyModes",
    "Truth",
    "accumulate",
    "applicable",
    "check_metrics",
    "class_modes",
    "clip_distance",
    "compute_metrics",
    "crowding",
    "extrapolated_distance",
    "frechet_distance",
    "gaussian",
    "inception_score",
    "kernel_distance",
    "manifold_scores",
    "median_distance",
    "memorisation",
    "merge_statistics",
    "minimum_reconstruction_error",
    "ms_ssim",
    "ms_ssim_diversity",
    "nearest",
    "partition",
    "patch_distances",
    "point_figures",
    "point_scores",
    "required_statistics",
    "sliced_wasserstein",
    "squared_mmd",
    "toy_modes",
    "vendi_score",
    "wasserstein_1d",
]
