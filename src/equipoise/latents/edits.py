"""Latents by hand: checked, drawn nearer to their mean, with values that were set, moved along a direction."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from equipoise.errors import UsageError, quoted
from equipoise.randomness import Prior

MOST_VALUE = 1e6  # of a value that is set

Latents = Tensor | np.ndarray | Sequence[Sequence[float]]
"""Latents (N, K) as a user has them."""


def checked_latents(latents: Latents, where: str) -> Tensor:
    """Latents (N, K) float32 from what a user gives as such.

    Raises:
        UsageError: it is no array (N, K) of finite numbers.
    """
    try:
        array = _as_array([_as_array(row) for row in latents] if isinstance(latents, list | tuple) else latents)
    except ValueError as error:
        raise UsageError(f"{where}: rows of different lengths are no latents (N, K)") from error
    if array.dtype.kind not in "fiu" or array.ndim != 2 or not array.size:
        raise UsageError(f"{where}: latents are numbers (N, K), not {array.dtype} {array.shape}: give a row each")
    values = torch.from_numpy(array.astype(np.float32))
    bad = (~values.isfinite()).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        raise UsageError(f"{where}: value {column} of latent {row} is not finite: correct it")
    return values


def _as_array(values: object) -> np.ndarray:
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        return (values.float() if values.is_floating_point() else values).numpy()  # numpy knows no bfloat16
    return np.asarray(values)


def check_length(latents: Tensor, size: int) -> None:
    """Raise UsageError unless latents (N, K) are of length `size`."""
    if latents.shape[1] != size:
        raise UsageError(f"the latents have {latents.shape[1]} values, this run's have {size}: take those of this run")


def edit(latents: Tensor, prior: Prior, *, values: Mapping[int, float], truncate: float = 1.0) -> Tensor:
    """Latents (n, K) drawn nearer to their mean, and then with single values set.

    Args:
        latents: from the prior.
        prior: whose mean is 0.
        values: by dimension.
        truncate: factor psi of the distance from the mean, where the prior is normal: below 1, images are more typical
            and less diverse (Karras et al. 2019, arXiv:1812.04948, section 3.1, there of an inner latent).

    Raises:
        UsageError: a dimension is not there, a value is not finite, or latents of a uniform prior are to be truncated.
    """
    size = latents.shape[1]
    if not 0 <= truncate <= 1:
        raise UsageError(f"truncation is from 0, the mean alone, to 1, all latents as drawn, not {truncate:g}")
    if truncate < 1 and prior != "normal":
        raise UsageError("truncation is for normal latents, this run's are uniform and bounded: leave --truncate out")
    edited = latents * truncate
    for dimension, value in values.items():
        if not 0 <= dimension < size:
            raise UsageError(f"the latents have dimensions 0 to {size - 1}, not {dimension}")
        if not abs(value) <= MOST_VALUE:
            raise UsageError(f"dimension {dimension} cannot be set to {value}: give a number of the size of latents")
        edited[:, dimension] = value
    return edited


def parse_values(words: Sequence[str]) -> dict[int, float]:
    """Dimensions and their values, from words such as 3=0.7.

    Raises:
        UsageError: a word is of another form.
    """
    values = {}
    for word in words:
        dimension, _, value = word.partition("=")
        try:
            values[int(dimension)] = float(value)
        except ValueError as error:
            raise UsageError(f"{quoted(word)} sets no value: give a dimension and its value, such as 3=0.7") from error
    return values


def parse_dimensions(text: str) -> list[int]:
    """Dimensions by number, with commas between, such as 0,1,2; none for an empty text.

    Raises:
        UsageError: it is of another form.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise UsageError(f"{quoted(text)} names no dimensions: give numbers from 0 on, such as 0,1,2")
    return [int(part) for part in parts]


def moved_along(start: Tensor, direction: Tensor, steps: Tensor) -> Tensor:
    """`start` (K,) with its part along a `direction` (K,) of length 1 replaced by each of `steps` (F,); (F, K)."""
    return start + (steps - start @ direction)[:, None] * direction
