"""equipoise inpaint: fill in the masked part of an image."""

from pathlib import Path

from tyro.conf import Positional

from equipoise.cli.flags import parse_and_call
from equipoise.config.numbers import Seed, Ways
from equipoise.runs.run import Run
from equipoise.sampling.inpaint import inpaint as generate
from equipoise.sampling.pictures import check_output
from equipoise.sampling.save import IMAGES, save_images


def main(words: list[str]) -> int:
    """Parse the words after `equipoise inpaint`, generate and save; returns the exit code."""
    return parse_and_call(inpaint, words, "inpaint")


def inpaint(
    run: Positional[Path],
    image: Positional[Path],
    mask: str | None = None,
    count: Ways = 4,
    seed: Seed = 0,
    out: Path = Path("inpainted.png"),
) -> int:
    """Fill in the masked part of an image, in several ways, with a run trained with --inpaint.

    Example: equipoise inpaint runs/photos photo.png --mask 16,16,48,48

    Example: equipoise inpaint runs/photos photo.png --mask mask.png --count 8 --out filled.png

    Args:
        run: Folder of the run.
        image: Image of any size; it is resized to the run's.
        mask: Image that is white where to fill in, or left,top,right,bottom in pixels of the run's size; by
            default the mask that the run was trained with.
        count: Number of results.
        seed: Seed of the latents.
        out: Grid (.png) of the image, the masked image and the results; array (.npz); or folder of PNGs.
    """
    check_output(out, [image, *([mask] if mask else [])], "images", IMAGES)
    images = generate(Run.open(run), image, mask, count=count, seed=seed)
    save_images(images, out)
    print(f"the image, its hole and {count} ways to fill it: {out}")
    return 0
