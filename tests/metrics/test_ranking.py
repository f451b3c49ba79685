"""The area under the ROC curve: by hand, and as Mann and Whitney's statistic."""

import numpy as np
import pytest
import scipy.stats

from equipoise.metrics.ranking import auroc, auroc_interval

RNG = np.random.default_rng(0)


def test_by_hand() -> None:
    # Of 3 x 2 pairs, (1, 2), (1, 4) and (3, 4) are in order, (2, 2) is a tie, and so is none else but (2, 4) in order.
    assert auroc([1, 2, 3], [2, 4]) == pytest.approx((1 + 0.5 + 0 + 3) / 6)
    assert auroc([0, 1], [2, 3]) == 1
    assert auroc([2, 3], [0, 1]) == 0
    assert auroc([1, 1], [1, 1, 1]) == 0.5


def test_as_another_implementation() -> None:
    normal, odd = RNG.normal(size=300).round(1), RNG.normal(0.7, 1.3, 200).round(1)
    assert auroc(normal, odd) == pytest.approx(scipy.stats.mannwhitneyu(odd, normal).statistic / (300 * 200), abs=1e-12)


def test_the_interval_covers_the_true_value_about_as_often_as_it_says() -> None:
    """Of unit normals d apart the area is Phi(d / sqrt 2): 0.7602 for d = 1."""
    covered = 0
    for trial in range(60):
        generator = np.random.default_rng(trial)
        found = auroc_interval(generator.normal(size=60), generator.normal(1, 1, 60), draws=200, seed=trial)
        covered += found.low <= 0.7602 <= found.high
    assert 50 <= covered <= 60
