"""equipoise sample: draw images from a run."""

from pathlib import Path

from tyro.conf import Positional

from equipoise.cli.flags import call
from equipoise.config.numbers import Count
from equipoise.runs.run import Run
from equipoise.sampling.sample import sample as draw
from equipoise.sampling.save import save_samples


def main(words: list[str]) -> int:
    """Read the words after `equipoise sample`, draw and save; returns the exit code."""

    def sample(
        run: Positional[Path],
        count: Count = 64,
        seed: int = 0,
        out: Path = Path("samples.png"),
        ema: bool = True,
        best: bool = False,
        label: int | None = None,
    ) -> int:
        """Draw images from a run's generator.

        As in: equipoise sample runs/photos --count 1000 --seed 1 --out samples.npz

        Or, of a run trained with --classify-d 1 --classify-g 1: equipoise sample runs/digits --label 3

        Args:
            run: The run's folder.
            count: How many images.
            seed: Of the latents; the same seed gives the same images.
            out: A grid (.png), an array (.npz: `images`, (N, C, H, W) uint8), or a folder to fill with PNGs; of a toy,
                a picture of the points (.png) or an array (.npz: `points`, (N, 2)).
            ema: Use the moving average of the generator's weights.
            best: Use the checkpoint with the best KID (train with --score-every), not the last.
            label: The class to draw, by its number, where the run was trained to make classes.
        """
        opened = Run.open(run)
        samples = draw(opened, count, seed=seed, ema=ema, best=best, label=label)
        save_samples(samples, out, opened)
        print(f"{count} samples: {out}")
        return 0

    return call(sample, words, "sample")
