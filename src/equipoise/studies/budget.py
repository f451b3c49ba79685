"""How many images a training gets through in a time: so that arms of unlike speed train for equally long."""

import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from equipoise.config.datasets import open_dataset
from equipoise.config.train_config import TrainConfig
from equipoise.devices import resolve_device
from equipoise.training.train import train

WARM_UP, MEASURED = 10, 60  # steps of the short run, and by how many more the long one begins
STILL = 1e-12  # learning rate by which weights stay as they are
LEAST = 4.0  # seconds between the two: each has some tenths of its own, beside its steps, which scatter
PAIRS = 3  # of runs, by whose median no single disturbance decides, such as by other programs for a moment


def images_in(config: TrainConfig, seconds: float, clock: Callable[[], float] | None = None) -> int:
    """Images that are trained on in so many seconds, from the differences of pairs of short runs, in whole batches.

    Args:
        config: of the training; its length does not matter.
        seconds: of one processor core that is shared with no other work, not even by hyper-threading; on a GPU, by the
            clock.
        clock: what counts them, if it is to be another.
    """
    clock = clock or (time.process_time if resolve_device(config.device) == "cpu" else time.perf_counter)
    open_dataset(config).feed.close()  # packed before anything is timed
    _duration(config, WARM_UP, clock)  # the first run of a process imports, and chooses kernels
    short, steps = _duration(config, WARM_UP, clock), MEASURED
    while (difference := _duration(config, WARM_UP + steps, clock) - short) < LEAST:
        steps = math.ceil(steps * min(10.0, 1.5 * LEAST / max(difference, LEAST / 10)))
    others = [_duration(config, WARM_UP + steps, clock) - _duration(config, WARM_UP, clock) for _ in range(PAIRS - 1)]
    return max(1, round(seconds / statistics.median([difference, *others]) * steps)) * config.batch


def _duration(config: TrainConfig, steps: int, clock: Callable[[], float]) -> float:
    """Seconds that a run of so many steps takes."""
    images = steps * config.batch
    every = {"log_every": images, "sample_every": images, "checkpoint_every": images, "score_every": 0}
    config = config.with_changes(images=images, lr=STILL, **every)  # what would diverge takes as long
    with tempfile.TemporaryDirectory() as folder:
        started = clock()
        # Without the score at the end, which takes as long for any arm.
        train(config, Path(folder) / "run", quiet=True, closing_score=False)
        return clock() - started
