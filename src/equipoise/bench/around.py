"""What surrounds the steps: starting, reading, sampling, checkpoints, and what is written down."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from equipoise.bench.machine import seconds, wait
from equipoise.bench.report import Case
from equipoise.bench.steps import Noise, take_step
from equipoise.config.train_config import TrainConfig
from equipoise.data import open_dataset
from equipoise.devices import Launcher
from equipoise.evaluation.periodic_kid import PeriodicKID
from equipoise.runs.background_writer import BackgroundWriter
from equipoise.runs.run import Run
from equipoise.sampling.sample import BLOCK, sample_batches
from equipoise.training.batch import make_batch
from equipoise.training.distributed import make_distributed
from equipoise.training.recorder import REPORT_SHARE, Recorder
from equipoise.training.state import DataSpec, TrainState
from equipoise.views.terminal import Display

IMAGES = 4096  # of noise, to read
TRIES = 5  # of which the median counts, or of starts the shortest
LONG_ENOUGH = 0.5  # seconds
TORCH_ALONE = "import torch; torch.optim.Adam([torch.nn.Parameter(torch.ones(1))])"


def around(case: Case, launcher: Launcher, images_per_second: float) -> dict[str, float]:
    """Seconds, rates and shares of all that is not a step, by name; nothing stays on the disk.

    Args:
        case: what would be trained.
        launcher: where.
        images_per_second: of training, which shares are of.
    """
    with TemporaryDirectory(prefix="equipoise-bench-") as name:
        home = Path(name)
        noise = Noise.of(case.shape, IMAGES)
        np.savez(home / "noise.npz", images=noise.images.numpy())
        config = case.config(launcher.device.type).with_changes(
            data=str(home / "noise.npz"), log_every=1_000, held_out=0.0
        )
        return {
            **_starts(case.objective, home),
            **_data(config, home, launcher, images_per_second),
            **_recording(config, noise, home, launcher, images_per_second),
        }


def _starts(objective: str, home: Path) -> dict[str, float]:
    """From the command to its help; to what torch alone needs before it can train; to the end of the first step.

    The last is of the bundled digits by the defaults, which are packed before.
    """
    train = ["-m", "equipoise", "train", objective, "--images", "64", "--log-every", "1", "--device", "cpu", "--out"]
    _until([*train, "packing"], home)
    return {
        "help_seconds": min(_until(["-m", "equipoise", "--help"], home) for _ in range(TRIES)),
        "torch_seconds": min(_until(["-c", TORCH_ALONE], home) for _ in range(2)),
        "first_step_seconds": min(
            _until([*train, f"run-{number}"], home, home / f"run-{number}" / "metrics.jsonl") for number in range(2)
        ),
    }


def _until(words: list[str], home: Path, log: Path | None = None) -> float:
    """Seconds until a Python has ended, or before that, until it has logged its first step."""
    start = time.perf_counter()
    environment = {**os.environ, "EQUIPOISE_CACHE": str(home / "cache")}
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, *words], cwd=home, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None:
        if log is not None and log.exists() and '"lr"' in log.read_text():
            break
        time.sleep(0.005)
    took = time.perf_counter() - start
    process.wait()
    return took


def _data(config: TrainConfig, home: Path, launcher: Launcher, images_per_second: float) -> dict[str, float]:
    """Images a second from the disk's cache to memory, and on to where and how a step wants them."""
    feed = open_dataset(config.data, config.resolution, channels=config.channels, cache=home / "cache").feed
    distributed, place = make_distributed(launcher, config.precision), [0]

    def read() -> None:
        feed.draw(config.batch, config.seed, place[0])
        place[0] += config.batch

    def dealt() -> None:
        make_batch(config, feed, place[0], distributed, launcher.device)
        place[0] += config.batch

    rates = [config.batch / _median(task, launcher.device) for task in (read, dealt)]
    feed.close()
    return {
        "read_images_per_second": rates[0],
        "dealt_images_per_second": rates[1],
        "data_share": images_per_second / rates[1],
    }


def no_kid() -> PeriodicKID:
    """Scores are not measured here."""
    raise AssertionError("no score is due")


def _recording(
    config: TrainConfig, noise: Noise, home: Path, launcher: Launcher, images_per_second: float
) -> dict[str, float]:
    """Samples a second; how long training stands still for a checkpoint; the share of its time that logs take."""
    device, distributed = launcher.device, make_distributed(launcher, config.precision)
    train_state, run = TrainState(config, DataSpec.of(noise), device), Run.create(home / "recorded", config)
    take_step(train_state, make_batch(config, noise, 0, distributed, device), distributed)
    means, _ = train_state.accumulator.close()
    with BackgroundWriter(run) as writer, Display(config.images, "", start_at=0, quiet=True) as display:
        recorder = Recorder(run, writer, train_state, noise, no_kid, display)

        def checkpoint() -> float:
            writer.wait()
            took = seconds(recorder.checkpoint, device)
            writer.wait()
            return took

        def written_out() -> None:
            recorder.checkpoint()
            writer.wait()

        def sampled() -> None:
            list(sample_batches(train_state.ema, config, range(BLOCK), 0))

        stalls = sorted(checkpoint() for _ in range(TRIES))
        written = seconds(written_out, device)
        line = _median(lambda: recorder.metrics(means, halved=False), device)
        samples = _median(recorder.samples, device)
        found = {
            "samples_per_second": BLOCK / _median(sampled, device),
            "checkpoint_stall_seconds": stalls[len(stalls) // 2],
            "checkpoint_seconds": written,
            "log_share": line / config.log_every * images_per_second,
            "sample_share": samples / config.sample_every * images_per_second,
            "report_share": REPORT_SHARE,
        }
        recorder.close()
    return found


def _median(task: Callable[[], Any], device: torch.device) -> float:
    """Seconds of `task`, the median of some that together take LONG_ENOUGH."""
    task()
    wait(device)
    taken: list[float] = []
    while sum(taken) < LONG_ENOUGH or len(taken) < TRIES:
        taken.append(seconds(task, device))
    return sorted(taken)[len(taken) // 2]


def around_in_lines(found: dict[str, float]) -> str:
    """The figures in Markdown, in words."""
    rows = {
        "`equipoise --help`": f"{found['help_seconds']:.2f} s",
        "start to the end of the first step": f"{found['first_step_seconds']:.1f} s, of which importing torch "
        f"and its Adam {found['torch_seconds']:.1f} s",
        "images read": f"{found['read_images_per_second']:,.0f} a second",
        "images ready for a step": f"{found['dealt_images_per_second']:,.0f} a second, or {found['data_share']:.2%} "
        "of training",
        "samples drawn": f"{found['samples_per_second']:,.0f} a second",
        "training stands still for a checkpoint": f"{1000 * found['checkpoint_stall_seconds']:.0f} ms, "
        f"which is on the disk after {1000 * found['checkpoint_seconds']:.0f} ms",
        "lines of metrics": f"{found['log_share']:.2%} of training",
        "grids of samples and their diversity": f"{found['sample_share']:.2%} of training",
        "reports": f"{found['report_share']:.0%} of training at most",
    }
    return "\n".join(
        ["| around the steps | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
    )
