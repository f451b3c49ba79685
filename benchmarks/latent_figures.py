"""The pictures of docs/latents.md that show held-out images of a run on the bundled digits beside what was found.

equipoise train began --data digits --images 300k --out runs/digits
python -m benchmarks.latent_figures runs/digits
"""

import argparse
from pathlib import Path

import numpy as np
from torch import Tensor

from equipoise import Run, interpolate, invert
from equipoise.config.datasets import open_dataset
from equipoise.sampling.invert_folder import inversion_page
from equipoise.sampling.save_latents import save_interpolation

IMAGES = Path(__file__).parents[1] / "docs" / "images"
WAY = (3, 7, 0, 5)  # classes between which the interpolation goes
INVERTED = 16


def first_of_each(run: Run, classes: tuple[int, ...]) -> Tensor:
    """The first held-out image of each of these classes, (N, C, H, W) uint8."""
    images = open_dataset(run.config, place=run.place).split("held-out")
    assert images.labels is not None, "digits have labels"
    return images.batch(np.array([np.flatnonzero(images.labels == label)[0] for label in classes]))


def main() -> None:
    """Write interpolation.png and inversion.png."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=IMAGES)
    options = parser.parse_args()
    run = Run.open(options.run)
    save_interpolation(interpolate(run, first_of_each(run, WAY), frames=10), options.out / "interpolation.png", 12)
    images = open_dataset(run.config, place=run.place).split("held-out")
    held_out = images.batch(np.linspace(0, len(images) - 1, INVERTED).astype(int))  # which lie there by class
    inversion_page(invert(run, held_out)).save(options.out / "inversion.png")


if __name__ == "__main__":
    main()
