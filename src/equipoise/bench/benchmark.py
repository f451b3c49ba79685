"""Every figure of one configuration on this machine."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from equipoise.bench.machine import convolution_peaks, matmul_peak
from equipoise.bench.steps import Step, SyntheticFeed, equipoise_step, textbook_step
from equipoise.bench.textbook import TEXTBOOK, Textbook
from equipoise.bench.timing import cost_of_step, count_flops, peak_memory, profile_step, time_interleaved
from equipoise.config.presets import PRESETS
from equipoise.config.train_config import TrainConfig
from equipoise.devices import Launcher, Precision, resolve_precision
from equipoise.errors import UsageError
from equipoise.players import Players
from equipoise.training.compile import NOT_COMPILED
from equipoise.training.contention import BackgroundLoad
from equipoise.training.state import DataSpec, Shape, TrainState

ROUNDS = 7
SYNTHETIC_BATCHES = 16  # in memory; then they repeat
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp64": torch.float64}


@dataclass(frozen=True)
class Case:
    """A configuration to measure, one row of the table.

    Attributes:
        objective: name of the objective, at its published settings.
        resolution: side of the images.
        width: width of the networks.
        batch: batch size.
        precision: precision of equipoise's step; the textbook's is fp32.
        channels: channels of the images.
        compiled: whether to measure equipoise's step with compiled networks too.
    """

    objective: str
    resolution: int
    width: int
    batch: int
    precision: Precision = "auto"
    channels: int = 3
    compiled: bool = False

    @property
    def shape(self) -> Shape:
        """(C, H, W) of the images."""
        return self.channels, self.resolution, self.resolution

    def config(self, device: str) -> TrainConfig:
        """Training configuration on a type of device, which decides what precision `auto` means.

        Raises:
            UsageError: the objective's networks cannot be compiled.
        """
        published = PRESETS[self.objective]["published"]
        if self.compiled and published.objective.needs.independent:
            raise UsageError(
                f"{self.objective} differentiates its penalty twice, as no compiled network can: leave --compiled out"
            )
        if self.objective == "began":  # one draw of latents for both losses, as most public code has it
            published = published.with_changes(separate_latents=False)
        values = published.to_dict()
        return TrainConfig.from_dict(
            {
                **values,
                "network": {**values["network"], "width": self.width},
                "resolution": self.resolution,
                "batch": self.batch,
                "precision": resolve_precision(self.precision, device),
                "warmup": 0,
            }
        )


STANDARD = {
    "cpu": [
        *(Case("began", side, 64, 16) for side in (32, 64, 128)),
        Case("began", 64, 128, 16),
        Case("began", 64, 64, 16, "fp32"),
        Case("wgan-gp", 64, 64, 64),
        Case("gan", 64, 64, 64),
    ],
    "cuda": [
        *(Case("began", side, 128, batch, compiled=True) for side in (64, 128) for batch in (16, 64, 256)),
        Case("began", 64, 128, 64, "fp32"),
        Case("wgan-gp", 64, 64, 64),
        Case("gan", 64, 64, 64),
    ],
}
"""What `equipoise bench --table` measures, by type of device."""


def measure(case: Case, launcher: Launcher, *, limit: float, rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure one configuration: times, ratios to the textbook, arithmetic, memory, and shares of a step.

    Args:
        case: the configuration.
        launcher: the device.
        limit: seconds to spend on timing the steps, and at most on each peak of the machine.
        rounds: rounds of the timing.

    Returns:
        The figures, by their names in `bench --json`.

    Raises:
        UsageError: the networks cannot make images of that size, or be compiled.
    """
    device, config = launcher.device, case.config(launcher.device.type)
    with torch.device("meta"):  # refused here, if networks cannot make such images, before so many images are made
        config.build(case.shape)
    dtype, cycle = DTYPES[config.precision], config.n_critic
    builders, load = _step_builders(case, config, launcher), BackgroundLoad()
    equipoise = builders["equipoise"]
    steps = {name: build() for name, build in builders.items()}
    warning = _compile(steps["compiled"]) if case.compiled else ""
    if warning:
        del steps["compiled"]
    times = time_interleaved(steps, device, cycle=cycle, rounds=rounds, limit=limit)
    busy_cores = load.busy_cores()
    # Of new steps: on a GPU, those that were timed are CUDA graphs by now, whose replay shows no operators.
    seconds, flops = times["equipoise"].median, count_flops(equipoise(), cycle)
    peaks = convolution_peaks(device, dtype, limit)
    figures = {
        **vars(case),
        "precision": config.precision,
        "images_per_second": case.batch / seconds,
        "gflop_per_image": flops / case.batch / 1e9,
        "gflop_per_second": flops / seconds / 1e9,
        "convolution_peak": peaks["forward"] / 1e9,
        "convolution_passes": {name: peak / 1e9 for name, peak in peaks.items()},
        "product_peak": matmul_peak(device, dtype, limit) / 1e9,
        "share_of_peak": flops / seconds / peaks["forward"],
        "memory_mib": peak_memory(equipoise, device, cycle) / 2**20,
        "others_busy_cores": busy_cores,
        "warning": warning,
    }
    figures |= _costs(steps, case, device, cycle=cycle, seconds=limit / rounds)
    figures["time"], figures["operators"] = profile_step(equipoise(), cycle, device)
    if "compiled" in steps:
        figures["compiled_images_per_second"] = case.batch / times["compiled"].median
        figures["compiled_gain"], *figures["compiled_gain_range"] = times["compiled"].ratio_to(times["equipoise"])
        figures["compiled_memory_mib"] = peak_memory(builders["compiled"], device, cycle) / 2**20
    for name, prefix in (("textbook", ""), ("autocast", "autocast_")):
        if name in steps:
            figures[f"{prefix}ratio"], *figures[f"{prefix}ratio_range"] = times["equipoise"].ratio_to(times[name])
    if "textbook" in steps:
        memory = peak_memory(builders["textbook"], device, cycle) / 2**20
        figures["textbook_images_per_second"] = case.batch / times["textbook"].median
        figures["textbook_gflop_per_image"] = count_flops(steps["textbook"], cycle) / case.batch / 1e9
        figures["textbook_memory_mib"] = memory
        figures["memory_ratio"] = figures["memory_mib"] / memory
    return figures


