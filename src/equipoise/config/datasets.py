"""The data of a configuration, opened with its settings."""

from collections.abc import Callable
from typing import Any

from equipoise.config.train_config import TrainConfig
from equipoise.data import Feed, Images, Part, open_feed, open_part


def open_train_feed(config: TrainConfig, progress: Callable[[int, int], None] | None = None) -> Feed:
    """The training images of a run, packed at its resolution or streamed.

    Raises:
        UsageError: there are none, or they cannot be read.
    """
    return open_feed(config.data, config.resolution, progress=progress, held_out=config.held_out, **_format(config))


def open_split(config: TrainConfig, part: Part) -> Images:
    """One part of the images of a run, for evaluation, packed at its resolution.

    Raises:
        UsageError: they cannot be read.
    """
    return open_part(config.data, config.resolution, part, held_out=config.held_out, **_format(config))


def _format(config: TrainConfig) -> dict[str, Any]:
    return {"channels": config.channels, "fit": config.fit, "background": config.background}
