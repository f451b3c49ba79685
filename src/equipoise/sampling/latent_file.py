"""Latents from a file: .npz, as `equipoise invert` writes it, or .csv."""

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from equipoise.data.packed.rows import Array
from equipoise.data.sources.arrays import read_npz
from equipoise.errors import UsageError, quoted, reason
from equipoise.latents.edits import checked_latents
from equipoise.reading import check_name, read_text

MOST_BYTES = 2**28  # of a .csv


class LatentFile(NamedTuple):
    """Latents from a file.

    Attributes:
        latents: (N, K) float32, all finite.
        labels: (N,) int64 classes, where the file has them.
    """

    latents: Tensor
    labels: Tensor | None


def read_latents(path: Path) -> LatentFile:
    """Latents of an .npz, as `latents` (N, K) and maybe `labels` (N,), or of a .csv, a row each, maybe with a heading.

    Raises:
        UsageError: the file is missing, of another kind, damaged, too large, or holds what is no finite number.
    """
    check_name(path)
    kind = path.suffix.lower()
    if kind not in {".npz", ".csv"}:
        raise UsageError(f"cannot read latents from {quoted(path.name)}: give an .npz with `latents`, or a .csv")
    if kind == ".csv":
        return LatentFile(checked_latents(_from_csv(path), str(path)), None)
    arrays = read_npz(path, ("latents", "labels"))
    if "latents" not in arrays:
        raise UsageError(f"{path} has no array `latents`: save them with np.savez(file, latents=...)")
    latents, labels = checked_latents(arrays["latents"], str(path)), arrays.get("labels")
    if labels is None:
        return LatentFile(latents, None)
    if labels.shape != (len(latents),) or labels.dtype.kind not in "iu":
        raise UsageError(f"the labels in {path} are {labels.dtype} {labels.shape}, not one whole number a latent")
    # Below 0, as `equipoise invert` has it, they stand for none.
    return LatentFile(latents, None if (labels < 0).all() else torch.from_numpy(labels.astype(np.int64)))


def _from_csv(path: Path) -> Array:
    try:
        lines = read_text(path, MOST_BYTES).splitlines()
        heading = bool(lines) and not all(map(_is_number, lines[0].split(",")))
        with warnings.catch_warnings(action="ignore"):  # that there are no rows
            return np.loadtxt(lines, np.float32, delimiter=",", skiprows=int(heading), ndmin=2)
    except (OSError, ValueError) as error:
        why = reason(error).partition(";")[0]  # what numpy proposes is for programs
        raise UsageError(f"cannot read latents from {path}: {why}; mend it, or give another file") from error


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
