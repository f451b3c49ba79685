"""equipoise sample: generate images from a run."""

from pathlib import Path

from tyro.conf import Positional

from equipoise.cli.flags import parse_and_call
from equipoise.config.numbers import Count, Seed
from equipoise.runs.run import Run
from equipoise.sampling.sample import sample as generate
from equipoise.sampling.save import save_samples


def main(words: list[str]) -> int:
    """Parse the words after `equipoise sample`, generate and save; returns the exit code."""
    return parse_and_call(sample, words, "sample")


def sample(
    run: Positional[Path],
    count: Count = 64,
    seed: Seed = 0,
    out: Path = Path("samples.png"),
    ema: bool = True,
    best: bool = False,
    label: int | None = None,
) -> int:
    """Generate images from a run.

    Example: equipoise sample runs/photos --count 1000 --seed 1 --out samples.npz

    Example, for a run trained with --classify-d 1 --classify-g 1: equipoise sample runs/digits --label 3

    Args:
        run: Folder of the run.
        count: Number of images.
        seed: Seed of the latents; the same seed gives the same images.
        out: Grid (.png), array (.npz: `images`, (N, C, H, W) uint8), or folder of PNGs; for a toy, scatter plot
            of the points (.png) or array (.npz: `points`, (N, 2)).
        ema: Use the moving average of the generator's weights.
        best: Use the checkpoint with the best KID (train with --score-every), not the last.
        label: Number of the class to generate, for a run trained on classes.
    """
    opened = Run.open(run)
    samples = generate(opened, count, seed=seed, ema=ema, best=best, label=label)
    save_samples(samples, out, opened)
    print(f"{count} samples: {out}")
    return 0
