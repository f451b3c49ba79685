"""Every objective on the bundled digits by its defaults, for at most six minutes of one CPU core a run.

Each trains at 32x32 for as many images as its defaults say, or as a core gets through in the time, which a short run
measures. KID, coverage and what they show are of 1,000 samples of the end beside the held-out digits, by the features
of `digits`. Finished runs are kept and not made again; one that was killed goes on at its last checkpoint. Writes
docs/results/digits.md, a picture of each run into docs/results/objectives/, and digits.png with samples of them all.

    python -m benchmarks.digits --seeds 0 1 2
"""

import argparse
import json
import math
import statistics
from pathlib import Path

import torch
from PIL import Image

from benchmarks.heart import Scorer, trained
from equipoise import PRESETS, Run, TrainConfig
from equipoise.sampling.sample import sample
from equipoise.studies.budget import images_in
from equipoise.training.allocator import freed_memory_kept
from equipoise.views.figures import grid
from equipoise.views.report import draw_curves

BUDGET = 6.0  # minutes of a core
RESERVE = 0.9  # of it is planned, as speeds differ from run to run
COLUMNS = ["objective", "KID", "worst KID", "coverage", "digits", "entropy", "images", "CPU minutes", "seeds"]
PICTURE = "![64 samples of each](digits.png)"


def train_and_score(name: str, seed: int, runs: Path, scorer: Scorer) -> None:
    """Train and score one objective by one seed, unless that is done; the row lies beside the run."""
    row_file, length = runs / f"{name}-{seed}.json", runs / f"{name}.images"
    if row_file.exists():
        return
    config = PRESETS[name]["default"]
    with freed_memory_kept():
        if not length.exists():
            length.write_text(str(min(config.images, images_in(config, 60 * RESERVE * BUDGET))))
        images = int(length.read_text())
        rest = {"sample_every": images // 10, "checkpoint_every": images // 10, "keep": 1}
        run, seconds = trained(config.with_changes(images=images, seed=seed, **rest), runs / f"{name}-{seed}")
    row = {**scorer(sample(run, 1000)), "images": float(images), "minutes": seconds / 60}
    row_file.write_text(json.dumps(row))
    print(name, seed, {key: round(value, 3) for key, value in row.items()}, flush=True)


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


def line(name: str, rows: list[dict[str, float]]) -> str:
    """A row of the table: means over seeds, and the worst KID."""
    cells = [
        name,
        mean_and_spread([row["kid"] for row in rows], 3),
        f"{max(row['kid'] for row in rows):.3f}",
        mean_and_spread([row["coverage"] for row in rows], 2),
        f"{statistics.mean(row['digits'] for row in rows):.1f}",
        mean_and_spread([row["entropy"] for row in rows], 3),
        f"{statistics.mean(row['images'] for row in rows):,.0f}",
        f"{statistics.mean(row['minutes'] for row in rows):.1f}",
        str(len(rows)),
    ]
    return f"| {' | '.join(cells)} |"


def mean_and_spread(values: list[float], digits: int) -> str:
    """Mean and, of several seeds, standard deviation."""
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


def report(runs: Path, out: Path) -> None:
    """Write the table, best first, and the pictures, of all rows that there are."""
    results: dict[str, list[dict[str, float]]] = {}
    firsts: dict[str, Run] = {}
    for name in PRESETS:
        if files := sorted(runs.glob(f"{name}-[0-9]*.json")):
            results[name] = [json.loads(file.read_text()) for file in files]
            firsts[name] = Run.open(files[0].with_suffix(""))
            picture(firsts[name], out / "objectives" / f"{name}.png")
    ranked = sorted(results, key=lambda name: statistics.mean(row["kid"] for row in results[name]))
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|", *(line(name, results[name]) for name in ranked)]
    about = "`python -m benchmarks.digits` made this table and these pictures; its docstring says what they are. "
    about += "The minutes of a run that was resumed are those of its last process."
    if missing := [name for name in PRESETS if name not in results]:
        about += f" Not run yet: {', '.join(missing)}."
    (out / "digits.md").write_text("\n\n".join(["# Digits", about, "\n".join(lines), PICTURE]) + "\n")
    sheet({name: firsts[name] for name in ranked}, out / "digits.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--only", nargs="*", default=list(PRESETS), choices=list(PRESETS), help="objectives")
    parser.add_argument("--runs", type=Path, default=Path("runs/digits"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.runs.mkdir(parents=True, exist_ok=True)
    scorer = Scorer(TrainConfig(), "digits")
    for seed in options.seeds:
        for name in options.only:
            train_and_score(name, seed, options.runs, scorer)
    report(options.runs, options.out)


if __name__ == "__main__":
    main()
