"""Every objective on a toy, for equal points and with equal networks where possible.

Each trains with its `toy` preset, on perceptrons of one depth and width: the energy objectives on the perceptrons'
autoencoder, the others on a perceptron for each player. All figures are of the averaged generator, as is every sample
of equipoise. Writes docs/results/toys.md, and a scatter of each objective's first run into docs/results/toys.png.

    python -m benchmarks.toys --points 3500000 --seeds 5 --out docs/results
"""

import argparse
import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

import equipoise
from benchmarks import mean_and_spread
from equipoise import PRESETS, Diverged, Run, TrainConfig
from equipoise.sampling.load import load_discriminator
from equipoise.sampling.sample import sample
from equipoise.views.toy_scatter import DRAWN, draw_scatter, realness_score

WIDTH = 64  # of every layer
LOOKS = 20  # times that modes are counted on the way
COLUMNS = ["objective", "modes", "best", "within 3 sigma", "best", "spread", "1000 MMD²", "W1", "seconds"]
HEADER = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


class Found(NamedTuple):
    """One run: its final figures, the best of those taken on the way, and the seconds that it took."""

    run: Run
    modes: float
    best_modes: float
    near: float
    best_near: float
    spread: float
    mmd: float
    wasserstein: float
    seconds: float


def configs(data: str, points: int) -> dict[str, TrainConfig]:
    """The `toy` presets, with modes counted so often."""
    every = points // LOOKS
    return {
        name: presets["toy"].with_changes(
            network=replace(presets["toy"].network, width=WIDTH),
            data=data,
            images=points,
            sample_every=every,
            checkpoint_every=points,
            keep=1,
            device="cpu",
        )
        for name, presets in PRESETS.items()
        if "toy" in presets
    }


def measured(name: str, config: TrainConfig, folder: Path) -> Found:
    """Train, or take up what was trained before, and score the end."""
    done = folder / "benchmark.json"
    if not done.exists():
        started = time.process_time()
        try:
            equipoise.train(config, folder, quiet=True)
        except Diverged as error:
            print(f"{name}: {error}", flush=True)
        done.write_text(json.dumps({"seconds": time.process_time() - started}))
    run = Run.open(folder)
    figures = {score: figure["value"] for score, figure in equipoise.evaluate(run, count=5000, draws=1).figures.items()}
    rows = [row for row in run.rows() if "in_modes" in row]
    return Found(
        run,
        figures.get("modes", math.nan),
        max(row.get("modes", math.nan) for row in rows),
        100 * figures["in-modes"],
        100 * max(row["in_modes"] for row in rows),
        figures.get("spread", math.nan),
        1000 * figures["mmd"],
        figures["wasserstein"],
        json.loads(done.read_text())["seconds"],
    )


def line(name: str, found: list[Found]) -> str:
    """A row of the table."""
    columns = list(zip(*(one[1:] for one in found), strict=True))
    digits = [1, 1, 0, 0, 2, 1, 3, 0]
    cells = [mean_and_spread(list(values), places) for values, places in zip(columns, digits, strict=True)]
    cells[2], cells[3] = f"{cells[2]} %", f"{cells[3]} %"
    return f"| {name} | {' | '.join(cells)} |"


def sheet(runs: dict[str, Run], out: Path) -> None:
    """One scatter an objective, four in a row."""
    from matplotlib.figure import Figure

    rows = math.ceil(len(runs) / 4)
    figure = Figure(figsize=(12, 3.2 * rows), dpi=100, facecolor="white", layout="constrained")
    for axes in (grid := figure.subplots(rows, 4, squeeze=False)).flat:
        axes.set_axis_off()
    for axes, (name, run) in zip(grid.flat, runs.items(), strict=False):
        toy = run.config.toy
        assert toy is not None
        axes.set_axis_on()
        axes.set_title(name, loc="left", size=11, weight="bold")
        points, score = sample(run, DRAWN).flatten(1), realness_score(load_discriminator(run), run.config.objective)
        draw_scatter(axes, points, toy.held_out(DRAWN), extent=toy.extent, score=score)
    figure.savefig(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="grid25", help="ring8, grid25 or swissroll")
    parser.add_argument("--points", type=int, default=3_500_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="", help="names with commas between")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=Path("runs/toys"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    lines, firsts = [HEADER], dict[str, Run]()
    for name, config in configs(options.data, options.points).items():
        if options.only and name not in options.only.split(","):
            continue
        found = [
            measured(
                name, config.with_changes(seed=seed), options.runs / f"{name}-{config.data}-{options.points}-{seed}"
            )
            for seed in range(options.seeds)
        ]
        firsts[name] = found[0].run
        lines.append(line(name, found))
        print(lines[-1], flush=True)
    if not options.only:
        about = (
            f"`python -m benchmarks.toys --data {options.data} --points {options.points} --seeds {options.seeds}`: "
            "mean ± standard deviation over the seeds; seconds of one CPU core."
        )
        (options.out / "toys.md").write_text("\n\n".join(["# Toys", about, "\n".join(lines)]) + "\n")
        sheet(firsts, options.out / "toys.png")


if __name__ == "__main__":
    main()
