"""Is M_global worth watching? How it and every other logged signal go along with KID while BEGAN trains.

    python -m benchmarks.convergence                 # trains on digits and faces: about 20 minutes of one core
    python -m benchmarks.convergence digits --scale 0.5
    python -m benchmarks.convergence --report        # of the runs that are there, no training

Each score's KID is paired with the means of the signals since the score before. A table of Spearman's rank
correlations and a figure go to docs/results/: of the values themselves, which may only share their trend, and of the
changes from one score to the next, which do not.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import spearmanr

from equipoise.config.presets import PRESETS
from equipoise.config.train_config import TrainConfig
from equipoise.networks import Autoencoder
from equipoise.runs.run import Run
from equipoise.training.train import resume_if_exists

RESULTS = Path(__file__).parents[1] / "docs" / "results"
IMAGES, SCORES = 30_000, 25
WARM = 0.1  # share of the run left out: there everything falls together
INK, GREEN, GRAY = "#333333", "#009e73", "#8a8a8a"
Values = NDArray[np.float64]


class Pairing(NamedTuple):
    """One signal beside KID.

    Attributes:
        signal: a column of metrics.jsonl.
        level: Spearman's rank correlation of the values.
        change: of the changes from one score to the next.
        count: how many scores.
        images: seen by the last of them.
    """

    signal: str
    level: float
    change: float
    count: int
    images: int


def configurations(scale: float) -> dict[str, TrainConfig]:
    """What is trained, by the name of its data."""
    demo = PRESETS["began"]["remedies"]
    images = round(IMAGES * scale)
    every = images // SCORES
    common = {
        "sample_every": every,
        "score_every": every,
        "checkpoint_every": every,
        "log_every": every // 4,
        "keep": 1,
    }
    digits = demo.with_changes(images=images, **common, score_count=500)
    faces = demo.with_changes(
        network=Autoencoder(width=16, latent=32), data="faces:count=4000", images=images, **common, score_count=120
    )
    return {"digits": digits, "faces": faces}


def main() -> None:
    """Train what is not there, and write the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", help="digits, faces; by default both")
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of images")
    parser.add_argument("--runs", type=Path, default=Path("runs/convergence"), help="where the runs are")
    parser.add_argument("--report", action="store_true", help="train nothing")
    given = parser.parse_args()
    if not given.report:
        known = configurations(given.scale)
        for name in given.data or known:
            resume_if_exists(known[name], given.runs / name, quiet=True)
    runs = {path.name: Run.open(path) for path in sorted(given.runs.iterdir()) if (path / "config.yaml").is_file()}
    scored = {name: aligned(run.rows()) for name, run in runs.items()}
    found = {name: paired(columns) for name, columns in scored.items()}
    RESULTS.mkdir(parents=True, exist_ok=True)
    drawn(scored, found).savefig(RESULTS / "convergence.png", dpi=110)
    text = table(runs, found)
    (RESULTS / "convergence.md").write_text(text)
    print(text)


def aligned(rows: Sequence[dict[str, Any]]) -> dict[str, Values]:
    """For each score after the warm-up: images seen, KID, and every signal's mean since the score before."""
    scores = [row for row in rows if "kid" in row]
    names = sorted({name for row in rows for name in row} - {"images", "kid", "kid_spread"})
    columns: dict[str, list[float]] = {name: [] for name in ("images", "kid", *names)}
    before = 0
    for score in scores:
        window = [row for row in rows if before < row["images"] <= score["images"]]
        before = score["images"]
        if score["images"] < WARM * scores[-1]["images"]:
            continue
        columns["images"].append(score["images"])
        columns["kid"].append(score["kid"])
        for name in names:
            values = [row[name] for row in window if name in row]
            columns[name].append(float(np.mean(values)) if values else float("nan"))
    return {name: np.array(values) for name, values in columns.items()}


def paired(columns: dict[str, Values]) -> list[Pairing]:
    """Every signal, and the images seen themselves, beside KID; the closest companion first."""
    kid, last = columns["kid"], columns["images"][-1]
    found = [
        Pairing(name, _spearman(values, kid), _spearman(np.diff(values), np.diff(kid)), len(kid), int(last))
        for name, values in columns.items()
        if name != "kid" and np.isfinite(values).all() and np.ptp(values) > 0
    ]
    return sorted(found, key=lambda each: -abs(each.level))


def _spearman(a: Values, b: Values) -> float:
    """Nan where one does not vary."""
    return float(spearmanr(a, b).statistic) if np.ptp(a) > 0 and np.ptp(b) > 0 else float("nan")


def table(runs: dict[str, Run], found: dict[str, list[Pairing]]) -> str:
    """The page for docs/results."""
    scale = max(run.config.images for run in runs.values()) / IMAGES
    command = "python -m benchmarks.convergence" + (f" --scale {scale:g}" if scale != 1 else "")
    lines = ["# Does M_global go along with KID?", "", f"`{command}`", ""]
    lines += ["![KID and M_global over training, and every signal's correlation with KID](convergence.png)", ""]
    for name, pairings in found.items():
        config, chance = runs[name].config, 1.96 / np.sqrt(pairings[0].count - 1)
        width = getattr(config.network, "width", "")
        lines += [
            f"## {name.capitalize()}",
            "",
            f"BEGAN, {width} wide, {pairings[0].images:,} images of {config.data} at {config.resolution} pixels, seed "
            f"{config.seed}; KID of {config.score_count} samples every {config.score_every:,} images; "
            f"n = {pairings[0].count} scores, those of the first tenth left out.",
            "",
            "| signal | rank correlation with KID | of the changes |",
            "|---|---|---|",
            *(f"| {each.signal} | {_told(each.level)} | {_told(each.change)} |" for each in pairings),
            "",
            f"Of {pairings[0].count} unrelated pairs, 95 % lie within ±{chance:.2f}; scores that follow each other are "
            "not unrelated, so that the first column needs more than that.",
            "",
        ]
    return "\n".join(lines)


def _told(value: float) -> str:
    return f"{value:+.2f}" if np.isfinite(value) else "-"


def drawn(scored: dict[str, dict[str, Values]], found: dict[str, list[Pairing]]) -> Figure:
    """KID and M_global over training; and each signal's two correlations."""
    figure = Figure(figsize=(11, 3.6 * len(scored)), layout="constrained")
    panels = figure.subplots(len(scored), 2, squeeze=False, width_ratios=(3, 2))
    for (left, right), (name, columns) in zip(panels, scored.items(), strict=True):
        images = columns["images"] / 1000
        left.plot(images, columns["kid"], color=INK, marker="o", markersize=3)
        left.set(title=name, xlabel="thousand images", ylabel="KID", ylim=(0, None))
        twin = left.twinx()
        twin.plot(images, columns["m_global"], color=GREEN, marker="s", markersize=3)
        twin.set_ylabel("M_global", color=GREEN)
        twin.set_ylim(0, None)
        pairings = found[name][::-1]
        places = np.arange(len(pairings))
        right.barh(places + 0.2, [each.level for each in pairings], 0.38, color=INK, label="values")
        right.barh(places - 0.2, [each.change for each in pairings], 0.38, color=GREEN, label="changes")
        right.set_yticks(places, [each.signal for each in pairings])
        right.set(xlim=(-1, 1), title=f"rank correlation with KID, n = {pairings[0].count}")
        right.set_xticks([-1, -0.5, 0, 0.5, 1])
        right.axvline(0, color=GRAY, linewidth=0.8)
        right.legend(frameon=False, fontsize=8)
        for axes in (left, right, twin):
            axes.spines["top"].set_visible(False)
    return figure


if __name__ == "__main__":
    main()
