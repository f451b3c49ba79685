"""The scores by name: what each needs, which way it is better, and its value from what was collected."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from equipoise.errors import UsageError
from equipoise.metrics.base import Estimate, require
from equipoise.metrics.frechet import frechet_distance
from equipoise.metrics.inception import inception_score
from equipoise.metrics.kernel import kernel_distance
from equipoise.metrics.manifold import manifold_scores
from equipoise.metrics.modes import class_modes
from equipoise.metrics.similarity import ms_ssim_diversity
from equipoise.metrics.sliced import patch_distances
from equipoise.metrics.statistics import Collected, Need

Figures = dict[str, float]
"""A score's `value`, and what else it has to say by name, say its `spread`."""


@dataclass(frozen=True)
class Metric:
    """What a score needs and means.

    Attributes:
        needs: what `collect` keeps of both sets; None where it takes more than those: a generator, the training set.
        better: lower or higher; `reference` where the real images' own value is the one to come near.
        ideal: the value of samples that are as good as new real images; None where only the real images' own says it.
        minimum: images that each set must have.
        says: one line.
    """

    needs: Need | None
    better: Literal["lower", "higher", "reference"]
    ideal: float | None
    minimum: int
    says: str


METRICS = {
    "kid": Metric("vectors", "lower", 0.0, 20, "distance of the features' distributions, unbiased at any number"),
    "fid": Metric("moments", "lower", 0.0, 100, "distance of the features' means and covariances, too high for few"),
    "inception-score": Metric("probabilities", "higher", None, 100, "how sure the classes are, and how many"),
    "precision": Metric("vectors", "higher", 1.0, 20, "share of samples that look real"),
    "recall": Metric("vectors", "higher", 1.0, 20, "share of real images that the samples could be mistaken for"),
    "density": Metric("vectors", "higher", 1.0, 20, "how deep among real images the samples lie"),
    "coverage": Metric("vectors", "higher", 1.0, 20, "share of real images with a sample near by"),
    "sliced-wasserstein": Metric("patches", "lower", 0.0, 20, "distance of the patches' distributions, at every scale"),
    "ms-ssim": Metric("pictures", "reference", None, 20, "similarity of random pairs of samples: high is collapse"),
    "reconstruction": Metric(None, "lower", 0.0, 1, "error of the nearest image that the generator can draw"),
    "memorisation": Metric(None, "lower", 0.05, 20, "share of samples suspiciously near to a training image"),
    "modes": Metric("probabilities", "higher", None, 20, "classes, or modes, of the real data that the samples reach"),
}
"""By name, in the order in which they are reported."""


def needed(names: Iterable[str]) -> frozenset[Need]:
    """What `collect` has to keep of each set for these scores."""
    return frozenset(need for name in names if (need := METRICS[name].needs))


def check(names: Iterable[str], *counts: int) -> None:
    """Refuse names that are not there, and sets of `counts` images that are too small, before any work is done.

    Raises:
        UsageError: either.
    """
    for name in names:
        if name not in METRICS:
            raise UsageError(f"there is no score {name!r}: choose from {', '.join(METRICS)}")
        require(name, METRICS[name].minimum, *counts)


def scores(names: Iterable[str], samples: Collected, references: Collected, *, seed: int = 0) -> dict[str, Figures]:
    """Compute scores of samples beside real images, from what one pass over each set has left.

    Args:
        names: of METRICS; `reconstruction` and `memorisation`, which need more than two sets, are passed over.
        samples: collected for the needs of these scores.
        references: real images, likewise.
        seed: of subsets, splits, pairs and directions.

    Raises:
        UsageError: a name is not there, or a set has too few images.
    """
    names = list(names)
    check(names, samples.count, references.count)
    figures = {name: compute(samples, references, seed) for name, compute in _SINGLE.items() if name in names}
    if together := [name for name in _MANIFOLD if name in names]:
        values = manifold_scores(_given(references.vectors), _given(samples.vectors))
        figures |= {name: {"value": getattr(values, name)} for name in together}
    return {name: figures[name] for name in METRICS if name in figures}


def _kid(samples: Collected, references: Collected, seed: int) -> Figures:
    return _figures(kernel_distance(_given(references.vectors), _given(samples.vectors), seed=seed))


def _fid(samples: Collected, references: Collected, seed: int) -> Figures:
    assert samples.moments  # noqa: S101
    assert references.moments  # noqa: S101
    return {"value": frechet_distance(references.moments, samples.moments)}


def _inception_score(samples: Collected, references: Collected, seed: int) -> Figures:
    real = inception_score(_given(references.probabilities), seed=seed)
    return _figures(inception_score(_given(samples.probabilities), seed=seed)) | {"real": real.value}


def _sliced_wasserstein(samples: Collected, references: Collected, seed: int) -> Figures:
    levels = patch_distances(references.patches, samples.patches, seed=seed)
    return {"value": sum(levels) / len(levels)} | {f"level {n}": distance for n, distance in enumerate(levels)}


def _ms_ssim(samples: Collected, references: Collected, seed: int) -> Figures:
    real = ms_ssim_diversity(_given(references.pictures), seed=seed)
    return _figures(ms_ssim_diversity(_given(samples.pictures), seed=seed)) | {"real": real.value}


def _modes(samples: Collected, references: Collected, seed: int) -> Figures:
    modes = class_modes(_given(samples.probabilities), _given(references.probabilities))
    return {"value": modes.covered, "of": modes.of, "clear": modes.clear, "kl": modes.kl, "js": modes.js}


_MANIFOLD = ("precision", "recall", "density", "coverage")
_SINGLE: dict[str, Callable[[Collected, Collected, int], Figures]] = {
    "kid": _kid,
    "fid": _fid,
    "inception-score": _inception_score,
    "sliced-wasserstein": _sliced_wasserstein,
    "ms-ssim": _ms_ssim,
    "modes": _modes,
}


def _figures(estimate: Estimate) -> Figures:
    return {"value": estimate.value, "spread": estimate.spread}


def _given(rows: Tensor | None) -> Tensor:
    assert rows is not None, "collected for this score"  # noqa: S101
    return rows
