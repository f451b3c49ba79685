"""equipoise bench: how fast this machine trains, beside the textbook's step."""

import json as notation
import sys
from pathlib import Path
from typing import Any

import torch

from equipoise.bench.around import around as measured_around
from equipoise.bench.around import around_in_lines
from equipoise.bench.machine import describe
from equipoise.bench.report import LOADED, STANDARD, Case, measure, operators_in_lines, peaks_in_lines
from equipoise.bench.report import table as in_lines
from equipoise.cli.flags import parse_and_call
from equipoise.config.numbers import Count
from equipoise.config.presets import PRESETS
from equipoise.devices import Device, Launcher, Precision, make_launcher
from equipoise.errors import UsageError
from equipoise.runs.files import write_where_asked

BATCHES = {"began": 16}  # images a step where nothing is said; of the others 64


def main(words: list[str]) -> int:
    """Read the words after `equipoise bench`, measure, and show the table; returns the exit code."""

    def bench(
        objective: str = "began",
        resolution: Count = 64,
        width: Count = 64,
        batch: Count | None = None,
        channels: Count = 3,
        compiled: bool = False,
        precision: Precision = "auto",
        table: bool = False,
        around: bool = True,
        seconds: float = 30.0,
        threads: Count | None = None,
        device: Device = "auto",
        json: Path | None = None,
    ) -> int:
        """Measure training on this machine, beside the step as most public code writes it, turn by turn.

        As in: equipoise bench --objective began --resolution 64 --width 64 --batch 16

        Or: equipoise bench --table --json bench.json

        Args:
            objective: What to train, as it was published; began, gan and wgan-gp have a textbook to be compared with.
            resolution: Side of the images, which are noise in memory.
            width: Of the networks.
            batch: Images a step; 16 for began, else 64.
            channels: Of the images.
            compiled: Also measure ours with its networks compiled, half a minute's work; a table does on a GPU.
            precision: Ours; auto takes bf16 where the hardware gains from it. The textbook's is fp32.
            table: Measure a standard set of configurations instead.
            around: Also measure starting, reading, sampling, checkpoints and logs, of the first configuration.
            seconds: To spend on the timing of each configuration.
            threads: Of the CPU; by default as many as torch takes.
            device: Where to compute.
            json: A file for the figures.
        """
        if objective not in PRESETS:
            raise UsageError(f"unknown objective {objective!r}: use one of {', '.join(PRESETS)}")
        if not 0 < seconds <= 3600:
            raise UsageError("--seconds must be above 0, and 3600 at most")
        torch.set_num_threads(threads or torch.get_num_threads())
        launcher = make_launcher(device, 1)
        case = Case(objective, resolution, width, batch or BATCHES.get(objective, 64), precision, channels, compiled)
        cases = STANDARD.get(launcher.device.type, STANDARD["cpu"]) if table else [case]
        rows = [_measured(each, launcher, seconds) for each in cases]
        print(f"{in_lines(rows)}\n\n{peaks_in_lines(rows)}")
        if not table and "operators" in rows[0]:
            print(f"\n{operators_in_lines(rows[0])}")
        if around:
            print("measuring what surrounds the steps", file=sys.stderr)
            rows[0]["around"] = measured_around(cases[0], launcher, rows[0]["images_per_second"])
            print(f"\n{around_in_lines(rows[0]['around'])}")
        if json is not None:
            _write(json, {"machine": describe(launcher.device), **({"rows": rows} if table else rows[0])})
        return 0

    return parse_and_call(bench, words, "bench")


def _measured(case: Case, launcher: Launcher, seconds: float) -> dict[str, Any]:
    """The figures of one configuration; what is said on the way goes to stderr."""
    print(f"measuring {case.objective}, {case.resolution}x{case.resolution}, {case.width} wide", file=sys.stderr)
    found = measure(case, launcher, limit=seconds)
    if found["warning"]:
        print(f"warning: {found['warning']}", file=sys.stderr)
    if (found["others_busy_cores"] or 0) > LOADED:
        print(
            f"warning: other processes kept {found['others_busy_cores']:.1f} cores busy meanwhile; ratios hold "
            "roughly, times do not: measure again when the machine is quiet",
            file=sys.stderr,
        )
    return found


def _write(path: Path, report: dict[str, Any]) -> None:
    write_where_asked(path, notation.dumps(report, indent=1) + "\n")
    print(f"figures: {path}")