def _costs(
    steps: Mapping[str, Step], case: Case, device: torch.device, *, cycle: int, seconds: float
) -> dict[str, float | None]:
    """What an image costs by either step, in core seconds and, where they are counted, joules."""
    figures: dict[str, float | None] = {}
    for name, prefix in (("equipoise", ""), ("textbook", "textbook_")):
        if name in steps:
            core_seconds, joules = cost_of_step(steps[name], device, cycle=cycle, seconds=seconds)
            figures[f"{prefix}core_seconds_per_image"] = core_seconds / case.batch
            figures[f"{prefix}joules_per_image"] = None if joules is None else joules / case.batch
    return figures


def _step_builders(case: Case, config: TrainConfig, launcher: Launcher) -> dict[str, Callable[[], Step]]:
    """Functions that build the steps to compare, all on the same data: each call builds new networks."""
    device, feed = launcher.device, SyntheticFeed(case.shape, SYNTHETIC_BATCHES * case.batch)

    def equipoise(*, compile: bool = False) -> Step:
        return equipoise_step(TrainState(config, DataSpec.of(feed), device), feed, launcher, compile=compile)

    def textbook(*, autocast: bool = False) -> Step:
        players = Players(*(player.to(device) for player in config.build(case.shape)))
        return textbook_step(
            Textbook(config.with_changes(precision="fp32"), players), feed, launcher, autocast=autocast
        )

    builders: dict[str, Callable[[], Step]] = {"equipoise": equipoise}
    if case.objective in TEXTBOOK:
        builders["textbook"] = textbook
        if config.precision == "bf16":
            builders["autocast"] = partial(textbook, autocast=True)
    if case.compiled:
        builders["compiled"] = partial(equipoise, compile=True)
    return builders


def _compile(step: Step) -> str:
    """Take a first step, which compiles its networks; the warning if torch cannot compile them, else ""."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        step()
    messages = [str(warning.message) for warning in caught]
    return next((message for message in messages if message.startswith(NOT_COMPILED)), "")
