"""equipoise inpaint: fill in what a mask hides of an image."""

from pathlib import Path

from tyro.conf import Positional

from equipoise.cli.flags import call
from equipoise.config.numbers import Count
from equipoise.runs.run import Run
from equipoise.sampling.inpaint import inpaint as fill_in
from equipoise.sampling.save import save_images


def main(words: list[str]) -> int:
    """Read the words after `equipoise inpaint`, fill in and save; returns the exit code."""

    def inpaint(
        run: Positional[Path],
        image: Positional[Path],
        mask: str | None = None,
        count: Count = 4,
        seed: int = 0,
        out: Path = Path("inpainted.png"),
    ) -> int:
        """Fill in what a mask hides of an image, in several ways, with a run trained with --inpaint.

        As in: equipoise inpaint runs/photos photo.png --mask 16,16,48,48

        Or: equipoise inpaint runs/photos photo.png --mask mask.png --count 8 --out filled.png

        Args:
            run: The run's folder.
            image: The image, of any size; it is brought to the run's.
            mask: An image that is white where to fill in, or left,top,right,bottom in pixels of the run's size; by
                default what the run was trained to fill in.
            count: How many ways.
            seed: Of the latents.
            out: A grid (.png) of the image, the hole and the ways; an array (.npz); or a folder to fill with PNGs.
        """
        images = fill_in(Run.open(run), image, mask, count=count, seed=seed)
        save_images(images, out)
        print(f"the image, its hole and {count} ways to fill it: {out}")
        return 0

    return call(inpaint, words, "inpaint")
