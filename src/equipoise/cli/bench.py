"""equipoise bench: measure training speed on this machine, next to the textbook's step."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from equipoise.bench.benchmark import STANDARD, Case, measure
from equipoise.bench.machine import describe
from equipoise.bench.overheads import measure_overheads
from equipoise.bench.tables import operators_table, overheads_table, peaks_table, results_table
from equipoise.cli.flags import parse_and_call
from equipoise.config.numbers import BatchSize, Count, ProcessCount
from equipoise.config.presets import PRESETS
from equipoise.devices import Device, Launcher, Precision, make_launcher
from equipoise.errors import UsageError, quoted
from equipoise.runs.files import check_place, to_json, write_where_asked
from equipoise.sampling.pictures import check_spared

BATCHES = {"began": 16}  # default batch size by objective; others 64
LOADED = 0.15  # cores kept busy by other processes, above which timings are doubtful


def main(words: list[str]) -> int:
    """Parse the words after `equipoise bench`, measure, and print the tables; returns the exit code."""
    return parse_and_call(bench, words, "bench")


def bench(
    objective: str = "began",
    resolution: Count = 64,
    width: Count = 64,
    batch: BatchSize | None = None,
    channels: Literal[1, 3] = 3,
    compiled: bool = False,
    precision: Precision = "auto",
    table: bool = False,
    around: bool = True,
    seconds: Annotated[float, Field(gt=0, le=3600)] = 30.0,
    threads: ProcessCount | None = None,
    device: Device = "auto",
    json: Path | None = None,
) -> int:
    """Measure training speed on this machine, in alternation with the step as most public code writes it.

    Example: equipoise bench --objective began --resolution 64 --width 64 --batch 16

    Example: equipoise bench --table --json bench.json

    Args:
        objective: Objective at its published settings; began, gan and wgan-gp have a textbook to be compared with.
        resolution: Side of the images, which are synthetic and in memory.
        width: Width of the networks.
        batch: Batch size; by default 16 for began, else 64.
        channels: Channels of the images.
        compiled: Measure compiled networks too, which takes half a minute; --table does so on a GPU.
        precision: Precision of equipoise's step; auto is bf16 where the hardware gains from it. The textbook's is fp32.
        table: Measure a standard set of configurations instead.
        around: Measure start, data, sampling, checkpoints and logs of the first configuration too.
        seconds: Seconds to spend on timing each configuration.
        threads: CPU threads; by default torch's own number.
        device: Device to compute on.
        json: File to write the figures to.
    """
    if objective not in PRESETS:
        raise UsageError(f"unknown objective {quoted(objective)}: use one of {', '.join(PRESETS)}")
    check_place(json)
    if json is not None:
        check_spared(json)
    torch.set_num_threads(threads or torch.get_num_threads())
    launcher = make_launcher(device, 1)
    case = Case(objective, resolution, width, batch or BATCHES.get(objective, 64), precision, channels, compiled)
    cases = STANDARD.get(launcher.device.type, STANDARD["cpu"]) if table else [case]
    rows = [_measure(case, launcher, seconds) for case in cases]
    print(f"{results_table(rows)}\n\n{peaks_table(rows)}")
    if not table:
        print(f"\n{operators_table(rows[0])}")
    if around:
        print("measuring what surrounds the steps", file=sys.stderr)
        rows[0]["around"] = measure_overheads(cases[0], launcher, rows[0]["images_per_second"], limit=seconds)
        print(f"\n{overheads_table(rows[0]['around'])}")
    if json is not None:
        report = {"machine": describe(launcher.device), **({"rows": rows} if table else rows[0])}
        write_where_asked(json, to_json(report, indent=1) + "\n")
        print(f"figures: {json}")
    return 0


def _measure(case: Case, launcher: Launcher, seconds: float) -> dict[str, Any]:
    """Figures of one configuration; progress and warnings go to stderr, so that stdout holds the tables alone."""
    print(f"measuring {case.objective}, {case.resolution}x{case.resolution}, {case.width} wide", file=sys.stderr)
    figures = measure(case, launcher, limit=seconds)
    if figures["warning"]:
        print(f"warning: {figures['warning']}", file=sys.stderr)
    if (figures["others_busy_cores"] or 0) > LOADED:
        print(
            f"warning: other processes kept {figures['others_busy_cores']:.1f} cores busy meanwhile; ratios hold "
            "roughly, times do not: measure again when the machine is quiet",
            file=sys.stderr,
        )
    return figures
