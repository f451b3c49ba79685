"""Whether bf16 trains as fp32 does: losses over 1,000 steps of BEGAN on the bundled digits, and KID at their end.

Every seed trains once in each precision, as `make demo` would. Where no hardware multiplies bf16, this takes long, for
the same numbers. Writes docs/results/bf16.md; what --runs has already is not trained again.

    python -m benchmarks.bf16 --seeds 3
"""

import argparse
import statistics
from itertools import combinations
from pathlib import Path

import torch

from benchmarks import mean_and_spread
from equipoise import PRESETS, Run
from equipoise.training.train import resume_if_exists

RESULTS = Path(__file__).parents[1] / "docs" / "results"
STEPS, WINDOW = 1_000, 100  # and steps that a loss is a mean of
LOSSES = ["energy_real", "energy_fake", "m_global"]


def trained(precision: str, seed: int, home: Path) -> Run:
    """The run, trained if it is not there."""
    demo = PRESETS["began"]["remedies"]
    images = STEPS * demo.batch
    config = demo.with_changes(
        precision=precision,
        seed=seed,
        images=images,
        log_every=WINDOW * demo.batch,
        score_every=images,
        checkpoint_every=images,
        device="cpu",
    )
    return resume_if_exists(config, home / f"{precision}-{seed}", quiet=True)


def curve(run: Run, loss: str) -> list[float]:
    """Means of `loss` over WINDOW steps each."""
    return [row[loss] for row in run.rows() if loss in row]


def apart(one: Run, other: Run, loss: str) -> float:
    """How far two runs' losses are from each other: the mean over the windows, relative to the first."""
    pairs = zip(curve(one, loss), curve(other, loss), strict=True)
    return statistics.mean(abs(b / a - 1) for a, b in pairs)


def table(runs: dict[str, list[Run]]) -> str:
    """A row for each loss, and one for KID."""
    lines = ["| | bf16 from fp32, same seed | fp32 from fp32, other seeds |", "|---|---|---|"]
    for loss in LOSSES:
        ours = [100 * apart(*pair, loss) for pair in zip(runs["fp32"], runs["bf16"], strict=True)]
        seeds = [100 * apart(*pair, loss) for pair in combinations(runs["fp32"], 2)]
        lines.append(f"| {loss} | {mean_and_spread(ours, 2)} % | {mean_and_spread(seeds, 2)} % |")
    kids = {
        precision: mean_and_spread([next(row["kid"] for row in run.rows()[::-1] if "kid" in row) for run in each], 2)
        for precision, each in runs.items()
    }
    return "\n".join([*lines, f"| KID | {kids['bf16']} in bf16 | {kids['fp32']} in fp32 |"])


def main() -> None:
    """Train, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="2 at least, as what lies between them is the measure")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=Path("runs/bf16"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("--seeds must be 2 or more, as precisions are compared with seeds")
    torch.set_num_threads(options.threads)
    runs = {
        precision: [trained(precision, seed, options.runs) for seed in range(options.seeds)]
        for precision in ("fp32", "bf16")
    }
    about = (
        f"`python -m benchmarks.bf16 --seeds {options.seeds}`: relative distances between losses, each a mean over "
        f"{WINDOW} steps, over {STEPS:,} steps; mean ± standard deviation."
    )
    print(table(runs))
    (options.out / "bf16.md").write_text("\n\n".join(["# bf16 beside fp32", about, table(runs)]) + "\n")


if __name__ == "__main__":
    main()
