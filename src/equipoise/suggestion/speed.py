"""Speed of training on this machine, by a few real steps that leave nothing behind."""

import time

import torch

from equipoise.bench.machine import timed
from equipoise.bench.steps import SyntheticFeed, equipoise_step
from equipoise.config.train_config import TrainConfig
from equipoise.devices import SingleProcess
from equipoise.isolation import isolated
from equipoise.training.allocator import freed_memory_kept
from equipoise.training.state import DataSpec, Shape, TrainState
from equipoise.training.train import check_memory

SECONDS = 2.0  # after which no step begins, as far as that can be foretold
SMALLER = (2, 16)  # images of steps before, each size of which tells whether the next is affordable
WARM_UP = {"cpu": 1, "cuda": 5}  # steps that are not timed; on a GPU the fourth is recorded as a CUDA graph
ENOUGH = 20  # timings, of which the median is taken


@isolated()
def images_per_second(config: TrainConfig, shape: Shape, classes: int, device: torch.device) -> float:
    """Speed of training on images in memory: without reading data, samples, scores and checkpoints.

    No random generator and nothing else that a run depends on is touched. Where whole batches would take too long,
    small ones are timed, which are slower an image.

    Args:
        config: of the run; where it asks for several processes, one is timed at its share of the batch.
        shape: (C, H, W) of the images.
        classes: number of classes, or 0.
        device: where one process computes.

    Raises:
        UsageError: the networks cannot make such images, or do not fit into memory.
    """
    check_memory(config, shape, classes, device)
    share, until, speed = config.batch // config.devices, time.perf_counter() + SECONDS, 0.0
    for batch in (*(size for size in SMALLER if size < share), share):
        steps = (WARM_UP.get(device.type, 1) + 1) * config.n_critic
        if speed and steps * batch / speed > SECONDS:
            break
        one = config.with_changes(batch=batch, devices=1, compile="never")
        with freed_memory_kept():
            speed = batch / _seconds_per_step(one, shape, classes, device, until if batch == share else 0.0)
    return speed * config.devices


def _seconds_per_step(config: TrainConfig, shape: Shape, classes: int, device: torch.device, until: float) -> float:
    """Median over timings until the clock says `until`, one at least, each of as many steps as the generator waits."""
    feed = SyntheticFeed(shape, 4 * config.batch, classes)
    step = equipoise_step(TrainState(config, DataSpec.of(feed), device), feed, SingleProcess(device))
    for _ in range(WARM_UP.get(device.type, 1)):
        step()

    def steps() -> None:
        for _ in range(config.n_critic):
            step()

    times = [timed(steps, device)]
    while len(times) < ENOUGH and time.perf_counter() < until:
        times.append(timed(steps, device))
    return sorted(times)[len(times) // 2] / config.n_critic
