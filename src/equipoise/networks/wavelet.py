"""The Haar wavelet transform of images, in blocks of pixels."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class HaarTransform(nn.Module):
    """Coefficients of images in an orthonormal basis of differences between neighbouring halves, at several scales.

    Haar (1910), doi:10.1007/BF01456326; in two dimensions as Mallat (1989), doi:10.1109/34.192463, has it: a block of
    2x2 pixels becomes its mean and three differences, across, down and both; then the means do, and so on. As the basis
    is orthonormal, squares have the same sum as the pixels' own.

    Args:
        levels: how often, from 1; the sides of images divide by 2^levels.
        channels: of the images, each of which is transformed by itself.

    Attributes:
        basis: (K, K) for K = 4^levels * channels; a row for each coefficient, a column for each value of a block, in
            the order of rows, columns and channels.
    """

    basis: Tensor

    def __init__(self, levels: int, channels: int) -> None:
        super().__init__()
        self.side, self.channels = 2**levels, channels
        # By NumPy: where a network is built without memory, to be counted, torch's own functions would import its
        # compiler, for seconds.
        basis = np.kron(_haar_basis(levels), np.eye(channels)).astype(np.float32)
        self.register_buffer("basis", torch.from_numpy(basis), persistent=False)

    @classmethod
    def of_images(cls, levels: int, channels: int, height: int, width: int) -> "HaarTransform | None":
        """The transform of so many levels, or of as many as both sides halve evenly; None for none."""
        while height % 2**levels or width % 2**levels:
            levels -= 1
        return cls(levels, channels) if levels else None

    def forward(self, images: Tensor) -> Tensor:
        """Coefficients (N, blocks, K) of images (N, C, H, W), in the precision of the images, also under autocast."""
        (count, channels, height, width), side = images.shape, self.side
        rows = images.permute(0, 2, 3, 1).reshape(count, height // side, side, width // side, side * channels)
        blocks = rows.transpose(2, 3).reshape(count, -1, side**2 * channels)
        with torch.autocast(images.device.type, enabled=False):
            return blocks @ self.basis.t().to(images.dtype)  # powers of two, so exact in any precision

    def spread(self, values: Tensor, height: int, width: int) -> Tensor:
        """Values of coefficients (N, blocks, K) to their pixels: (N, height, width) of the same mean.

        A coefficient is shared out by the squares of its row, whose sum is 1: evenly over the pixels that it is of.
        """
        side, count = self.side, len(values)
        blocks = values @ self.basis.square()
        pixels = blocks.view(count, height // side, width // side, side, side, self.channels).mean(-1)
        return pixels.transpose(2, 3).reshape(count, height, width)


def _haar_basis(levels: int) -> NDArray[np.float64]:
    """The basis (4^levels, 4^levels) of a block of one channel: what the transform makes of each of its pixels."""
    side = 2**levels
    means = np.eye(side**2).reshape(-1, side, side)
    differences = []
    for _ in range(levels):
        (a, b), (c, d) = ([means[:, row::2, column::2] / 2 for column in (0, 1)] for row in (0, 1))
        differences += [a - b + c - d, a + b - c - d, a - b - c + d]
        means = a + b + c + d
    return np.concatenate([each.reshape(side**2, -1) for each in (*differences, means)], axis=1).T
