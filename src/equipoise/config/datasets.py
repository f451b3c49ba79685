"""The data that a configuration names, opened as it asks."""

from collections.abc import Callable
from typing import Any

from equipoise.config.train_config import TrainConfig
from equipoise.data import Feed, Images, Part, open_feed, open_part


def open_train_feed(config: TrainConfig, progress: Callable[[int, int], None] | None = None) -> Feed:
    """The images that a run of `config` trains on, packed at its resolution or streamed.

    Raises:
        UsageError: there are none, or they cannot be read.
    """
    return open_feed(config.data, config.resolution, progress=progress, held_out=config.held_out, **_framing(config))


def open_split(config: TrainConfig, part: Part) -> Images:
    """A part of the images that `config` names, packed at its resolution, to compare with.

    Raises:
        UsageError: they cannot be read.
    """
    return open_part(config.data, config.resolution, part, held_out=config.held_out, **_framing(config))


def _framing(config: TrainConfig) -> dict[str, Any]:
    return {"channels": config.channels, "fit": config.fit, "background": config.background}
