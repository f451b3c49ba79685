"""The Vendi score: closed forms, and the kernel's own matrix written out."""

import math

import pytest
import torch

from equipoise.errors import UsageError
from equipoise.metrics import vendi_score


def rows(count: int, size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("kinds", [1, 2, 7])
@pytest.mark.parametrize("copies", [1, 3, 20])
def test_counts_kinds_at_right_angles_whatever_their_lengths_and_copies(kinds: int, copies: int) -> None:
    vectors = torch.eye(9, dtype=torch.float64)[:kinds].repeat(copies, 1) * torch.arange(1, kinds * copies + 1)[:, None]
    assert vendi_score(vectors) == pytest.approx(kinds, rel=1e-12)


def test_two_directions_at_an_angle() -> None:
    """S / 2 has the eigenvalues (1 ± cos) / 2."""
    for angle in (0.1, 1.0, 1.5):
        vectors = torch.tensor([[1.0, 0.0], [math.cos(angle), math.sin(angle)]], dtype=torch.float64)
        parts = [(1 + sign * math.cos(angle)) / 2 for sign in (1, -1)]
        expected = math.exp(-sum(part * math.log(part) for part in parts))
        assert vendi_score(vectors) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("count", "size"), [(40, 7), (7, 40)])
def test_equals_the_matrix_of_all_pairs_written_out(count: int, size: int) -> None:
    vectors = rows(count, size) + 0.5
    similar = torch.nn.functional.cosine_similarity(vectors[:, None], vectors[None], dim=2) / count
    values = torch.linalg.eigvalsh(similar).clamp_min(1e-300)
    assert vendi_score(vectors) == pytest.approx(math.exp(-(values * values.log()).sum()), rel=1e-10)


def test_falls_where_kinds_are_rare() -> None:
    shares = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    vectors = torch.eye(3, dtype=torch.float64).repeat_interleave((shares * 10).round().long(), dim=0)
    assert vendi_score(vectors) == pytest.approx(math.exp(-(shares * shares.log()).sum()), rel=1e-12)


def test_refuses_none_and_nan() -> None:
    with pytest.raises(UsageError, match="vendi needs 1"):
        vendi_score(rows(0, 3))
    with pytest.raises(UsageError, match="NaN"):
        vendi_score(rows(3, 3) * torch.nan)
