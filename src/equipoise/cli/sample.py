"""equipoise sample: generate images from a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import tyro
from torch import Tensor
from tyro.conf import Positional

from equipoise.cli.flags import parse_and_call
from equipoise.config.numbers import Count, CountOrZero, Frames, Reach, Seed, check_numbers
from equipoise.errors import UsageError, counted
from equipoise.latents.edits import parse_dimensions, parse_values
from equipoise.runs.run import Run
from equipoise.sampling.directions import Kind, parse_directions
from equipoise.sampling.latent_file import read_latents
from equipoise.sampling.pictures import check_output
from equipoise.sampling.sample import sample as generate
from equipoise.sampling.sample import sample_classes
from equipoise.sampling.save import IMAGES, POINTS, save_samples
from equipoise.sampling.save_latents import save_classes, save_traversal
from equipoise.sampling.traverse import traverse

PER_CLASS = 8  # images of each class in a grid of classes


@dataclass(frozen=True, kw_only=True)
class Moves:
    """Directions in which latents move, a row each."""

    traverse: str | None = None
    """Dimensions of the latent, such as 0,1,2: its value goes from end to end."""
    direction: str | None = None
    """Directions: numbers such as 0,1,2, the strongest first, or two classes of the data as in 3:7, from one to the
    other."""
    directions: Kind = "jacobian"
    """Those that are numbered: in which images change most (jacobian), or the latents of the data (data)."""
    frames: Frames = 9
    """Images in a row."""
    reach: Reach | None = None
    """How far to go to either side; by default 1 where latents are uniform, else 3."""


def main(words: list[str]) -> int:
    """Parse the words after `equipoise sample`, generate and save; returns the exit code."""
    return parse_and_call(sample, words, "sample")


def sample(
    run: Positional[Path],
    count: Count | None = None,
    seed: Seed = 0,
    out: Path = Path("samples.png"),
    ema: bool = True,
    best: bool = False,
    at: CountOrZero | None = None,
    label: int | None = None,
    class_grid: bool = False,
    latents: Path | None = None,
    values: Annotated[tuple[str, ...], tyro.conf.arg(name="set")] = (),
    truncate: float = 1.0,
    moves: Moves = Moves(),
) -> int:
    """Generate images from a run, of drawn latents or of latents by hand.

    Example: equipoise sample runs/photos --count 1000 --seed 1 --out samples.npz

    Example, for a run trained with --classify-d 1 --classify-g 1: equipoise sample runs/digits --class-grid

    Example: equipoise sample runs/photos --traverse 0,1,2 --out traversal.png

    Example: equipoise sample runs/photos --direction 0,1 --seed 7 --out directions.png

    Args:
        run: Folder of the run.
        count: Number of images; by default 64, or as many as there are --latents; of a grid of classes those in a row,
            by default 8; of a traversal the latents from which it starts, by default 1.
        seed: Seed of the latents; the same seed gives the same images.
        out: Grid (.png), array (.npz: `images`, (N, C, H, W) uint8), or folder of PNGs; for a toy, scatter plot
            of the points (.png) or array (.npz: `points`, (N, 2)).
        ema: Use the moving average of the generator's weights; --no-ema for the weights themselves.
        best: Use the checkpoint with the best KID (train with --score-every), not the last.
        at: Use the checkpoint after so many images, such as 100k.
        label: Number of the class to generate, for a run trained on classes.
        class_grid: A row of images for each class, of the same latents.
        latents: File of latents: .npz (`latents`, and maybe `labels`) as of `equipoise invert`, or .csv, a row each.
        values: Dimensions of all latents and their values, such as 3=0.7 5=-1.
        truncate: Factor from 0 to 1 by which latents are drawn nearer to their mean, where they are normal: images
            become more typical and less diverse.
        moves: Rows of images in which a latent moves, instead of samples.
    """
    opened = Run.open(run)
    check_output(out, () if latents is None else [latents], "samples", POINTS if opened.config.toy else IMAGES)
    z, labels = _read(latents, count, label)
    chosen: dict[str, Any] = {"seed": seed, "ema": ema, "best": best, "at": at, "truncate": truncate}
    if moves.traverse is not None or moves.direction is not None:
        if values or class_grid:
            raise UsageError("a traversal moves along dimensions and directions: leave --set and --class-grid out")
        return _traverse(opened, moves, out, latents=z, labels=labels, count=count, label=label, **chosen)
    chosen["values"] = parse_values(values)
    if class_grid:
        if z is not None or label is not None:
            raise UsageError("a grid has all classes, of drawn latents: leave --label and --latents out")
        return _class_grid(opened, PER_CLASS if count is None else count, out, **chosen)
    samples = generate(opened, count, label=label, labels=labels, latents=z, **chosen)
    save_samples(samples, out, opened, best=best, at=at)
    print(f"{len(samples)} samples: {out}")
    return 0


def _read(file: Path | None, count: int | None, label: int | None) -> tuple[Tensor | None, Tensor | None]:
    """All latents of a file, and the labels of those that are wanted, where no label is named for all."""
    z, labels = (None, None) if file is None else read_latents(file)
    return z, None if label is not None or labels is None else labels[:count]


def _class_grid(run: Run, count: int, out: Path, **chosen: Any) -> int:
    grid = sample_classes(run, count, **chosen)
    save_classes(grid, out)
    print(f"{grid.shape[1]} samples of each of {len(grid)} classes: {out}")
    return 0


def _traverse(
    run: Run,
    moves: Moves,
    out: Path,
    *,
    latents: Tensor | None,
    labels: Tensor | None,
    count: int | None,
    label: int | None,
    **chosen: Any,
) -> int:
    check_numbers(get_type_hints(Moves, include_extras=True), vars(moves))
    if latents is not None and count is not None and count > len(latents):
        raise UsageError(f"{counted(len(latents), 'latent')} given, not {count:,}: lower --count, or leave it out")
    result = traverse(
        run,
        parse_dimensions(moves.traverse or ""),
        along=[] if moves.direction is None else parse_directions(moves.direction),
        kind=moves.directions,
        frames=moves.frames,
        reach=moves.reach,
        count=count or 1,
        latents=None if latents is None else latents[:count],
        labels=labels,
        label=label,
        **chosen,
    )
    save_traversal(result, out)
    print(f"{len(result.names)} rows of {moves.frames} images: {out}")
    return 0
