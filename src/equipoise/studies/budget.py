"""How many images a training gets through in a time: so that arms of unlike speed train for equally long."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from equipoise.config.datasets import open_dataset
from equipoise.config.train_config import TrainConfig
from equipoise.devices import resolve_device
from equipoise.training.train import train

WARM_UP, MEASURED = 10, 120  # steps of the short runs that tell how fast a training is


def images_in(config: TrainConfig, seconds: float, clock: Callable[[], float] | None = None) -> int:
    """Images that are trained on in so many seconds, from the difference of two short runs, in whole batches.

    Args:
        config: of the training; its length does not matter.
        seconds: of one processor core that is shared with no other work, not even by hyper-threading; on a GPU, by the
            clock.
        clock: what counts them, if it is to be another.
    """
    clock = clock or (time.process_time if resolve_device(config.device) == "cpu" else time.perf_counter)
    open_dataset(config).feed.close()  # packed before anything is timed
    durations = []
    with tempfile.TemporaryDirectory() as folder:
        for steps in (WARM_UP, WARM_UP + MEASURED):
            images = steps * config.batch
            every = {"log_every": images, "sample_every": images, "checkpoint_every": images, "score_every": 0}
            started = clock()
            # Without the score at the end, which the shorter run would not have, and which takes as long for any arm.
            train(
                config.with_changes(images=images, **every), Path(folder) / str(steps), quiet=True, closing_score=False
            )
            durations.append(clock() - started)
    speed = MEASURED * config.batch / (durations[1] - durations[0])
    return max(1, round(seconds * speed / config.batch)) * config.batch
