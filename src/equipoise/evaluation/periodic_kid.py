"""KID of a run while it trains, which decides on its best checkpoint."""

import torch
from torch import Tensor, nn

from equipoise.config.train_config import TrainConfig
from equipoise.data import Dataset
from equipoise.errors import UsageError
from equipoise.evaluation.features import extractor_name, image_statistics
from equipoise.evaluation.image_sets import ImageSet, stored_images
from equipoise.metrics import (
    METRICS,
    FeatureBatch,
    MetricInputs,
    MetricResult,
    Statistic,
    Statistics,
    accumulate,
    compute_metrics,
)
from equipoise.metrics.features import Extractor, load_extractor
from equipoise.sampling.sample import images_to_fill_in, sample_batches

VECTORS: frozenset[Statistic] = frozenset({"vectors"})


class PeriodicKID:
    """KID of a generator beside held-out images, computed repeatedly while it trains.

    Args:
        config: of the run.
        dataset: the run's data, open.
        device: where the features are extracted.

    Raises:
        UsageError: as `kid_reference`.
    """

    def __init__(self, config: TrainConfig, dataset: Dataset, device: torch.device) -> None:
        self.config = config
        self.masked = images_to_fill_in(dataset) if config.tasks.inpaint else None
        real = kid_reference(config, dataset)
        self.extractor = load_extractor(extractor_name("auto", config.data), device=device, shape=real.shape)
        self.reference = image_statistics(real, VECTORS, self.extractor, config.seed)

    def __call__(self, generator: nn.Module) -> MetricResult:
        """KID and its spread, of `config.score_count` samples from latents that are always the same."""
        samples = sample_statistics(generator, self.config, self.extractor, self.masked)
        return compute_kid(samples, self.reference, self.config)


def sample_statistics(
    generator: nn.Module, config: TrainConfig, extractor: Extractor, masked: Tensor | None
) -> Statistics:
    """Feature vectors of `config.score_count` samples, of `masked` images filled in if the generator does that."""
    images = sample_batches(generator, config, range(config.score_count), config.seed, masked=masked)
    batches = (FeatureBatch(batch, extractor(batch).vectors) for batch in images)
    return accumulate(batches, VECTORS, total=config.score_count)


def compute_kid(samples: Statistics, reference: Statistics, config: TrainConfig) -> MetricResult:
    """KID and its spread, of samples beside real images."""
    return compute_metrics(["kid"], MetricInputs(samples, reference, seed=config.seed))["kid"]


def kid_reference(config: TrainConfig, dataset: Dataset) -> ImageSet:
    """Real images that `PeriodicKID` compares with: held-out ones, or where none are, those that are trained on.

    Args:
        config: of the run.
        dataset: the run's data, open.

    Raises:
        UsageError: they are too few.
    """
    held_out = dataset.split("held-out")
    images = held_out if len(held_out) else dataset.split("train")
    real = stored_images(images, config.data, config.score_count, config.seed)
    if real.count < METRICS["kid"].minimum:
        raise UsageError(
            f"{config.data} has only {real.count} images to score by, and kid needs {METRICS['kid'].minimum}: "
            "use --score-every 0, or hold out more with --held-out"
        )
    return real
