"""Every objective on the bundled digits, for equal images and with equal networks where possible.

Each trains at 16x16 by its authors' optimiser, schedule and batch: the energy objectives on the BEGAN paper's
autoencoder 16 wide, the others on DCGAN 24 wide. KID is taken ten times on the way, so that the best value stands
beside the final one. Those that this budget does not suit are trained again by one other setting, so that the reason is
more than a guess. Writes docs/results/digits.md, a picture of each run into docs/results/objectives/, and
digits.png with samples of them all.

    python -m benchmarks.digits --images 160000 --seeds 1 --out docs/results
"""

import argparse
import json
import math
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import equipoise
from benchmarks.digit_evaluator import DigitEvaluator, DigitStatistics
from equipoise import PRESETS, Diverged, Run, TrainConfig
from equipoise.objectives import Tasks
from equipoise.objectives.wgan import WGAN
from equipoise.sampling.sample import sample
from equipoise.views.figures import grid
from equipoise.views.report import draw_curves

WIDTHS = {"autoencoder": 16, "dcgan": 24}
STEADY = PRESETS["bgan-discrete"]["steady"]
OTHERWISE: dict[str, tuple[str, dict[str, Any]]] = {
    "gan with classes": ("gan", {"tasks": Tasks(classify_d=1.0, classify_g=1.0)}),
    "ls-gan at lr 4e-4": ("ls-gan", {"lr": 4e-4}),
    "wgan-gp at n_critic 1": ("wgan-gp", {"n_critic": 1}),
    "magan at lr 2e-3": ("magan", {"lr": 2e-3}),
    "bgan-discrete at lr ratio 50": ("bgan-discrete", {"lr_ratio": 50.0}),
    "bgan-discrete by preset steady": (
        "bgan-discrete",
        {
            "network": replace(STEADY.network, width=WIDTHS["dcgan"]),
            "lr": STEADY.lr,
            "lr_ratio": STEADY.lr_ratio,
        },
    ),
    "wgan at n_critic 1": ("wgan", {"n_critic": 1, "objective": WGAN(long_phases=False)}),
}
"""What else is tried, by its name in the table: an objective, and what is changed."""
COLUMNS = [
    "objective",
    "KID final",
    "KID best",
    "digits among 64",
    "entropy",
    "recognisable",
    "diversity",
    "CPU minutes",
]
PICTURE = "![64 samples of each](digits.png)"
HEADER = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


def configs(images: int) -> dict[str, TrainConfig]:
    """Each objective's default, on networks of one width."""
    found = {}
    for name, presets in PRESETS.items():
        base = presets["demo" if name == "began" else "default"]
        found[name] = base.with_changes(
            network=replace(base.network, width=WIDTHS[base.network_name]),
            resolution=16,
            images=images,
            sample_every=images,
            checkpoint_every=images,
            score_every=images // 10,
            keep=1,
        )
    return found


def otherwise(images: int) -> dict[str, TrainConfig]:
    """Those of OTHERWISE."""
    known = configs(images)
    return {name: known[objective].with_changes(**changes) for name, (objective, changes) in OTHERWISE.items()}


def train_and_evaluate(
    name: str, config: TrainConfig, folder: Path, evaluator: DigitEvaluator
) -> tuple[Run, DigitStatistics, dict[str, float]]:
    """Train unless `folder` holds the run; statistics of its final samples, and the run's own KIDs and minutes."""
    done = folder / "benchmark.json"
    started = time.process_time()
    try:
        run = Run.open(folder) if done.exists() else equipoise.train(config, folder, quiet=True)
    except Diverged as error:
        print(f"{name}: {error}", flush=True)
        run = Run.open(folder)
    if not done.exists():
        done.write_text(json.dumps({"seconds": time.process_time() - started}))
    kids = [1000 * row["kid"] for row in run.rows() if "kid" in row]
    minutes = json.loads(done.read_text())["seconds"] / 60
    return run, evaluator(sample(run, 1000)), {"final": kids[-1], "best": min(kids), "minutes": minutes}


def picture(run: Run, out: Path) -> None:
    """64 samples beside the run's curves."""
    samples = grid(sample(run, 64), columns=8).convert("RGB")
    curves = Image.open(draw_curves(run.path)).convert("RGB")
    height = 900
    parts = [part.resize((round(part.width * height / part.height), height)) for part in (samples, curves)]
    sheet = Image.new("RGB", (sum(part.width for part in parts) + 24, height), "white")
    sheet.paste(parts[0], (0, 0))
    sheet.paste(parts[1], (parts[0].width + 24, 0))
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(128).save(out, optimize=True)


def sheet(runs: dict[str, Run], out: Path) -> None:
    """64 samples of each run below its name, four runs in a row."""
    from matplotlib.figure import Figure

    rows = math.ceil(len(runs) / 4)
    figure = Figure(figsize=(12, 3.2 * rows), dpi=80, facecolor="white", layout="constrained")
    places = figure.subplots(rows, 4, squeeze=False)
    for axes in places.flat:
        axes.set_axis_off()
    for axes, (name, run) in zip(places.flat, runs.items(), strict=False):
        axes.set_title(name, loc="left", size=11, weight="bold")
        axes.imshow(grid(sample(run, 64), columns=8), cmap="gray", vmin=0, vmax=255)
    figure.savefig(out)


def line(name: str, results: list[tuple[Run, DigitStatistics, dict[str, float]]]) -> str:
    """A row of the table."""
    rows, figures = [row for _, row, _ in results], [figure for _, _, figure in results]
    cells = [
        mean_and_spread([figure["final"] for figure in figures], 0),
        mean_and_spread([figure["best"] for figure in figures], 0),
        mean_and_spread([row.distinct for row in rows], 1),
        mean_and_spread([row.entropy for row in rows], 2),
        mean_and_spread([100 * row.recognisable for row in rows], 0) + " %",
        mean_and_spread([row.diversity for row in rows], 2),
        mean_and_spread([figure["minutes"] for figure in figures], 1),
    ]
    return f"| {name} | {' | '.join(cells)} |"


def mean_and_spread(values: list[float], digits: int) -> str:
    """Mean and, of several seeds, standard deviation."""
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=160_000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", default="", help="names with commas between")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=Path("runs/digits"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    evaluator, lines, firsts = DigitEvaluator(), [HEADER], dict[str, Run]()
    for name, config in {**configs(options.images), **otherwise(options.images)}.items():
        if options.only and name not in options.only.split(","):
            continue
        plain = name.replace(" ", "-")
        prefix = f"{plain}-{config.images}"
        results = [
            train_and_evaluate(name, config.with_changes(seed=seed), options.runs / f"{prefix}-{seed}", evaluator)
            for seed in range(options.seeds)
        ]
        firsts[name] = results[0][0]
        picture(firsts[name], options.out / "objectives" / f"{plain}.png")
        lines.append(line(name, results))
        print(lines[-1], flush=True)
    if not options.only:
        about = (
            f"`python -m benchmarks.digits --images {options.images} --seeds {options.seeds}`: KID times 1,000, of "
            "1,000 samples beside the held-out digits, by the feature extractor `digits`; the other columns are its "
            "verdict on 1,000 samples of the end, the first of them on 64. Minutes are of one CPU core."
        )
        (options.out / "digits.md").write_text("\n\n".join(["# Digits", about, "\n".join(lines), PICTURE]) + "\n")
        sheet(firsts, options.out / "digits.png")


if __name__ == "__main__":
    main()
