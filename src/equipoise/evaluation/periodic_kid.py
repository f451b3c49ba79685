"""KID of a run while it trains, which decides on its best checkpoint."""

import torch
from torch import nn

from equipoise.config.train_config import TrainConfig
from equipoise.data import Dataset
from equipoise.errors import UsageError
from equipoise.evaluation.features import extractor_name, image_statistics
from equipoise.evaluation.image_sets import ImageSet, stored_images
from equipoise.metrics import METRICS, FeatureBatch, MetricInputs, MetricResult, Statistic, accumulate, compute_metrics
from equipoise.metrics.features import load_extractor
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
        config = self.config
        images = sample_batches(generator, config, range(config.score_count), config.seed, masked=self.masked)
        batches = (FeatureBatch(batch, self.extractor(batch).vectors) for batch in images)
        samples = accumulate(batches, VECTORS, total=config.score_count)
        return compute_metrics(["kid"], MetricInputs(samples, self.reference, seed=config.seed))["kid"]


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
