"""Squared distances between many vectors, in float64 and bounded memory."""

from collections.abc import Iterator

import torch
from torch import Tensor

ENTRIES = 2**23  # distances at once, 64 MiB
COLUMNS = 1024  # vectors in float64 at once
ROUNDING = 1e-13  # of |x|² + |y|²: a squared distance below it may be nothing but rounding


def distance_blocks(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """All squared distances from (N, K) to (M, K) vectors, a block of rows at a time.

    They are |x|² + |y|² - 2 x·y in float64; what rounding alone could have made is exactly 0, as between equal vectors.

    Yields:
        The rows' slice, and their (n, M) float64 squared distances.
    """
    step = max(1, ENTRIES // max(len(y), 1))
    for start in range(0, len(x), step):
        rows = x[start : start + step].double()
        block = torch.cat([_distances(rows, columns.double()) for columns in torch.split(y, COLUMNS)], dim=1)
        yield slice(start, start + len(rows)), block


def _distances(x: Tensor, y: Tensor) -> Tensor:
    sums = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1)
    distances = torch.addmm(sums, x, y.T, alpha=-2)
    return distances.masked_fill_(distances <= ROUNDING * sums, 0.0)
