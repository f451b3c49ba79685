"""Squared distances between many vectors, in float64 and bounded memory."""

from collections.abc import Iterator

import torch
from torch import Tensor

MAX_DISTANCES = 2**23  # in memory at once: 64 MiB
COLUMNS = 1024  # vectors of y in float64 at once
ROUNDING = 1e-13  # of |x|² + |y|²: a squared distance below it may be nothing but rounding


def distance_blocks(
    x: Tensor, y: Tensor, *, max_distances: int = MAX_DISTANCES, columns: int = COLUMNS
) -> Iterator[tuple[slice, Tensor]]:
    """All squared distances from (N, K) to (M, K) vectors, a block of rows at a time.

    They are |x|² + |y|² - 2 x·y in float64, one matrix product. That cancels where x and y are close, so what rounding
    alone could have left is set to exactly 0: an image and its copy are at no distance.

    Args:
        x: (N, K) vectors.
        y: (M, K) vectors.
        max_distances: in one block, if that is a row or more.
        columns: number of vectors of y that are converted to float64 at once.

    Yields:
        The rows' slice, and their (n, M) float64 squared distances.
    """
    step = max(1, max_distances // max(len(y), 1))
    for start in range(0, len(x), step):
        rows = x[start : start + step].double()
        block = torch.cat([_squared_distances(rows, part.double()) for part in torch.split(y, columns)], dim=1)
        yield slice(start, start + len(rows)), block


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    sums = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1)
    distances = torch.addmm(sums, x, y.T, alpha=-2)
    return distances.masked_fill_(distances <= ROUNDING * sums, 0.0)
