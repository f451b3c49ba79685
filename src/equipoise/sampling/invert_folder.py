"""The inversion of many pictures into a folder, which keeps what is done and goes on from there."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from equipoise.data.packed.workers import ProgressCallback
from equipoise.data.sources.arrays import read_npz
from equipoise.errors import UsageError, reason
from equipoise.isolation import isolated
from equipoise.reading import expand_home
from equipoise.runs.checkpoint import digest
from equipoise.runs.files import LEFTOVER, check_above, file_where_asked, save_picture, to_json, write_where_asked
from equipoise.sampling.invert import Inversion, Inverter, Search
from equipoise.sampling.pictures import Given, PictureReader, lies_within
from equipoise.sampling.players import TrainedPlayers
from equipoise.views.captions import grid_with_captions

LATENTS, RESIDUES, PAGES = "latents.npz", "residues.json", "pages"
SECONDS = 5.0  # at least between two times that the latents found so far are written
COLUMNS = 4  # pictures in a row of a page, each beside its reconstructions
OWN_ARRAYS = ("names", "digests", "latents", "labels", "residues", "one_step")


@dataclass
class Done:
    """Pictures whose latents are in the folder: what is said of each, in the order in which they were done."""

    facts: dict[str, Any]
    rows: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in OWN_ARRAYS})

    def __len__(self) -> int:
        return len(self.rows["names"])

    def add(self, inversion: Inversion, digests: list[int]) -> None:
        """Take in the pictures of an inversion."""
        count = len(digests)
        unknown = np.full(count, np.nan)
        self.rows["names"] += inversion.names
        self.rows["digests"] += digests
        self.rows["latents"] += list(inversion.latents.numpy())
        self.rows["labels"] += [-1] * count if inversion.labels is None else inversion.labels.tolist()
        self.rows["residues"] += inversion.residues.tolist()
        self.rows["one_step"] += (unknown if inversion.one_step is None else inversion.one_step.residues).tolist()


@isolated()
def invert_into(
    out: Path,
    players: TrainedPlayers,
    images: Given,
    settings: Search,
    progress: ProgressCallback | None = None,
) -> tuple[Done, list[tuple[str, str]]]:
    """Invert pictures batch by batch into a folder; those that are there already, by name and content, are left out.

    The folder holds `latents.npz`, `residues.json`, and in `pages` the pictures beside their reconstructions. What was
    done is kept, whatever ends the work: the same call goes on from there.

    Args:
        out: the folder, new, empty, or made by an earlier call with the same settings.
        players: of the run.
        images: files, folders or other data, by name.
        settings: of the search.
        progress: called with the pictures done, and of all.

    Returns:
        What is in the folder then, and name and reason of the pictures that could not be read.

    Raises:
        UsageError: a picture cannot be used, or `out` cannot be written, is of another checkpoint or other settings, or
            lies among the pictures.
    """
    facts = {
        "run": str(players.run.path),
        "images_seen": players.images_seen,
        "ema": players.ema,
        "checkpoint": _digest_of(players),  # a run may have been trained anew in its folder, for as many images
        "search": {name: value for name, value in asdict(settings).items() if name != "batch"},
    }
    reader = PictureReader(players.run, players.shape)
    done = _opened(out, facts)
    _check_apart(out, images)
    pictures = reader.read_all(images, warn=False)
    known = set(zip(done.rows["names"], done.rows["digests"], strict=True))
    left = [number for number, key in enumerate(zip(pictures.names, pictures.digests, strict=True)) if key not in known]
    inverter = Inverter(players, settings) if left else None
    written, before, page = time.monotonic(), len(done), len(list((out / PAGES).glob("*.png"))) if len(done) else 0
    try:
        for start in range(0, len(left), settings.batch):
            part = left[start : start + settings.batch]
            assert inverter is not None  # noqa: S101
            inversion = inverter([pictures.names[number] for number in part], pictures.pixels[part])
            done.add(inversion, [pictures.digests[number] for number in part])
            save_picture(out / PAGES / f"{page:05d}.png", inversion_page(inversion))
            page += 1
            if progress is not None:
                progress(len(pictures) - len(left) + start + len(part), len(pictures))
            if time.monotonic() - written > SECONDS:
                _write(out, done)
                written, before = time.monotonic(), len(done)
    finally:  # also at Ctrl-C
        if len(done) > before:
            _write(out, done)
    return done, reader.skipped


def inversion_page(inversion: Inversion) -> Image.Image:
    """A page of pictures, each beside its reconstruction, and where there is an encoder also that of one step."""
    found = [(inversion, "residue")]
    if inversion.one_step is not None and inversion.searched:
        found = [(inversion.one_step, "one step"), *found]
    made = torch.stack([inversion.originals, *(each.reconstructions for each, _ in found)], dim=1)
    captions = [
        words
        for number, name in enumerate(inversion.names)
        for words in ([name], *([f"{what} {each.residues[number]:.4f}"] for each, what in found))
    ]
    return grid_with_captions(made.flatten(0, 1), captions, COLUMNS * made.shape[1])


def _check_apart(out: Path, images: Given) -> None:
    """Refuse an `out` within the pictures, whose pages would be taken for some of them the next time."""
    if isinstance(images, Tensor | np.ndarray):
        return
    for each in [images] if isinstance(images, str | Path) else images:
        if lies_within(out, expand_home(each)):
            raise UsageError(f"{out} lies in {each}, and its pages would be among the pictures: choose another --out")


def _digest_of(players: TrainedPlayers) -> str:
    """Digest of the weights of both players."""
    networks = {"generator": players.generator, "discriminator": players.trained_discriminator}
    return digest(
        {
            f"{part}.{name}": tensor.cpu()
            for part, network in networks.items()
            if network is not None
            for name, tensor in network.state_dict().items()
        }
    )


def _opened(out: Path, facts: Mapping[str, Any]) -> Done:
    """What is in the folder already."""
    check_above(out)
    try:
        # A process that was killed before it had written any latents leaves pages, and a file that is not whole.
        if not out.exists() or {name for path in out.iterdir() if not LEFTOVER.fullmatch(name := path.name)} <= {PAGES}:
            return Done(dict(facts))
        if not (out / LATENTS).is_file():
            raise UsageError(f"{out} is not empty and holds no inversion: choose another --out")
    except OSError as error:
        raise UsageError(f"cannot use {out}: {reason(error)}; choose another --out") from error
    try:
        arrays = read_npz(out / LATENTS, (*OWN_ARRAYS, "facts"))
    except UsageError as error:
        why = reason(error.__cause__ or error)
        raise UsageError(
            f"cannot go on from {out / LATENTS} ({why}): remove {out} to begin anew, or choose another --out"
        ) from error
    try:
        rows = {name: list(arrays[name]) if name == "latents" else arrays[name].tolist() for name in OWN_ARRAYS}
        before = json.loads(str(arrays["facts"][0]))
        whole = {len(row) for row in rows.values()} == {len(rows["names"])} and isinstance(before, dict)
    except (LookupError, ValueError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise UsageError(f"{out / LATENTS} holds no inversion: remove {out} to begin anew, or choose another --out")
    # Whose these are is decided by the weights: the same run may be named by another path.
    if other := [name for name in facts if name != "run" and before.get(name) != facts[name]]:
        raise UsageError(f"{out} holds an inversion by another {' and '.join(other)}: choose another --out")
    return Done(dict(facts), rows)


def _write(out: Path, done: Done) -> None:
    arrays = {name: np.array(values) for name, values in done.rows.items()}
    arrays["latents"] = arrays["latents"].astype(np.float32)
    arrays["digests"] = np.array(done.rows["digests"], np.uint64)  # of which numpy would make floats
    with file_where_asked(out / LATENTS) as file:
        np.savez(file, facts=np.array([json.dumps(done.facts)]), **arrays)  # type: ignore[arg-type]
    columns = {"name": "names", "residue": "residues", "one_step": "one_step", "label": "labels"}
    rows = zip(*(done.rows[name] for name in columns.values()), strict=True)
    pictures = [dict(zip(columns, row, strict=True)) for row in rows]
    for picture in pictures:
        if picture["label"] < 0:
            del picture["label"]
    summary = {**done.facts, "unit": "mean absolute error of values in [-1, 1]", "count": len(done)}
    summary |= {"mean_residue": float(np.mean(done.rows["residues"])), "pictures": pictures}
    write_where_asked(out / RESIDUES, to_json(summary, indent=1) + "\n")
