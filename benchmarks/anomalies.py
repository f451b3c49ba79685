"""How well BEGAN's energy finds what it was not trained on: one digit trains, the other nine are to be found.

For every digit, BEGAN trains on 400 of the 500 bundled images, and so does its discriminator alone, as a plain
autoencoder: the same network, steps and images, with one k that stays 0. The other 100 images are to score low, and all
4,500 of the other digits high. Writes docs/results/anomalies.md; what --runs has already is not trained again.

    python -m benchmarks.anomalies --images 40000
"""

import argparse
import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch

from equipoise import BEGAN, PRESETS, Run
from equipoise.data import open_images
from equipoise.metrics.ranking import Interval, auroc_interval
from equipoise.sampling.outliers import Scale, score_pictures
from equipoise.sampling.players import open_players
from equipoise.training.train import resume_if_exists

RESULTS = Path(__file__).parents[1] / "docs" / "results"
TRAINED, SIDE = 400, 32  # images of the digit that train, of 500
PUBLISHED = (98.0, 99.7, 91.7, 91.9, 94.9, 88.5, 98.3, 94.6, 93.9, 96.5)
"""Deep SVDD, one-class, on all of MNIST: Ruff et al. (2018), "Deep One-Class Classification", table 1."""
METHODS = ("BEGAN", "autoencoder")
SCORES = ("energy", "oddness")
COLUMNS = ("digit", *(f"{method}, {score}" for method in METHODS for score in SCORES), "Deep SVDD, published")


def trained(method: str, digit: int, images: int, home: Path) -> Run:
    """The run of one method on one digit, trained if it is not there."""
    data = home / f"digit-{digit}.npz"
    if not data.exists():
        home.mkdir(parents=True, exist_ok=True)
        digits = open_images("digits", SIDE)
        members = np.flatnonzero(digits.labels == digit)[:TRAINED]
        np.savez(data, images=digits.batch(members).numpy())
    config = PRESETS["began"]["default"]
    objective = cast(BEGAN, config.objective)
    if method == "autoencoder":
        objective = replace(objective, boundary="batch", lambda_k=1e-12)
    config = config.with_changes(
        objective=objective,
        data=str(data),
        resolution=SIDE,
        held_out=0,
        images=images,
        log_every=images // 10,
        sample_every=images,
        checkpoint_every=images,
        keep=1,
        device="cpu",
    )
    return resume_if_exists(config, home / f"{method}-{digit}-{images}", quiet=True)


def areas(run: Run, digit: int) -> dict[str, Interval]:
    """Area under the ROC curve of each score, the images left out beside all of the other digits."""
    players, digits = open_players(run, device="cpu"), open_images("digits", SIDE)
    own = np.flatnonzero(digits.labels == digit)
    scale = Scale.of(score_pictures(players, digits.batch(own[:TRAINED])), energies=True)
    normal = score_pictures(players, digits.batch(own[TRAINED:]))
    odd = score_pictures(players, digits.batch(np.flatnonzero(digits.labels != digit)))
    return {
        "energy": auroc_interval(normal.scores, odd.scores),
        "oddness": auroc_interval(scale.oddness(normal), scale.oddness(odd)),
    }


def table(results: dict[str, dict[str, Interval]]) -> str:
    """A row for each digit, and the means of those that are complete."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    names = [(method, score) for method in METHODS for score in SCORES]
    done = [digit for digit in range(10) if all(f"{method}-{digit}" in results for method in METHODS)]
    for digit in done:
        found = [results[f"{method}-{digit}"][score] for method, score in names]
        cells = [f"{100 * each.value:.1f} ({100 * each.low:.1f} to {100 * each.high:.1f})" for each in found]
        lines.append(f"| {digit} | {' | '.join(cells)} | {PUBLISHED[digit]} |")
    means = [statistics.mean(results[f"{method}-{digit}"][score].value for digit in done) for method, score in names]
    cells = [f"**{100 * mean:.1f}**" for mean in means]
    lines.append(f"| mean | {' | '.join(cells)} | {statistics.mean(PUBLISHED[digit] for digit in done):.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Train, rank, and write the table after each digit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=40_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=Path("runs/anomalies"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results: dict[str, dict[str, Interval]] = {}
    for digit in range(10):
        for method in METHODS:
            file = options.runs / f"{method}-{digit}-{options.images}.json"
            if not file.exists():
                found = areas(trained(method, digit, options.images, options.runs), digit)
                file.write_text(json.dumps({score: list(each) for score, each in found.items()}))
            read = json.loads(file.read_text())
            results[f"{method}-{digit}"] = {score: Interval(*each) for score, each in read.items()}
        about = (
            f"`python -m benchmarks.anomalies --images {options.images}`: area under the ROC curve in percent, with a "
            f"95 % bootstrap interval over images; {options.images:,} images seen, {TRAINED} of them different. Deep "
            "SVDD's figures (Ruff et al. 2018, table 1) are of all of MNIST, with some 6,000 images of a digit to "
            "train on. [What it says](../anomalies.md)."
        )
        print(table(results), flush=True)
        (options.out / "anomalies.md").write_text(
            "\n\n".join(["# One digit, and the others", about, table(results)]) + "\n"
        )


if __name__ == "__main__":
    main()
