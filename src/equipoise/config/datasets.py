"""The data that a configuration names, opened as it asks."""

from equipoise import data
from equipoise.config.train_config import TrainConfig
from equipoise.data.packed.workers import ProgressCallback


def open_dataset(config: TrainConfig, progress: ProgressCallback | None = None) -> data.Dataset:
    """The data that a run of `config` trains on and is compared with, at its resolution; read when first asked for.

    Args:
        config: of the run.
        progress: called while packing, with the images done and their total.
    """
    return data.open_dataset(
        config.data,
        config.resolution,
        channels=config.channels,
        fit=config.fit,
        background=config.background,
        held_out=config.held_out,
        progress=progress,
    )
