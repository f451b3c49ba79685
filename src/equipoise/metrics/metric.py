"""What a metric is: one entry that says what it needs, when it applies, how it is computed and what it means.

A new metric is one file in this folder with such an entry, and the entry's line in `registry.METRICS`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, cast

from torch import Tensor

from equipoise.metrics.base import MetricResult
from equipoise.metrics.moments import Moments
from equipoise.metrics.statistics import Statistic, Statistics
from equipoise.randomness import Prior

T = TypeVar("T")


@dataclass(frozen=True)
class Available:
    """What is at hand for the metrics of one evaluation.

    Attributes:
        side: of the images, in pixels; the shorter one.
        extractor: its name.
        classes: of the extractor, or None.
        training: whether the reference was held out from the training images of a run.
        generator: whether a generator makes the samples, of latents alone.
    """

    side: int
    extractor: str = ""
    classes: int | None = None
    training: bool = False
    generator: bool = False


@dataclass(frozen=True)
class Generator:
    """A generator, as a metric sees it.

    Attributes:
        generate: latents (n, latent_size) to images (n, C, H, W) in [-1, 1], differentiably.
        latent_size: of its latents.
        prior: of its latents.
        real: count to random images of the reference, (count or fewer, C, H, W) in [-1, 1], on its device.
    """

    generate: Callable[[Tensor], Tensor]
    latent_size: int
    prior: Prior
    real: Callable[[int], Tensor]


@dataclass(frozen=True)
class MetricInputs:
    """All that a metric may look at. Its entry names what it reads; the rest need not be there.

    The properties are pairs: of the samples, and of the reference.

    Attributes:
        samples: statistics of the images that are scored.
        reference: statistics of real images.
        training: vectors of the images that the generator was trained on.
        generator: what makes the samples, of latents alone.
        seed: of every random choice.
    """

    samples: Statistics
    reference: Statistics
    training: Statistics | None = None
    generator: Generator | None = None
    seed: int = 0
    _shared: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def vectors(self) -> tuple[Tensor, Tensor]:
        """Features, (N, K) and (M, K) float32."""
        return present(self.samples.vectors), present(self.reference.vectors)

    @property
    def moments(self) -> tuple[Moments, Moments]:
        """Count, mean and scatter of the features."""
        return present(self.samples.moments), present(self.reference.moments)

    @property
    def probabilities(self) -> tuple[Tensor, Tensor]:
        """Probabilities of the extractor's classes, (N, T) and (M, T) float32."""
        return present(self.samples.probabilities), present(self.reference.probabilities)

    @property
    def patches(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Patches from each level of the images' pyramids, (P, C, 7, 7) float32, finest level first."""
        return self.samples.patches, self.reference.patches

    @property
    def pictures(self) -> tuple[Tensor, Tensor]:
        """Some of the images, (n, C, H, W) uint8, an even number of each."""
        return present(self.samples.pictures), present(self.reference.pictures)

    @property
    def training_vectors(self) -> Tensor:
        """Features of the training images, (L, K) float32."""
        return present(present(self.training).vectors)

    def shared(self, compute: Callable[["MetricInputs"], T]) -> T:
        """`compute(self)`, computed once for all the metrics that ask for the same function."""
        if compute not in self._shared:
            self._shared[compute] = compute(self)
        return cast(T, self._shared[compute])


def present(value: T | None) -> T:
    """`value`, which is there because the metric's entry names it."""
    assert value is not None, "a metric's entry names what it reads"  # noqa: S101
    return value


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric of a set of images beside real images.

    Attributes:
        compute: from its inputs to a dictionary with `value`, and details by name.
        needs: statistics that it reads of both sets.
        extractor: name of the only one of whose features it is defined; None for any.
        needs_training: whether it reads the vectors of the training images.
        needs_generator: whether it reads the generator.
        minimum: number of images that each set must have.
        minimum_side: pixels that an image must have along its shorter side.
        by_default: whether to compute it, where it applies, if no metric was asked for by name.
        better: lower or higher; `reference` where the real images' own value is the one to come near.
        ideal: value of samples that are as good as new real images; None where only the real images' own says it.
        caveat: a note on its result, where there is one to make.
        description: one line.
    """

    compute: Callable[[MetricInputs], MetricResult]
    needs: frozenset[Statistic] = frozenset()
    extractor: str | None = None
    needs_training: bool = False
    needs_generator: bool = False
    minimum: int = 20
    minimum_side: int = 1
    by_default: Callable[[Available], bool] = lambda _: True
    better: Literal["lower", "higher", "reference"]
    ideal: float | None
    caveat: Callable[[MetricInputs], str | None] = lambda _: None
    description: str

    def missing(self, available: Available) -> str | None:
        """What it needs and is not at hand, in words; None where it applies."""
        if self.extractor and available.extractor != self.extractor:
            return f"--features {self.extractor}"
        if "probabilities" in self.needs and not available.classes:
            return "an extractor with classes"
        if self.needs_training and not available.training:
            return "a run, scored by its held-out images"
        if self.needs_generator and not available.generator:
            return "a run from latents alone"
        if available.side < self.minimum_side:
            return f"{self.minimum_side} pixels a side"
        return None
