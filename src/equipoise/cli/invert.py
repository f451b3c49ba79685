"""equipoise invert: the latents of pictures."""

import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tyro.conf import Positional

from equipoise.cli.flags import parse_and_call, plain_dataclass
from equipoise.config.messages import construct
from equipoise.config.numbers import CountOrZero
from equipoise.devices import Device
from equipoise.runs.run import Run
from equipoise.sampling.invert import Search
from equipoise.sampling.invert_folder import LATENTS, PAGES, RESIDUES, invert_into
from equipoise.sampling.players import open_players
from equipoise.views.terminal import progress_bar

DEFAULTS = plain_dataclass(Search())


def main(words: list[str]) -> int:
    """Parse the words after `equipoise invert`, search and save; returns the exit code."""
    return parse_and_call(invert, words, "invert")


def invert(
    run: Positional[Path],
    images: Positional[tuple[str, ...]],
    out: Path = Path("inverted"),
    search: type(DEFAULTS) = DEFAULTS,  # type: ignore[valid-type]  # each field is a flag
    ema: bool = True,
    best: bool = False,
    at: CountOrZero | None = None,
    device: Device = "auto",
    quiet: bool = False,
) -> int:
    """Latents of which the generator makes what comes nearest to pictures: z = argmin |x - G(z)| by Adam on z.

    After Ctrl-C, or any other end, the same command goes on where it stopped.

    Example: equipoise invert runs/photos a.png b.png

    Example: equipoise invert runs/photos folder/ --fast --out codes/

    Args:
        run: Folder of the run.
        images: Pictures: files, folders, or other data.
        out: Folder for latents.npz (which `equipoise sample --latents` reads), residues.json, and pages of pictures
            beside their reconstructions.
        search: How latents are searched for.
        ema: Use the moving average of the generator's weights.
        best: Use the checkpoint with the best KID (train with --score-every), not the last.
        at: Use the checkpoint after so many images.
        device: Device to compute on.
        quiet: Show no progress.
    """
    settings = construct(Search, asdict(search))
    players = open_players(Run.open(run), ema=ema, best=best, at=at, device=device)
    try:
        with progress_bar("inverting", quiet=quiet) as progress:
            done, skipped = invert_into(out, players, images, settings, progress)
    except KeyboardInterrupt:
        print(f"stopped: what is done is in {out}, and the same command goes on from there", file=sys.stderr)
        return 130
    for name, why in skipped:
        print(f"left out, as it cannot be read: {name}: {why}")
    residues, one_step = np.array(done.rows["residues"]), np.array(done.rows["one_step"])
    encoded = "" if np.isnan(one_step).any() else f" (one step by the encoder: {one_step.mean():.4f})"
    worst = done.rows["names"][int(residues.argmax())]
    print(
        f"{len(done):,} pictures: mean residue {residues.mean():.4f}{encoded}, "
        f"the largest {residues.max():.4f}, {worst}"
    )
    print(f"latents: {out / LATENTS}\nresidues: {out / RESIDUES}\npages: {out / PAGES}")
    return 0
