"""Of the signals that BEGAN logs or could log, which tells how good its samples are: M_global, or another.

    python -m benchmarks.convergence                 # 24 runs: about two hours of one core
    python -m benchmarks.convergence --data digits --seeds 0 --scale 0.3
    python -m benchmarks.convergence --report        # of what is there, no training

Over a whole run everything that rises or falls goes along with KID. So signals are asked what a user asks: among the
checkpoints of a run's second half, which is better; and among runs of other settings and seeds, at their ends, which
is better? Each checkpoint has the means of what was logged since the one before, and what its own discriminator says
of 500 held-out images, 500 that it was trained on and 500 samples. The truth is KID of 500 samples in fixed features.

Runs are resumed and figures kept. Writes docs/results/convergence.md and .png.
"""

import argparse
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import spearmanr

from equipoise import BEGAN, PRESETS, Run, TrainConfig
from equipoise.config.datasets import open_dataset
from equipoise.metrics import manifold_scores, squared_mmd
from equipoise.sampling.players import TrainedPlayers, open_players
from equipoise.training.train import resume_if_exists
from equipoise.views.figures import GREEN, INK

RESULTS = Path(__file__).parents[1] / "docs" / "results"
IMAGES, SCORES, COUNT = 60_000, 20, 500
DATA = {"digits": "digits", "faces": "faces:count=5000"}
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "a third of the rate": {"lr": 5e-4},
    "gamma 0.6": {"objective": BEGAN(gamma=0.6)},
    "pulling away by 0.1": {"objective": BEGAN(pull=0.1)},
}
HIGHER_IS_BETTER = {"images", "diversity", "detail", "clusters", "coverage of D's codes", "k"}
Columns = dict[str, NDArray[np.float64]]


class Worth(NamedTuple):
    """What a signal says of KID.

    Attributes:
        within: mean rank correlation over the second halves of runs, -1 to 1.
        error: its standard error over runs.
        changes: the same of the changes from one checkpoint to the next, in which what all runs have in common, that
            everything gets better with time, has no part.
        between: rank correlation between the ends of runs, -1 to 1.
        right: share of pairs of runs whose ends it puts into the right order, 0 to 1.
        chosen: KID of the checkpoint it chooses in a second half over the lowest there, in the mean over runs; from 1.
    """

    within: float
    error: float
    changes: float
    between: float
    right: float
    chosen: float


