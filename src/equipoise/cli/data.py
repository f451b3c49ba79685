"""equipoise data: look at images before training on them, or pack them by hand."""

from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from equipoise.cli.flags import call
from equipoise.data import Fit, contact_sheet, duplicates_sheet
from equipoise.data import inspect as look
from equipoise.data import pack as pack_images
from equipoise.views.terminal import progress_bar


def main(words: list[str]) -> int:
    """Read the words after `equipoise data`, and do what they name; returns the exit code."""
    commands = {"inspect": _inspect, "pack": _pack}
    if not words or words[0] not in commands:
        print("usage: equipoise data inspect DATA [--out sheet.png]\n       equipoise data pack DATA --resolution 64")
        return 0 if not words or words[0] in {"-h", "--help"} else 2
    return commands[words[0]](words[1:])


def _inspect(words: list[str]) -> int:
    def inspect(
        data: Positional[str],
        resolution: str = "64",
        held_out: float = 0.1,
        out: Path | None = None,
        duplicates: Path | None = None,
    ) -> int:
        """Look at images before training on them: sizes, channels, values, labels, duplicates, what would be skipped.

        As in: equipoise data inspect photos/ --out sheet.png --duplicates pairs.png

        Args:
            data: What --data takes.
            resolution: At which values and looks are compared.
            held_out: The share to be held out.
            out: Also draw a contact sheet of 64 of them, as a PNG.
            duplicates: Also draw pairs of equal or nearly equal images, as a PNG.
        """
        with progress_bar(f"reading {data}") as count:
            found = look(data, resolution, share=held_out, progress=count)
        print(found)
        if out is not None:
            contact_sheet(data).save(out)
            print(f"contact sheet: {out}")
        if duplicates is not None:
            pairs = duplicates_sheet(found)
            if pairs is not None:
                pairs.save(duplicates)
            print(f"duplicates: {duplicates if pairs is not None else 'none'}")
        return 0

    return call(inspect, words, "data inspect")


def _pack(words: list[str]) -> int:
    def pack(
        data: Positional[str],
        resolution: str,
        out: Path | None = None,
        channels: Literal[1, 3] | None = None,
        fit: Fit = "crop",
        background: str = "white",
    ) -> int:
        """Pack images by hand: into the cache, where training then finds them, or also into a file to take along.

        As in: equipoise data pack photos/ --resolution 64 --out photos64.npy

        Args:
            data: What --data takes.
            resolution: A side in pixels, or width and height as in 64x48.
            out: An .npy, or .npz with the labels; either is data again.
            channels: 1 for grayscale, 3 for RGB; by default grayscale if every image is.
            fit: How an image of another shape is made to fit.
            background: Colour behind transparent images and around padded ones.
        """
        with progress_bar(f"packing {data}") as count:
            images = pack_images(
                data, resolution, out, channels=channels, fit=fit, background=background, progress=count
            )
        print(f"{len(images):,} images, {len(images.skipped):,} skipped: {out or images.path}")
        return 0

    return call(pack, words, "data pack")
