"""How long a step of a training takes: so that arms of unlike speed train for equally long."""

import time
from collections.abc import Callable
from contextlib import closing

import torch

from equipoise.bench.steps import LATER, equipoise_step
from equipoise.bench.timing import time_interleaved
from equipoise.config.datasets import open_dataset
from equipoise.config.train_config import TrainConfig
from equipoise.devices import SingleProcess, resolve_device
from equipoise.training.state import DataSpec, TrainState

TIMINGS, SECONDS = 8, 4.0  # of which the shortest counts, and for how long steps are timed in all
STILL = 1e-12  # learning rate by which weights stay as they are: what would diverge takes as long


def seconds_per_step(config: TrainConfig, clock: Callable[[], float] | None = None) -> float:
    """Seconds of one processor core, shared with no other work, not even by hyper-threading; on a GPU, of the clock.

    The shortest of some timings: whatever else a machine does, such as for others of its virtual ones, makes steps
    longer and never shorter. Where some took 142 to 191 ms in the mean of five seconds, the shortest within any five
    seconds took 134 to 144.

    Args:
        config: of the training, on whose data they are; its length does not matter. Scores, samples and checkpoints,
            which a study has equally often of all arms, are left aside.
        clock: what counts the seconds, if it is to be another.

    Raises:
        UsageError: the data cannot be read, or the networks cannot make such images.
    """
    device = torch.device(resolve_device(config.device))
    clock = clock or (time.process_time if device.type == "cpu" else time.perf_counter)
    with closing(open_dataset(config).feed) as feed:
        train_state = TrainState(config.with_changes(lr=STILL), DataSpec.of(feed), device)
        train_state.generator_steps = LATER
        step = equipoise_step(train_state, feed, SingleProcess(device), compile=config.compile == "always")
        times = time_interleaved(
            {"step": step}, device, cycle=config.n_critic, rounds=TIMINGS, limit=SECONDS, clock=clock
        )
    return min(times["step"].rounds)
