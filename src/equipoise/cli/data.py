"""equipoise data inspect and equipoise data pack: a data set before training on it."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from equipoise.cli.flags import parse_and_call
from equipoise.config.numbers import Count, HeldOutShare
from equipoise.data import Fit, contact_sheet, duplicates_sheet
from equipoise.data import inspect as inspect_data
from equipoise.data import pack as pack_data
from equipoise.errors import UsageError, quoted
from equipoise.runs.files import check_picture, check_place, save_picture
from equipoise.sampling.pictures import check_spared
from equipoise.views.terminal import progress_bar


def main(words: list[str]) -> int:
    """Parse the words after `equipoise data`, and run the command that they name; returns the exit code."""
    commands: dict[str, Callable[..., int]] = {"inspect": inspect, "pack": pack}
    if words and words[0] not in {*commands, "-h", "--help"}:
        raise UsageError(f"unknown command {quoted(f'data {words[0]}')}: use data inspect or data pack")
    if not words or words[0] not in commands:
        print("usage: equipoise data inspect DATA [--out sheet.png]\n       equipoise data pack DATA --resolution 64")
        return 0
    return parse_and_call(commands[words[0]], words[1:], f"data {words[0]}")


def inspect(
    data: Positional[str],
    resolution: str = "64",
    crop: Count | None = None,
    label: str | None = None,
    held_out: HeldOutShare = "auto",
    out: Path | None = None,
    duplicates: Path | None = None,
) -> int:
    """Statistics of a data set before training on it: sizes, channels, values, labels, duplicates, skipped files.

    The exit code is 2 where no image can be read.

    Example: equipoise data inspect photos/ --out sheet.png --duplicates pairs.png

    Args:
        data: Data set, as for `equipoise train --data`.
        resolution: Resolution at which values and duplicates are compared.
        crop: Side in pixels of the centred square that is taken of each image first.
        label: Column of labels, where the data has several.
        held_out: Share of the images that is held out; auto holds out what the data itself does, else 0.1.
        out: File (.png, .jpg) for a contact sheet of 64 images.
        duplicates: File (.png, .jpg) for a sheet of pairs of equal or nearly equal images.
    """
    check_place(out, duplicates)
    for place in filter(None, (out, duplicates)):
        check_picture(place)
        check_spared(place, [data])
    with progress_bar(f"reading {data}") as count:
        inspection = inspect_data(data, resolution, crop=crop, label=label, share=held_out, progress=count)
    print(inspection)
    if out is not None:
        save_picture(out, contact_sheet(data, crop=crop))
        print(f"contact sheet: {out}")
    if duplicates is not None:
        pairs = duplicates_sheet(inspection)
        if pairs is not None:
            save_picture(duplicates, pairs)
        print(f"duplicates: {duplicates if pairs is not None else 'none'}")
    return 0 if inspection.readable else 2


def pack(
    data: Positional[str],
    resolution: str,
    out: Path | None = None,
    channels: Literal[1, 3] | None = None,
    crop: Count | None = None,
    fit: Fit = "crop",
    background: str = "white",
    label: str | None = None,
) -> int:
    """Pack a data set by hand: into the cache, where training then finds it, and optionally into a file.

    Example: equipoise data pack photos/ --resolution 64 --out photos64.npy

    Args:
        data: Data set, as for `equipoise train --data`.
        resolution: Side in pixels, or width and height as in 64x48.
        out: File to write, .npy, or .npz with the labels; either can be trained on.
        channels: Channels, 1 for grayscale, 3 for RGB; by default 1 if every image is grayscale.
        crop: Side in pixels of the centred square that is taken of each image first.
        fit: How an image of another shape is fitted.
        background: Colour behind transparent images and around padded ones.
        label: Column of labels, where the data has several.
    """
    check_place(out)
    if out is not None:
        check_spared(out, [data])
    with progress_bar(f"packing {data}") as count:
        images = pack_data(
            data,
            resolution,
            out,
            channels=channels,
            crop=crop,
            fit=fit,
            background=background,
            label=label,
            progress=count,
        )
    print(f"{len(images):,} images, {len(images.skipped):,} skipped: {out or images.path}")
    return 0
