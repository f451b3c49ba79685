"""Precision, recall, density and coverage: against every pair written out, and figures of the reference code."""

import numpy as np
import pytest
import torch
from torch import Tensor

from equipoise.errors import UsageError
from equipoise.metrics import ManifoldScores, manifold_scores


def vectors(count: int, seed: int, size: int = 5) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def clusters(count: int, modes: range, seed: int) -> Tensor:
    return vectors(count, seed) + 50 * torch.eye(5, dtype=torch.float64)[torch.arange(count) % len(modes) + modes.start]


def written_out(references: Tensor, samples: Tensor, k: int) -> ManifoldScores:
    def radii(x: Tensor) -> list[float]:
        return [sorted(float((p - q).norm()) for j, q in enumerate(x) if j != i)[k - 1] for i, p in enumerate(x)]

    r, s = radii(references), radii(samples)
    d = [[float((p - q).norm()) for q in samples] for p in references]
    n, m = len(references), len(samples)
    return ManifoldScores(
        precision=sum(any(d[i][j] <= r[i] for i in range(n)) for j in range(m)) / m,
        recall=sum(any(d[i][j] <= s[j] for j in range(m)) for i in range(n)) / n,
        density=sum(d[i][j] <= r[i] for i in range(n) for j in range(m)) / (k * m),
        coverage=sum(any(d[i][j] <= r[i] for j in range(m)) for i in range(n)) / n,
    )


@pytest.mark.parametrize(
    ("k", "expected"),
    [(3, (0.86, 0.568, 1.3466666666666667, 0.828)), (5, (0.9225, 0.668, 1.37, 0.944))],
)
def test_equals_the_reference_code_of_naeem_et_al(k: int, expected: tuple[float, ...]) -> None:
    """What `compute_prdc` of the package prdc 0.2 (scikit-learn 1.9.1) said of these sets, run once."""

    def normal(count: int, seed: int) -> Tensor:
        return torch.from_numpy(np.random.Generator(np.random.Philox(seed)).standard_normal((count, 16)))

    ours = manifold_scores(normal(500, 0), 0.9 * normal(400, 1) + 0.2, precision_k=k, coverage_k=k)
    assert (ours.precision, ours.recall, ours.density, ours.coverage) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_equals_every_pair_written_out(k: int) -> None:
    a, b = vectors(60, 0), 0.8 * vectors(45, 1) + 0.7
    assert manifold_scores(a, b, precision_k=k, coverage_k=k) == written_out(a, b, k)
    assert manifold_scores(a, b, precision_k=k, coverage_k=k, max_distances=300) == written_out(a, b, k)


def test_each_pair_of_scores_has_the_k_of_its_paper() -> None:
    a, b = vectors(60, 0), 0.8 * vectors(45, 1) + 0.7
    ours, three, five = manifold_scores(a, b), written_out(a, b, 3), written_out(a, b, 5)
    assert ours == ManifoldScores(three.precision, three.recall, five.density, five.coverage)


def test_a_set_and_itself() -> None:
    a = vectors(300, 0).float()
    ours = manifold_scores(a, a.flip(0))
    assert (ours.precision, ours.recall, ours.coverage) == (1, 1, 1)
    assert ours.density >= 1
    many = torch.cat([a] * 7)  # every radius is 0
    assert manifold_scores(many, a).coverage == 1


def test_equal_distributions_have_density_one() -> None:
    assert manifold_scores(vectors(1500, 0), vectors(1500, 1)).density == pytest.approx(1, abs=0.06)


def test_dropped_modes_cost_recall_and_coverage_but_not_precision() -> None:
    references = clusters(500, range(5), 0)
    ours = [manifold_scores(references, clusters(500, range(left), 1)) for left in (5, 4, 3, 2, 1)]
    assert all(one.precision > 0.85 and one.density > 0.8 for one in ours)
    for left, one in zip((5, 4, 3, 2, 1), ours, strict=True):
        assert one.recall <= left / 5
        assert one.coverage <= left / 5
    assert [one.recall for one in ours] == sorted((one.recall for one in ours), reverse=True)
    assert [one.coverage for one in ours] == sorted((one.coverage for one in ours), reverse=True)


def test_noise_costs_precision_density_and_coverage() -> None:
    references, samples, noise = vectors(400, 0), vectors(400, 1), vectors(400, 2)
    ours = [manifold_scores(references, samples + level * noise) for level in (0.0, 1.0, 3.0, 9.0)]
    for name in ("precision", "density", "coverage"):
        values = [getattr(one, name) for one in ours]
        assert values == sorted(values, reverse=True), name


def test_refuses_sets_without_a_kth_neighbour_or_with_nan() -> None:
    assert manifold_scores(vectors(6, 0), vectors(6, 0)).precision == 1
    with pytest.raises(UsageError, match="needs 6 images or more, not 5"):
        manifold_scores(vectors(6, 0), vectors(5, 0))
    with pytest.raises(UsageError, match="NaN"):
        manifold_scores(vectors(6, 0), vectors(6, 0) * torch.nan)
