"""One configuration measured, and the table of several."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from equipoise.bench.machine import Others, convolution_peaks, product_peak
from equipoise.bench.steps import Step, ours, textbook
from equipoise.bench.textbook import TEXTBOOK
from equipoise.bench.timing import memory, parts, race, work
from equipoise.config.presets import PRESETS
from equipoise.config.train_config import TrainConfig
from equipoise.devices import Launcher, Precision, resolve_precision
from equipoise.training.compile import NOT_COMPILED
from equipoise.training.state import Shape

ROUNDS = 7
LOADED = 0.15  # cores that others may keep busy
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp64": torch.float64}


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Attributes:
        objective: as it was published; BEGAN by its preset `paper`.
        resolution: side of the images.
        width: of the networks.
        batch: images a step.
        precision: ours; the textbook's is fp32.
        channels: of the images.
        compiled: whether ours is also measured with its networks compiled.
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
        """Its networks and settings."""
        presets = PRESETS[self.objective]
        base = presets.get("paper", presets["default"])
        values = base.to_dict()
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
"""What `equipoise bench --table` measures, by kind of device."""


def measure(case: Case, launcher: Launcher, *, limit: float, rounds: int = ROUNDS) -> dict[str, Any]:
    """Everything about one configuration on this machine, by name; times, ratios, work, memory, parts.

    Args:
        case: what to measure.
        launcher: where.
        limit: seconds to spend on the timing itself.
        rounds: of the timing.
    """
    device = launcher.device
    config, shape = case.config(device.type), case.shape
    dtype, cycle = DTYPES[config.precision], config.n_critic
    others = Others()
    entrants: dict[str, Callable[[], Step]] = {"ours": lambda: ours(config, shape, launcher)}
    if case.objective in TEXTBOOK:
        entrants["textbook"] = lambda: textbook(config, shape, launcher)
        if config.precision == "bf16":
            entrants["autocast"] = lambda: textbook(config, shape, launcher, autocast=True)
    if case.compiled:
        entrants["compiled"] = lambda: ours(config, shape, launcher, compile=True)
    racers = {name: start() for name, start in entrants.items()}
    refused = _refused(racers["compiled"]) if case.compiled else ""
    if refused:
        del racers["compiled"]
    times = race(racers, device, cycle=cycle, rounds=rounds, limit=limit)
    busy = others.busy()
    needed, peaks = work(entrants["ours"](), cycle), convolution_peaks(device, dtype)  # before any step is recorded
    found = {
        **vars(case),
        "precision": config.precision,
        "images_per_second": case.batch / times["ours"].median,
        "gflop_per_image": needed / case.batch / 1e9,
        "gflop_per_second": needed / times["ours"].median / 1e9,
        "convolution_peak": peaks["forward"] / 1e9,
        "convolution_passes": {name: peak / 1e9 for name, peak in peaks.items()},
        "product_peak": product_peak(device, dtype) / 1e9,
        "share_of_peak": needed / times["ours"].median / peaks["forward"],
        "memory_mib": memory(entrants["ours"], device, cycle) / 2**20,
        "others_busy_cores": busy,
        "warning": refused,
    }
    found["time"], found["operators"] = parts(entrants["ours"](), cycle, device)
    if "compiled" in racers:
        found["compiled_images_per_second"] = case.batch / times["compiled"].median
        found["compiled_gain"], *found["compiled_gain_range"] = times["compiled"].ratio_to(times["ours"])
        found["compiled_memory_mib"] = memory(entrants["compiled"], device, cycle) / 2**20
    for name in [name for name in racers if name not in {"ours", "compiled"}]:
        median, least, most = times["ours"].ratio_to(times[name])
        prefix = "" if name == "textbook" else f"{name}_"
        found |= {f"{prefix}ratio": median, f"{prefix}ratio_range": [least, most]}
    if "textbook" in racers:
        theirs = memory(entrants["textbook"], device, cycle) / 2**20
        found |= {
            "textbook_images_per_second": case.batch / times["textbook"].median,
            "textbook_gflop_per_image": work(racers["textbook"], cycle) / case.batch / 1e9,
            "textbook_memory_mib": theirs,
            "memory_ratio": found["memory_mib"] / theirs,
        }
    return found


def _refused(step: Step) -> str:
    """Take a first step; what is said of networks that cannot be compiled for it, or nothing."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        step()
    return next((words for each in told if (words := str(each.message)).startswith(NOT_COMPILED)), "")


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows in Markdown, which is as readable on a terminal."""
    head = ["objective", "side", "width", "batch", "precision", "images/s", "× textbook", "× under autocast"]
    head += [
        "× compiled",
        "× less work",
        "GFLOP/s",
        "of peak",
        "memory",
        "of textbook's",
        "forward / backward / optimiser / data",
    ]
    lines = [head, ["---"] * len(head), *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines if line[0] != "---") for column in range(len(head))]
    lines[1] = ["-" * width for width in widths]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |" for line in lines
    )


def operators_in_lines(row: dict[str, Any]) -> str:
    """The operators that take most of a step's time, in Markdown."""
    return "\n".join(
        [
            "| operator | of the step |",
            "|---|---|",
            *(f"| {name} | {share:.0%} |" for name, share in row["operators"].items()),
        ]
    )


def peaks_in_lines(rows: Sequence[dict[str, Any]]) -> str:
    """How fast this machine multiplies at best, in each precision that the rows have, in Markdown."""
    head = ["GFLOP/s at best", "product", "convolution", "its gradient by images", "by weights"]
    found = {row["precision"]: [row["product_peak"], *row["convolution_passes"].values()] for row in rows}
    lines = [head, ["---"] * len(head), *([name, *(f"{peak:,.0f}" for peak in each)] for name, each in found.items())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: dict[str, Any]) -> list[str]:
    time = row.get("time")
    return [
        row["objective"],
        *(str(row[name]) for name in ("resolution", "width", "batch", "precision")),
        f"{row['images_per_second']:.1f}",
        _ratio(row, ""),
        _ratio(row, "autocast_"),
        f"{row['compiled_gain']:.2f}" if "compiled_gain" in row else "-",
        f"{row['textbook_gflop_per_image'] / row['gflop_per_image']:.2f}" if "ratio" in row else "-",
        f"{row['gflop_per_second']:.0f}",
        f"{row['share_of_peak']:.0%}",
        f"{row['memory_mib']:.0f} MiB",
        f"{row['memory_ratio']:.2f}" if "memory_ratio" in row else "-",
        " / ".join(f"{time[name]:.0%}" for name in ("forward", "backward", "optimiser", "data")) if time else "-",
    ]


def _ratio(row: dict[str, Any], prefix: str) -> str:
    if f"{prefix}ratio" not in row:
        return "-"
    least, most = row[f"{prefix}ratio_range"]
    return f"{row[f'{prefix}ratio']:.2f} ({least:.2f}-{most:.2f})"
