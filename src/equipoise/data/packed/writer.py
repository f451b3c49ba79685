"""An .npy file of images that grows image by image, and becomes RGB with the first image that has colour."""

import hashlib
from io import BytesIO
from pathlib import Path
from typing import Self

import numpy as np

from equipoise.data.decode import Pixels

COPIED = 4096  # gray images copied at a time


class Writer:
    """Write images (C, H, W) of one height and width to an .npy file of uint8 (N, C, H, W).

    With `channels` None the file stays gray, C = 1, for as long as every image is.
    """

    def __init__(self, path: Path, height: int, width: int, channels: int | None) -> None:
        self.path, self.height, self.width = path, height, width
        self.count, self.channels = 0, channels or 1
        self._start(path)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W) so far."""
        return self.count, self.channels, self.height, self.width

    def append(self, pixels: Pixels) -> None:
        """Add one image (1 or 3, H, W)."""
        if len(pixels) > self.channels:
            self._widen()
        self._write(pixels if len(pixels) == self.channels else pixels.repeat(3, axis=0))
        self.count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()

    def finish(self) -> str:
        """Finish the file, and return the SHA-256 of its pixels and shape, in hexadecimal."""
        self.file.seek(0)
        self.file.write(self._header())
        self.file.close()
        self.hash.update(repr(self.shape).encode())
        return self.hash.hexdigest()

    def _start(self, path: Path) -> None:
        self.file, self.hash = path.open("wb"), hashlib.sha256()
        self.file.write(self._header())

    def _header(self) -> bytes:
        header = BytesIO()
        # numpy pads headers so that N can grow to 2**63 in place: the final header overwrites the first one.
        fields = {"descr": "|u1", "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(header, fields)
        return header.getvalue()

    def _write(self, pixels: Pixels) -> None:
        data = np.ascontiguousarray(pixels).data
        self.file.write(data)
        self.hash.update(data)

    def _widen(self) -> None:
        """Copy the gray images so far into three channels.

        This happens once at most, and nearly always early, so that the images are decoded in one pass instead of two.
        """
        self.file.close()
        gray = self.path.with_suffix(".gray")
        self.path.rename(gray)
        self.channels = 3
        self._start(self.path)
        if self.count:
            images = np.memmap(gray, np.uint8, "r", len(self._header()), (self.count, 1, self.height, self.width))
            for start in range(0, self.count, COPIED):
                self._write(images[start : start + COPIED].repeat(3, axis=1))
        gray.unlink()
