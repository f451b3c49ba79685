"""A run's own score while it trains, which decides on its best checkpoint."""

import torch
from torch import nn

from equipoise.config.train_config import TrainConfig
from equipoise.data import Dataset
from equipoise.errors import UsageError
from equipoise.evaluation.features import collected, features_for
from equipoise.evaluation.image_sets import ImageSet, packed
from equipoise.metrics import METRICS, Chunk, Figures, collect, scores
from equipoise.metrics.features import load_extractor
from equipoise.sampling.sample import images_to_fill_in, sample_batches


class PeriodicKID:
    """KID of a generator beside held-out images, again and again while it trains."""

    def __init__(self, config: TrainConfig, dataset: Dataset, device: torch.device) -> None:
        self.config = config
        self.masked = images_to_fill_in(dataset) if config.tasks.inpaint else None
        real = kid_reference(config, dataset)
        self.extractor = load_extractor(features_for("auto", config.data), device=device, shape=real.shape)
        self.real = collected(real, frozenset({"vectors"}), self.extractor, config.seed)

    def __call__(self, generator: nn.Module) -> Figures:
        """KID and its spread, of `config.score_count` samples from latents that are always the same."""
        config = self.config
        images = sample_batches(generator, config, range(config.score_count), config.seed, masked=self.masked)
        chunks = (Chunk(each, self.extractor(each).vectors) for each in images)
        found = collect(chunks, frozenset({"vectors"}), total=config.score_count)
        return scores(["kid"], found, self.real, seed=config.seed)["kid"]


def kid_reference(config: TrainConfig, dataset: Dataset) -> ImageSet:
    """The real images that `PeriodicKID` compares with: held-out ones, or where none are, those that are trained on.

    Raises:
        UsageError: they are too few.
    """
    if config.toy:
        raise UsageError(
            f"--score-every is for images, and {config.data} is a toy: leave it out, modes are counted anyway"
        )
    held = dataset.split("held-out")
    real = packed(held if len(held) else dataset.split("train"), config.data, config.score_count, config.seed)
    if real.count < METRICS["kid"].minimum:
        raise UsageError(
            f"{config.data} has only {real.count} images to score by, and kid needs {METRICS['kid'].minimum}: "
            "use --score-every 0, or hold out more with --held-out"
        )
    return real
