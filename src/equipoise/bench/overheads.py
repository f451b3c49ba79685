"""What surrounds the steps: process start, data loading, sampling, checkpoints, and logs."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from equipoise.bench.benchmark import Case
from equipoise.bench.machine import synchronize, timed, timings
from equipoise.bench.steps import SyntheticFeed, take_step
from equipoise.config.presets import PRESETS
from equipoise.config.train_config import TrainConfig
from equipoise.data import open_dataset
from equipoise.devices import Launcher
from equipoise.evaluation.periodic_kid import PeriodicKID
from equipoise.isolation import freed_memory_kept
from equipoise.runs.background_writer import BackgroundWriter
from equipoise.runs.run import Run
from equipoise.sampling.sample import BLOCK, sample_batches
from equipoise.training.batch import make_batch
from equipoise.training.distributed import make_distributed
from equipoise.training.recorder import REPORT_SHARE, Recorder
from equipoise.training.state import DataSpec, TrainState
from equipoise.views.terminal import Display

IMAGES = 4096  # of synthetic data
TRIES = 5  # timings of which the median counts
TIMED_SECONDS = 0.5  # of these timings together, at least
TORCH_ALONE = "import torch; torch.optim.Adam([torch.nn.Parameter(torch.ones(1))])"  # an optimizer imports more of it


def measure_overheads(
    case: Case, launcher: Launcher, images_per_second: float, *, limit: float = 30.0
) -> dict[str, float]:
    """Measure everything but the steps, in a temporary folder.

    Args:
        case: the configuration.
        launcher: the device.
        images_per_second: speed of training, of which shares are computed.
        limit: seconds to spend on each figure at most.

    Returns:
        Seconds, rates and shares of training time, by their names in `bench --json`.
    """
    with TemporaryDirectory(prefix="equipoise-bench-") as name:
        folder = Path(name)
        feed = SyntheticFeed(case.shape, IMAGES)
        np.savez(folder / "noise.npz", images=feed.images.numpy())
        config = case.config(launcher.device.type).with_changes(
            data=str(folder / "noise.npz"), log_every=1_000, held_out=0.0
        )
        return {
            **_measure_start(case.objective, folder, limit),
            **_measure_data(config, folder, launcher, images_per_second, limit),
            **_measure_run(config, feed, folder, launcher, images_per_second, limit),
        }


def _measure_start(objective: str, folder: Path, limit: float) -> dict[str, float]:
    """Seconds of `--help`, of importing torch, and of training to the end of its first step.

    The last is of the bundled digits by the defaults, once they are packed. The shortest of a few starts counts.
    """
    config = PRESETS[objective]["default"]
    open_dataset(config.data, config.resolution, channels=config.channels, cache=folder / "cache").feed.close()  # packs
    train = ["-m", "equipoise", "train", objective, "--images", "64", "--log-every", "1", "--device", "cpu", "--out"]
    runs = iter(range(1_000))

    def first_step() -> float:
        name = f"run-{next(runs)}"
        return _seconds_of_process([*train, name], folder, folder / name / "metrics.jsonl")

    def shortest(start: Callable[[], float], tries: int) -> float:
        return min(timings(start, tries=tries, limit=limit))

    return {
        "help_seconds": shortest(lambda: _seconds_of_process(["-m", "equipoise", "--help"], folder), TRIES),
        "torch_seconds": shortest(lambda: _seconds_of_process(["-c", TORCH_ALONE], folder), 2),
        "first_step_seconds": shortest(first_step, 2),
    }


def _seconds_of_process(words: list[str], folder: Path, log: Path | None = None) -> float:
    """Seconds until a Python process has ended, or if `log` is given, until it has logged its first step there."""
    start = time.perf_counter()
    environment = {**os.environ, "EQUIPOISE_CACHE": str(folder / "cache")}
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, *words], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None:
        if log is not None and log.exists() and '"lr"' in log.read_text():
            break
        time.sleep(0.005)
    seconds = time.perf_counter() - start
    process.wait()
    return seconds


def _measure_data(
    config: TrainConfig, folder: Path, launcher: Launcher, images_per_second: float, limit: float
) -> dict[str, float]:
    """Images a second from the cache on the disk into memory, and as batches on the device."""
    feed = open_dataset(config.data, config.resolution, channels=config.channels, cache=folder / "cache").feed
    distributed, images_seen = make_distributed(launcher, config.precision), 0

    def read() -> None:
        nonlocal images_seen
        feed.draw(config.batch, config.seed, images_seen)
        images_seen += config.batch

    def batch() -> None:
        nonlocal images_seen
        make_batch(config, feed, images_seen, distributed, launcher.device)
        images_seen += config.batch

    read_rate = config.batch / _median(read, launcher, limit)
    batch_rate = config.batch / _median(batch, launcher, limit)
    feed.close()
    return {
        "read_images_per_second": read_rate,
        "dealt_images_per_second": batch_rate,
        "data_share": images_per_second / batch_rate,
    }


def _measure_run(
    config: TrainConfig,
    feed: SyntheticFeed,
    folder: Path,
    launcher: Launcher,
    images_per_second: float,
    limit: float,
) -> dict[str, float]:
    """Samples a second; seconds that training waits for a checkpoint; shares of training time that logs take."""
    device, distributed = launcher.device, make_distributed(launcher, config.precision)
    train_state, run = TrainState(config, DataSpec.of(feed), device), Run.create(folder / "recorded", config)
    take_step(train_state, make_batch(config, feed, 0, distributed, device), distributed)
    means = train_state.accumulator.close()

    def no_kid() -> PeriodicKID:
        raise AssertionError("no score is due")

    display = Display(config.images, "", start_at=0, quiet=True)
    with freed_memory_kept(), BackgroundWriter(run) as writer, display:
        recorder = Recorder(run, writer, train_state, feed, None, no_kid, None, display)

        def checkpoint_stall() -> float:
            writer.wait()  # for the one before, which would be waited for within the stall
            return timed(recorder.checkpoint, device)

        def checkpoint() -> None:
            recorder.checkpoint()
            writer.wait()

        def generate() -> None:
            list(sample_batches(train_state.ema, config, range(BLOCK), 0))

        stalls = sorted(timings(checkpoint_stall, tries=TRIES, limit=limit))
        writer.wait()
        figures = {
            "samples_per_second": BLOCK / _median(generate, launcher, limit),
            "checkpoint_stall_seconds": stalls[len(stalls) // 2],
            "checkpoint_seconds": timed(checkpoint, device),
            "log_share": _median(lambda: recorder.metrics(means), launcher, limit)
            / config.log_every
            * images_per_second,
            "sample_share": _median(recorder.samples, launcher, limit) / config.sample_every * images_per_second,
            "report_share": REPORT_SHARE,
        }
        recorder.close(finished=False)
    return figures


def _median(task: Callable[[], Any], launcher: Launcher, limit: float) -> float:
    """Median seconds of `task`, after a warm-up."""
    task()
    synchronize(launcher.device)
    seconds = timings(lambda: timed(task, launcher.device), tries=TRIES, at_least=TIMED_SECONDS, limit=limit)
    return sorted(seconds)[len(seconds) // 2]
