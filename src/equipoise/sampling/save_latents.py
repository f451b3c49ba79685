"""What comes of latents written to files: strips, films, sheets, tables and arrays."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from equipoise.errors import one_line
from equipoise.runs.files import PICTURES, check_kind, file_where_asked, save_picture, write_where_asked
from equipoise.sampling.interpolate import Interpolation
from equipoise.sampling.invert import Inversion
from equipoise.sampling.outliers import Outliers
from equipoise.sampling.reconstruct import Reconstruction
from equipoise.sampling.save import IMAGES, save_images
from equipoise.sampling.traverse import Traversal
from equipoise.views.animation import FILMS, save_film
from equipoise.views.captions import grid_with_captions, grid_with_headings, heat_map, stacked

RECONSTRUCTIONS = (*PICTURES, ".npz")  # suffixes of what these are written to
INTERPOLATIONS = (*FILMS, *IMAGES)
TOLD = 12  # pictures that are named in what is printed


def save_interpolation(result: Interpolation, out: Path, frames_per_second: float) -> None:
    """Write a strip (.png, .jpg), a film, an array (.npz), or a folder of PNGs.

    Raises:
        UsageError: `out` cannot be written.
    """
    kind = out.suffix.lower()
    if kind in FILMS:
        save_film(out, result.film, frames_per_second)
    elif kind in PICTURES:
        save_picture(out, _strip(result))
    elif kind == ".npz":
        save_arrays(out, frames=result.frames, latents=result.latents)
    else:
        save_images(result.film, out)


def _strip(result: Interpolation) -> Image.Image:
    """Rows of frames; between pictures real | frames | real, with the residues of both ends.

    Below each of these rows is the same way between the latents of one step by the encoder, where there is one.
    """
    found, sections = result.inversion, len(result.frames)
    if found is None:
        columns = [""] * result.frames.shape[1]
        return grid_with_headings(result.frames.flatten(0, 1), [""] * sections, columns)
    ways = [("searched" if found.searched else "one step", found, result.frames)]
    if found.one_step is not None and result.one_step is not None:
        ways.append(("one step", found.one_step, result.one_step))
    rows, headings = [], []
    for section in range(sections):
        ends = section, (section + 1) % len(found.names)
        for name, inversion, frames in ways:
            real = found.originals[list(ends)]
            rows.append(torch.cat([real[:1], frames[section], real[1:]]))
            headings.append(f"{name}, residues " + " and ".join(f"{inversion.residues[end]:.3f}" for end in ends))
    columns = ["real", *[""] * result.frames.shape[1], "real"]
    return grid_with_headings(torch.cat(rows), headings, columns)


def save_traversal(result: Traversal, out: Path) -> None:
    """Write rows with headings (.png, .jpg), an array (.npz), or a folder of PNGs.

    Raises:
        UsageError: `out` cannot be written.
    """
    if out.suffix.lower() in PICTURES:
        steps = [f"{step:+.2g}" if step else "0" for step in result.steps.tolist()]
        save_picture(out, grid_with_headings(result.images.flatten(0, 1), result.names, steps))
    elif out.suffix.lower() == ".npz":
        save_arrays(out, images=result.images, latents=result.latents, steps=result.steps)
    else:
        save_images(result.images.flatten(0, 1), out)


def save_classes(images: Tensor, out: Path) -> None:
    """Write images (classes, F, C, H, W) as rows with their classes (.png, .jpg), an array (.npz), or a folder.

    Raises:
        UsageError: `out` cannot be written.
    """
    if out.suffix.lower() in PICTURES:
        rows = [str(label) for label in range(len(images))]
        save_picture(out, grid_with_headings(images.flatten(0, 1), rows, [""] * images.shape[1]))
    elif out.suffix.lower() == ".npz":
        save_arrays(out, images=images)
    else:
        save_images(images.flatten(0, 1), out)


def save_reconstruction(result: Reconstruction, out: Path) -> None:
    """Write rows of picture, reconstruction and energy map (.png, .jpg), or arrays (.npz).

    Raises:
        UsageError: `out` cannot be written.
    """
    if out.suffix.lower() in PICTURES:
        highest = float(np.quantile(result.energy_maps.numpy(), 0.995))
        maps = torch.from_numpy(heat_map(result.energy_maps.numpy(), highest))
        three = (each.expand(-1, 3, -1, -1) for each in (result.originals, result.reconstructions, maps))
        cells = torch.stack(list(three), dim=1).flatten(0, 1)
        rows = [
            f"{one_line(name, 40)}  {energy:.4f}" for name, energy in zip(result.names, result.energies, strict=True)
        ]
        save_picture(out, grid_with_headings(cells, rows, ["picture", "D(picture)", "energy"]))
    elif out.suffix.lower() == ".npz":
        save_arrays(
            out,
            names=np.array(result.names),
            originals=result.originals,
            reconstructions=result.reconstructions,
            energy_maps=result.energy_maps,
            energies=result.energies,
        )
    else:
        check_kind(out, "reconstructions", RECONSTRUCTIONS)


def save_arrays(out: Path, **arrays: Tensor | np.ndarray) -> None:
    """Write arrays to an .npz, compressed.

    Raises:
        UsageError: it cannot be written.
    """
    with file_where_asked(out) as file:
        np.savez_compressed(file, **{name: np.asarray(array) for name, array in arrays.items()})  # type: ignore[arg-type]


def residue_lines(inversion: Inversion) -> Iterator[str]:
    """A line for each of the first pictures: its residue, and that of one step by the encoder where there is one."""
    for number, name in enumerate(inversion.names[:TOLD]):
        label = "" if inversion.labels is None else f", class {inversion.labels[number]}"
        encoded = inversion.one_step
        one_step = "" if encoded is None else f" (one step by the encoder: {encoded.residues[number]:.4f})"
        yield f"{name}: residue {inversion.residues[number]:.4f}{one_step}{label}"
    if len(inversion.names) > TOLD:
        yield f"… and {len(inversion.names) - TOLD:,} more: mean residue {inversion.residues.mean():.4f}"


def save_outlier_table(result: Outliers, out: Path) -> None:
    """Write every picture's place, name and scores as a CSV; those that cannot be read first.

    Raises:
        UsageError: it cannot be written.
    """
    text = io.StringIO()
    score = "score" if result.relative is None else "energy"
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["rank", "name", "oddness", "because_of", score, "relative_energy", "copies"])
    for name, reason in result.unreadable:
        table.writerow(["", name, "", f"unreadable: {reason}", "", "", ""])
    for place, name in enumerate(result.names):
        relative = "" if result.relative is None else f"{result.relative[place]:.6f}"
        why, plain = result.reasons[place], f"{result.scores[place]:.6f}"
        table.writerow([place + 1, name, f"{result.oddness[place]:.4f}", why, plain, relative, result.copies[place]])
    write_where_asked(out, text.getvalue())


def save_outlier_sheet(result: Outliers, out: Path, columns: int = 8) -> None:
    """Write a sheet of the oddest and of the most typical pictures, with their names and oddness.

    Raises:
        UsageError: it cannot be written.
    """
    shown, count = len(result.oddest), len(result.names)

    def captions(places: range) -> list[list[str]]:
        return [
            [result.names[place], f"{result.oddness[place]:+.1f}" + _copies(result.copies[place])] for place in places
        ]

    oddest = grid_with_captions(result.oddest, captions(range(shown)), columns)
    last = range(count - 1, count - 1 - len(result.typical), -1)
    typical = grid_with_captions(result.typical.flip(0), captions(last), columns)
    parts = [(f"the {shown} oddest of {count:,}", oddest), ("the most typical", typical)]
    if result.copied_names:
        words = [[name, f"{copies} copies"] for name, copies in result.copied_names]
        parts.append(("there more than once", grid_with_captions(result.copied, words, columns)))
    save_picture(out, stacked(parts))


def _copies(count: int) -> str:
    return f", {count} copies" if count > 1 else ""


def outlier_lines(result: Outliers) -> Iterator[str]:
    """What is to be said of the oddest pictures, of copies, and of what cannot be read."""
    for place, name in enumerate(result.names[:TOLD]):
        copies = _copies(result.copies[place])
        yield f"{name}: {result.oddness[place]:+.1f} standard deviations by its {result.reasons[place]}{copies}"
    copied = int((result.copies > 1).sum())
    if copied:
        name, count = result.copied_names[0]
        yield f"{copied:,} of {len(result.names):,} pictures are copies of others: {name} is there {count} times"
    if result.unreadable:
        name, reason = result.unreadable[0]
        yield f"{len(result.unreadable):,} pictures cannot be read, such as {name}: {reason}"
