"""How good samples are: pure functions of features, patches and pictures, in float64, and the table of them by name."""

from equipoise.metrics.base import Estimate
from equipoise.metrics.frechet import Moments, frechet_distance
from equipoise.metrics.inception import inception_score
from equipoise.metrics.kernel import gaussian, kernel_distance, squared_mmd
from equipoise.metrics.manifold import ManifoldScores, manifold_scores
from equipoise.metrics.modes import Modes, ToyModes, class_modes, toy_modes
from equipoise.metrics.neighbours import Memorisation, Nearest, memorisation, nearest
from equipoise.metrics.points import POINT_METRICS, Truth, median_distance, point_figures, point_scores
from equipoise.metrics.reconstruction import minimum_reconstruction_error
from equipoise.metrics.registry import METRICS, Figures, Metric, check, needed, scores
from equipoise.metrics.similarity import ms_ssim, ms_ssim_diversity
from equipoise.metrics.sliced import patch_distances, sliced_wasserstein, wasserstein_1d
from equipoise.metrics.statistics import Chunk, Collected, Need, collect, merge, share

__all__ = [
    "METRICS",
    "POINT_METRICS",
    "Chunk",
    "Collected",
    "Estimate",
    "Figures",
    "ManifoldScores",
    "Memorisation",
    "Metric",
    "Modes",
    "Moments",
    "Nearest",
    "Need",
    "ToyModes",
    "Truth",
    "check",
    "class_modes",
    "collect",
    "frechet_distance",
    "gaussian",
    "inception_score",
    "kernel_distance",
    "manifold_scores",
    "median_distance",
    "memorisation",
    "merge",
    "minimum_reconstruction_error",
    "ms_ssim",
    "ms_ssim_diversity",
    "nearest",
    "needed",
    "patch_distances",
    "point_figures",
    "point_scores",
    "scores",
    "share",
    "sliced_wasserstein",
    "squared_mmd",
    "toy_modes",
    "wasserstein_1d",
]
