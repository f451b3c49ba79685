"""equipoise resume: continue a run from its last checkpoint."""

import sys
from pathlib import Path

from tyro.conf import Positional

from equipoise.cli.flags import parse_and_call
from equipoise.cli.train import print_paths
from equipoise.config.numbers import Count, ProcessCount
from equipoise.runs.listing import read_status
from equipoise.training.train import converged
from equipoise.training.train import resume as resume_training


def main(words: list[str]) -> int:
    """Parse the words after `equipoise resume`, and train; returns the exit code."""
    return parse_and_call(resume, words, "resume")


def resume(
    run: Positional[Path],
    images: Count | None = None,
    data: str | None = None,
    devices: ProcessCount | None = None,
    force_changes: bool = False,
    quiet: bool = False,
) -> int:
    """Continue a run from its last checkpoint, to the same result as if it had never stopped.

    Example: equipoise resume runs/photos --images 2M

    Example: equipoise resume runs/photos --devices 4

    Args:
        run: Folder of the run.
        images: Number of images to train to, instead of the run's own.
        data: Where the run's images are now, if they have moved.
        devices: Number of processes on this machine from now on; images and their order stay the same.
        force_changes: Go on although config.yaml was edited in what decides on training, such as the seed.
        quiet: Show no progress.
    """
    finished = read_status(run).state == "finished" and images is None
    done = resume_training(run, images=images, data=data, devices=devices, force_changes=force_changes, quiet=quiet)
    if finished:
        complete = f"{run} has seen all of its {read_status(run).images:,} images: --images trains on to more"
        print(converged(done) or complete, file=sys.stderr)
    print_paths(done)
    return 0
