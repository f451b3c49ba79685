"""Squared distances in blocks: against every difference written out, and what rounding leaves."""

import pytest
import torch
from torch import Tensor

from equipoise.metrics.distances import distance_blocks


def vectors(count: int, seed: int, size: int = 5) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("max_distances", "columns"), [(1, 1), (300, 13), (10_000, 1024)])
def test_equal_every_difference_written_out_whatever_the_blocks(max_distances: int, columns: int) -> None:
    x, y = vectors(60, 0), vectors(45, 1)
    rows, blocks = zip(*distance_blocks(x, y, max_distances=max_distances, columns=columns), strict=True)
    assert [n for part in rows for n in range(part.start, part.stop)] == list(range(60))
    assert all(block.numel() <= max(max_distances, 45) for block in blocks)
    expected = (x.double()[:, None] - y.double()).square().sum(dim=2)
    torch.testing.assert_close(torch.cat(blocks), expected, rtol=1e-12, atol=1e-12)


def test_equal_vectors_are_at_no_distance_and_near_ones_are() -> None:
    x = 1000 + vectors(30, 0)
    (_, distances), *_ = distance_blocks(x, torch.cat([x, x + 0.01]))
    assert (distances[:, :30].diagonal() == 0).all()
    assert (distances[:, 30:].diagonal() > 0).all()
