"""equipoise interpolate: from one picture to another through the latents of a run."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from tyro.conf import Positional

from equipoise.cli.flags import parse_and_call, plain_dataclass
from equipoise.config.numbers import CountOrZero, Ends, Frames
from equipoise.devices import Device
from equipoise.latents.paths import PathKind
from equipoise.runs.run import Run
from equipoise.sampling.interpolate import interpolate as compute
from equipoise.sampling.invert import Search
from equipoise.sampling.pictures import check_output
from equipoise.sampling.save_latents import INTERPOLATIONS, residue_lines, save_interpolation
from equipoise.views.animation import check_ffmpeg
from equipoise.views.terminal import progress_bar

DEFAULTS = plain_dataclass(Search())


def main(words: list[str]) -> int:
    """Parse the words after `equipoise interpolate`, compute and save; returns the exit code."""
    return parse_and_call(interpolate, words, "interpolate")


def interpolate(
    run: Positional[Path],
    images: Positional[tuple[str, ...]] = (),
    frames: Frames = 12,
    random: Ends = 0,
    loop: bool = False,
    along: PathKind = "auto",
    out: Path = Path("interpolation.png"),
    frames_per_second: Annotated[float, Field(ge=0.1, le=100)] = 12.0,
    search: type(DEFAULTS) = DEFAULTS,  # type: ignore[valid-type]  # each field is a flag
    ema: bool = True,
    best: bool = False,
    at: CountOrZero | None = None,
    device: Device = "auto",
    quiet: bool = False,
) -> int:
    """Pictures between pictures: each is inverted, the latents in between are decoded, as in BEGAN's paper.

    Example: equipoise interpolate runs/photos a.png b.png

    Example: equipoise interpolate runs/photos --random 8 --loop --out film.webp

    Args:
        run: Folder of the run.
        images: Two or more pictures, files or folders, to go between in this order.
        frames: Frames from one picture to the next, the two ends among them.
        random: Go between so many drawn latents, instead of pictures.
        loop: Go back to the first in the end.
        along: Straight (linear), or on great circles (spherical); auto is spherical where the latents are normal.
        out: Strip (.png, .jpg): a picture, the frames, the next picture, a row each; film (.gif, .webp, or .mp4 where
            ffmpeg is installed); array (.npz: `frames`, `latents`); or folder of PNGs.
        frames_per_second: Speed of a film; a .gif has 50 at most.
        search: How pictures are inverted.
        ema: Use the moving average of the generator's weights.
        best: Use the checkpoint with the best KID (train with --score-every), not the last.
        at: Use the checkpoint after so many images.
        device: Device to compute on.
        quiet: Show no progress.
    """
    check_output(out, images, "frames", INTERPOLATIONS)
    check_ffmpeg(out)
    opened, checkpoint = Run.open(run), dict[str, Any](ema=ema, best=best, at=at)
    with progress_bar("inverting", quiet=quiet) as progress:
        result = compute(
            opened,
            images or None,
            frames=frames,
            random=random,
            loop=loop,
            along=along,
            device=device,
            progress=progress,
            **checkpoint,
            **asdict(search),
        )
    save_interpolation(result, out, frames_per_second)
    if result.inversion is not None:
        print("\n".join(residue_lines(result.inversion)))
    print(f"{len(result.film)} frames, {'spherical' if result.spherical else 'linear'}: {out}")
    return 0