def config_of(data: str, setting: str, seed: int, scale: float) -> TrainConfig:
    every = round(IMAGES * scale) // SCORES
    config = PRESETS["began"]["default"].with_changes(data=DATA[data], resolution=32, seed=seed, **SETTINGS[setting])
    return config.with_changes(
        images=every * SCORES,
        sample_every=every,
        score_every=every,
        score_count=COUNT,
        checkpoint_every=every,
        keep_every=every,
        log_every=every // 4,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", choices=list(DATA), default=list(DATA))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of images")
    parser.add_argument("--runs", type=Path, default=Path("runs/convergence"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true", help="train nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for seed, data, setting in itertools.product([] if options.report else options.seeds, options.data, SETTINGS):
        folder = options.runs / f"{data}-{setting.replace(' ', '-')}-{seed}"
        file = folder / "signals.json"
        if not file.exists():
            run = resume_if_exists(config_of(data, setting, seed, options.scale), folder, quiet=True)
            file.write_text(json.dumps([logged(run, before, at) | measured(run, at) for before, at in windows(run)]))
            print(folder.name, flush=True)
            report(options.runs, options.out)
    report(options.runs, options.out)


def windows(run: Run) -> list[tuple[int, int]]:
    """Images before and after each of a run's spans between two scores."""
    scored = [row["images"] for row in run.rows() if "kid" in row]
    return list(itertools.pairwise([0, *scored]))


def logged(run: Run, before: int, at: int) -> dict[str, float]:
    """Means of what was logged after `before` images and up to `at`, and KID."""
    rows = [row for row in run.rows() if before < row["images"] <= at]
    names = sorted({name for row in rows for name in row} - {"images", "lr", "kid_spread"})
    return {"images": at} | {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}


@torch.inference_mode()
def measured(run: Run, at: int) -> dict[str, float]:
    """What the discriminator after `at` images says of images that it knows, does not know, and samples."""
    players = open_players(run, at=at, device="cpu")
    dataset = open_dataset(run.config, place=run.place)
    parts = {name: dataset.split(name) for name in ("train", "held-out")}
    sets = {name: images.batch(list(range(min(COUNT, len(images))))) for name, images in parts.items()}
    sets["samples"] = players.pictures(players.draw(COUNT, "convergence", 0))
    energies, codes = {}, {}
    for name, pictures in sets.items():
        energies[name], codes[name] = seen(players, pictures)
    spread = codes["held-out"].std(dim=0).clamp_min(1e-6)
    real, made = (((codes[name] - codes["held-out"].mean(dim=0)) / spread) for name in ("held-out", "samples"))
    gamma = run.config.objective.gamma  # type: ignore[attr-defined]
    unknown = energies["held-out"]
    return {
        "energy of held-out images": unknown,
        "energy gap, held-out to known": unknown / energies["train"] - 1,
        "energy gap, samples to held-out": abs(energies["samples"] / unknown - 1),
        "M_global, held-out": unknown + abs(gamma * unknown - energies["samples"]),
        "KID of D's codes": squared_mmd(made, real),
        "coverage of D's codes": manifold_scores(real, made).coverage,
    }


def seen(players: TrainedPlayers, pictures: torch.Tensor) -> tuple[float, torch.Tensor]:
    """Mean energy, and codes (N, K)."""
    images = players.on_device(pictures)
    return float(players.discriminator(images).score.double().mean()), players.features(images).double()


def report(folder: Path, out: Path) -> None:
    """The page and the figure of all runs that are there."""
    out.mkdir(parents=True, exist_ok=True)
    sections = ["# Which signal tells how good BEGAN's samples are?", __doc__.split("\n\n")[2].replace("\n", " ")]
    sections.append("`python -m benchmarks.convergence`")
    tables: dict[str, dict[str, Worth]] = {}
    for data in DATA:
        rows = [json.loads(file.read_text()) for file in sorted(folder.glob(f"{data}-*/signals.json"))]
        if len(rows) > 2:
            tables[data] = worths([columns(of_run) for of_run in rows])
            images = f"{len(rows)} runs of {rows[0][-1]['images']:,} images, {len(rows[0])} scores each"
            sections += [f"## {data.capitalize()}: {images}", table(tables[data])]
    if tables:
        drawn(tables).savefig(out / "convergence.png", dpi=110)
        sections.insert(3, "![Rank correlation of each signal with KID](convergence.png)")
    (out / "convergence.md").write_text("\n\n".join(sections) + "\n")


def columns(rows: Sequence[dict[str, float]]) -> Columns:
    """Signals as arrays over the scores; signals that are better high are turned around, as KID is better low."""
    return {
        name: np.array([row[name] for row in rows]) * (-1 if name in HIGHER_IS_BETTER else 1)
        for name in rows[0]
        if all(name in row for row in rows)
    }


def worths(runs: Sequence[Columns]) -> dict[str, Worth]:
    """What each signal says of KID, the best within second halves first."""
    names = [name for name in runs[0] if name != "kid" and all(name in run for run in runs)]
    ends = np.array([run["kid"][-1] for run in runs])
    last_halves = [{name: run[name][len(run[name]) // 2 :] for name in (*names, "kid")} for run in runs]
    found = {}
    for name in names:
        within = [spearman(run[name], run["kid"]) for run in last_halves]
        changes = [spearman(np.diff(run[name]), np.diff(run["kid"])) for run in last_halves]
        chosen = [run["kid"][run[name].argmin()] / run["kid"].min() for run in last_halves]
        right = [
            same_order(a[name][-1] - b[name][-1], a["kid"][-1] - b["kid"][-1])
            for a, b in itertools.combinations(runs, 2)
        ]
        found[name] = Worth(
            within=float(np.mean(within)),
            error=float(np.std(within, ddof=1) / len(within) ** 0.5),
            changes=float(np.mean(changes)),
            between=spearman(np.array([run[name][-1] for run in runs]), ends),
            right=float(np.mean(right)),
            chosen=float(np.mean(chosen)),
        )
    return dict(sorted(found.items(), key=lambda item: -item[1].within))


def same_order(signal: float, kid: float) -> float:
    """1 if two differences have one sign, 0 if not, a half if there is no difference."""
    return 0.5 if signal == 0 else float((signal > 0) == (kid > 0))


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Rank correlation; 0 where one does not vary."""
    return float(spearmanr(a, b).statistic) if np.ptp(a) > 0 and np.ptp(b) > 0 else 0.0


def table(signals: dict[str, Worth]) -> str:
    lines = [
        "| signal | within second halves | of the changes there | between runs | pairs of runs in right order "
        "| KID chosen, of the best |",
        "|---|---|---|---|---|---|",
    ]
    for name, worth in signals.items():
        within = f"{worth.within:+.2f} ± {worth.error:.2f}"
        others = f"{worth.changes:+.2f} | {worth.between:+.2f} | {worth.right:.0%} | {worth.chosen:.2f}"
        lines.append(f"| {name} | {within} | {others} |")
    return "\n".join(lines)


def drawn(tables: dict[str, dict[str, Worth]]) -> Figure:
    """Both correlations of every signal."""
    figure = Figure(figsize=(6 * len(tables), 6), layout="constrained")
    for axes, (data, signals) in zip(figure.subplots(1, len(tables), squeeze=False)[0], tables.items(), strict=True):
        names = list(signals)[::-1]
        places = np.arange(len(names))
        axes.barh(places + 0.2, [signals[name].within for name in names], 0.38, color=INK, label="within second halves")
        axes.barh(places - 0.2, [signals[name].between for name in names], 0.38, color=GREEN, label="between runs")
        axes.set_yticks(places, names)
        axes.set(xlim=(-1, 1), xticks=(-1, -0.5, 0, 0.5, 1), title=f"{data}: rank correlation with KID")
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), frameon=False, ncols=2, loc="outside lower center")
    return figure


if __name__ == "__main__":
    main()
