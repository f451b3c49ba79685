"""Latents from a file: .npz, as `equipoise invert` writes it, or .csv."""

import io
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from equipoise.errors import UsageError, quoted, reason
from equipoise.latents.edits import checked_latents
from equipoise.reading import check_name, read_bytes

MOST_BYTES = 2**30


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
    try:
        data = read_bytes(path, MOST_BYTES)
        if kind == ".csv":
            return LatentFile(checked_latents(_from_csv(data), str(path)), None)
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            labels = arrays.get("labels")
            latents = checked_latents(arrays["latents"], str(path))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {reason(error)}; give another file") from error
    except KeyError as error:
        raise UsageError(f"{path} has no array `latents`: save them with np.savez(file, latents=...)") from error
    except (ValueError, zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{path} holds no latents: {reason(error)}; give an .npz with `latents`, or a .csv") from error
    if labels is None:
        return LatentFile(latents, None)
    if labels.shape != (len(latents),) or labels.dtype.kind not in "iu":
        raise UsageError(f"the labels in {path} are {labels.dtype} {labels.shape}, not one whole number a latent")
    # Below 0, as `equipoise invert` has it, they stand for none.
    return LatentFile(latents, None if (labels < 0).all() else torch.from_numpy(labels.astype(np.int64)))


def _from_csv(data: bytes) -> np.ndarray:
    lines = data.decode("utf-8-sig").splitlines()
    try:
        [float(word) for word in lines[0].split(",")] if lines else None
    except ValueError:
        del lines[0]  # a heading
    return np.array([[float(word) for word in line.split(",")] for line in lines if line.strip()], np.float32)
