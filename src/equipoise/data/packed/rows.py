"""Rows of an array in a file, read one by one.

A memory-mapped file is simpler, but every page of it that was ever touched counts as the process's resident memory, so
that a long training would seem to need as much memory as its data has bytes, and be killed where memory is limited.
Rows are therefore read into arrays of their own, which are freed after use; the operating system still caches the file.
"""

import math
import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import UsageError

Array = NDArray[Any]


class Rows:
    """The first axis of a C-ordered array that lies in a file from `offset` on; safe to use from many threads."""

    def __init__(self, path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.path, self.offset, self.shape, self.dtype = path, offset, shape, dtype
        self.row_bytes = math.prod(shape[1:]) * dtype.itemsize
        if hasattr(os, "preadv"):
            self._open()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Array:
        """Copy the rows start:stop, in one go; there are no other steps than 1."""
        start, stop, _ = rows.indices(len(self))
        values = np.empty((max(0, stop - start), *self.shape[1:]), self.dtype)
        self._read_into(values, start)
        return values

    def take(self, indices: NDArray[np.int64]) -> Array:
        """Copy the rows at `indices` (n,), each from 0 to len - 1."""
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"{self.path} has the rows 0 to {len(self) - 1}, not {indices.min()} to {indices.max()}")
        values = np.empty((len(indices), *self.shape[1:]), self.dtype)
        for place, index in enumerate(indices.tolist()):
            self._read_into(values[place : place + 1], index)
        return values

    def mapped(self) -> Array:
        """The whole array, memory-mapped: what is touched of it stays resident."""
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)

    def close(self) -> None:
        """Close the file; reading opens it anew."""
        if hasattr(os, "preadv"):
            self._close()

    def _open(self) -> None:
        self.file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        self._close = weakref.finalize(self, os.close, self.file)

    def _read_into(self, values: Array, first: int) -> None:
        """Fill `values` with the rows from `first` on."""
        if not hasattr(os, "preadv"):  # Windows
            values[:] = self.mapped()[first : first + len(values)]
            return
        if not self._close.alive:
            self._open()
        # preadv reads at a place of its own, so threads share the open file without a lock, and straight into the
        # array, without a copy between. It reads 2 GiB at most, and less where a signal comes, hence the loop.
        place, left = self.offset + first * self.row_bytes, values.reshape(-1).view(np.uint8).data
        while left:
            count = os.preadv(self.file, [left], place)
            if not count:
                raise UsageError(f"{self.path} became shorter while it was read: write it again")
            place, left = place + count, left[count:]
