"""What keeps BEGAN diverse on the bundled digits: the table and the pictures of docs/began-in-practice.md.

Every recipe trains for the same number of images from the same seed, and one thing is changed at a time.

    python -m benchmarks.began_recipes --images 30000 --out docs/results
"""

import argparse
from dataclasses import replace
from pathlib import Path

import equipoise
from benchmarks.digit_evaluator import DigitEvaluator
from equipoise import PRESETS, TrainConfig
from equipoise.sampling.sample import sample
from equipoise.sampling.save import save_images

COLUMNS = ["recipe", "digits among 64", "entropy", "recognisable", "diversity", "KID", "k", "balance"]
HEADER = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


def recipes() -> dict[str, TrainConfig]:
    """One change at a time: towards all remedies from the paper, and away from all of them."""
    demo, paper = PRESETS["began"]["remedies"], PRESETS["began"]["paper"]
    ours = demo.with_changes(objective=replace(demo.objective, match=1.0))

    def changed(*, network: dict[str, object] | None = None, **objective: object) -> TrainConfig:
        return ours.with_changes(
            objective=replace(ours.objective, **objective), network=replace(ours.network, **(network or {}))
        )

    small = paper.with_changes(
        network=replace(paper.network, width=16), lr=ours.lr, ema=ours.ema, separate_latents=False, precision="auto"
    )
    scaled = small.with_changes(network=replace(small.network, init="scaled"))
    squared = scaled.with_changes(network=replace(scaled.network, eta=2))
    relative = squared.with_changes(objective=replace(paper.objective, relative=True, lambda_k=0.003))
    return {
        "the paper, 16 wide, lr 5e-4": small,
        "+ scaled first weights": scaled,
        "+ squared error": squared,
        "+ relative k": relative,
        "all remedies, matching 1": ours,
        "all, gamma 0.7": changed(gamma=0.7),
        "all, no matching": changed(match=0.0),
        "all, no pulling away": changed(pull=0.0),
        "all, latent 64": changed(network={"latent": 64}),
        "all, absolute error": changed(network={"eta": 1}),
        "all, weights N(0, 0.02)": changed(network={"init": "normal"}),
        "all, one learning rate": ours.with_changes(lr_ratio=1.0),
        "all, matching 0.1": changed(match=0.1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs/recipes"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--only", default="", help="recipes whose name holds this")
    options = parser.parse_args()
    evaluate = DigitEvaluator()
    options.out.mkdir(parents=True, exist_ok=True)
    lines = ["# What keeps BEGAN diverse", "", HEADER]
    for number, (name, recipe) in enumerate(recipes().items()):
        if options.only not in name:
            continue
        config = recipe.with_changes(images=options.images, seed=options.seed, sample_every=options.images)
        run = equipoise.train(config, options.runs / f"{number:02d}-{options.seed}", quiet=True)
        pictures = sample(run, 1000)
        row = evaluate(pictures)
        save_images(pictures[:64], options.out / f"began-recipe-{number:02d}.png")
        last = next(metrics for metrics in reversed(run.rows()) if "k" in metrics)
        lines.append(
            f"| {name} | {row.distinct} | {row.entropy:.2f} | {row.recognisable:.0%} | {row.diversity:.2f} | "
            f"{row.kid:.1f} | {last['k']:.3f} | {last['balance']:.2f} |"
        )
        print(lines[-1], flush=True)
        (options.out / "began-recipes.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
