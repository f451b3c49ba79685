"""Which checkpoints of a run are kept: the last, some for good, and those to go back to."""

from collections.abc import Sequence
from pathlib import Path

from equipoise.config.train_config import TrainConfig
from equipoise.runs.numbered import images_of


def superseded(checkpoints: Sequence[Path], config: TrainConfig, kept_before: Sequence[int] = ()) -> list[Path]:
    """Checkpoints beyond the last `config.keep` that nothing else keeps.

    Args:
        checkpoints: all, oldest first.
        config: of the run; one in every `config.keep_every` images is kept for good.
        kept_before: images seen, the last checkpoint up to each of which is kept too.
    """
    every = config.keep_every
    needed = {max((path for path in checkpoints if images_of(path) <= images), default=None) for images in kept_before}
    # Steps end at multiples of the batch alone, so the one that reached a multiple of `every` may lie past it.
    return [
        path
        for path in checkpoints[: -config.keep]
        if path not in needed and not (0 < every <= images_of(path) and images_of(path) % every < config.batch)
    ]


def later_than(checkpoints: Sequence[Path], images: int) -> list[Path]:
    """Checkpoints that have seen more than `images`; none where all have, and there would be no other."""
    later = [path for path in checkpoints if images_of(path) > images]
    return later if len(later) < len(checkpoints) else []
