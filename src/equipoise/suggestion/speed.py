"""Speed of training and of scores on this machine, by a few real steps that leave nothing behind."""

import statistics
import time

import torch

from equipoise.bench.machine import timed
from equipoise.bench.steps import LATER, SyntheticFeed, equipoise_step
from equipoise.config.train_config import TrainConfig
from equipoise.devices import SingleProcess
from equipoise.evaluation.features import extractor_name
from equipoise.evaluation.periodic_kid import compute_kid, sample_statistics
from equipoise.isolation import isolated
from equipoise.metrics.features import load_extractor
from equipoise.training.state import DataSpec, Shape, TrainState
from equipoise.training.train import check_memory

SECONDS = 2.0  # after which no step begins, as far as that can be foretold
SMALLER = (2, 16)  # images of steps before, each size of which tells whether the next is affordable
WARM_UP = {"cpu": 1, "cuda": 5}  # steps that are not timed; on a GPU the fourth is recorded as a CUDA graph
MOST = 20  # timings of one size
FEWEST_SCORED = 20  # images, of which every score is possible


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
        UsageError: the networks cannot make such images or do not fit into memory, or classes to learn are missing.
    """
    config.tasks.check(shape, classes, config.objective.needs)
    check_memory(config, shape, classes, device)
    share = max(config.batch // config.devices, config.network.smallest_batch)  # the latter of all processes together
    until, speed = time.perf_counter() + SECONDS, 0.0
    for batch in (*(size for size in SMALLER if size < share), share):
        steps = WARM_UP.get(device.type, 1) + config.n_critic
        if speed and steps * batch / speed > SECONDS:
            break
        one, whole = config.with_changes(batch=batch, devices=1, compile="never"), batch == share
        times = _seconds_per_step(one, shape, classes, device, until if whole else time.perf_counter() + SECONDS / 4)
        # Of the small ones, the shortest: what else this machine does now and then is not to be taken for slowness.
        speed = batch / (statistics.median(times) if whole else min(times))
    return speed * config.devices


def _seconds_per_step(
    config: TrainConfig, shape: Shape, classes: int, device: torch.device, until: float
) -> list[float]:
    """Timings, until the clock says `until` and one at least, each over as many steps as the generator waits for."""
    feed = SyntheticFeed(shape, 4 * config.batch, classes)
    train_state = TrainState(config, DataSpec.of(feed), device)
    train_state.generator_steps = LATER  # as most of a run is: MAGAN begins with epochs of the discriminator alone
    step = equipoise_step(train_state, feed, SingleProcess(device))
    for _ in range(WARM_UP.get(device.type, 1)):
        step()

    def steps() -> None:
        for _ in range(config.n_critic):
            step()

    times = [timed(steps, device)]
    while len(times) < MOST and time.perf_counter() < until:
        times.append(timed(steps, device))
    return [seconds / config.n_critic for seconds in times]


@isolated()
def seconds_per_score(config: TrainConfig, shape: Shape, classes: int, device: torch.device) -> float:
    """Time of one of the scores of `config.score_every`, by an untrained generator; nothing is packed or left behind.

    Args:
        config: of the run.
        shape: (C, H, W) of the images.
        classes: number of classes, or 0.
        device: where one process computes.

    Raises:
        UsageError: the weights of the features are not there.
    """
    generator = TrainState(config, DataSpec(shape, classes), device).ema.eval()
    extractor = load_extractor(extractor_name("auto", config.data), device=device, shape=shape)
    masked = torch.zeros(1, *shape) if config.tasks.inpaint else None
    sample_statistics(generator, config.with_changes(score_count=FEWEST_SCORED), extractor, masked)  # what is done once
    started = time.perf_counter()
    samples = sample_statistics(generator, config, extractor, masked)
    compute_kid(samples, samples, config)
    return time.perf_counter() - started
