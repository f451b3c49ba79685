"""Against scipy, rliable's figures, and closed forms."""

import itertools
import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from equipoise.studies import statistics
from equipoise.studies.statistics import (
    best_of,
    holm,
    interquartile_mean,
    interquartile_mean_interval,
    performance_profile,
    permutation_p_value,
    probability_interval,
    probability_of_improvement,
)

A = [np.array([0.11, 0.13, 0.09, 0.30, 0.12]), np.array([0.5, 0.62, 0.41, 0.55, 0.9])]
B = [np.array([0.21, 0.14, 0.29, 0.33, 0.25]), np.array([0.6, 0.72, 0.38, 0.75, 0.58])]


def drawn(seed: int, *counts: int) -> list[NDArray[np.float64]]:
    random = np.random.default_rng(seed)
    return [random.normal(size=count) for count in counts]


@pytest.mark.parametrize("counts", [(1,), (3,), (4,), (5, 3), (7, 8, 9)])
def test_the_interquartile_mean_is_scipys_trimmed_mean(counts: tuple[int, ...]) -> None:
    scores = drawn(0, *counts)
    assert interquartile_mean(scores) == pytest.approx(stats.trim_mean(np.concatenate(scores), 0.25), rel=1e-12)


def test_the_interval_of_one_data_set_is_scipys_percentile_bootstrap() -> None:
    (scores,) = drawn(1, 12)
    theirs = stats.bootstrap(
        (scores,), lambda rows, axis: stats.trim_mean(rows, 0.25, axis=axis), method="percentile", n_resamples=50_000
    ).confidence_interval
    ours = interquartile_mean_interval([scores])
    assert ours[1:] == pytest.approx((theirs.low, theirs.high), abs=0.02)
    assert ours.low < ours.value < ours.high


def test_the_figures_are_rliables() -> None:
    """Of rliable 1.2.0 on the same scores: 50,000 repetitions for means, 2,000 for the probability."""
    assert interquartile_mean_interval(A) == pytest.approx((0.335, 0.27666667, 0.43), abs=0.004)
    assert interquartile_mean_interval(B) == pytest.approx((0.405, 0.32833333, 0.49), abs=0.004)
    assert probability_interval(A, B, lower_is_better=False) == pytest.approx((0.3, 0.04, 0.56), abs=0.041)
    assert 1 - performance_profile(B, np.array([0.1, 0.2, 0.3, 0.6])).share == pytest.approx([1.0, 0.9, 0.6, 0.2])


def test_seeds_are_resampled_within_their_data_set() -> None:
    """Without strata, the shares of the two data sets would vary, and the interval would be wide."""
    scores = [np.full(6, 1.0), np.full(6, 2.0)]
    assert interquartile_mean_interval(scores) == pytest.approx((1.5, 1.5, 1.5))


def test_a_failed_trial_is_worse_than_any_score_and_does_not_hide() -> None:
    one_of_five = interquartile_mean_interval([np.array([1.0, 2.0, 3.0, 4.0, np.inf])])
    assert one_of_five.value == pytest.approx(3.0)  # trimmed, as the highest would be
    assert one_of_five.high == np.inf
    assert interquartile_mean([np.array([1.0, 2.0, np.inf, np.inf, np.inf])]) == np.inf
    wins = probability_of_improvement([np.array([1.0, np.inf])], [np.array([2.0, np.inf])])
    assert wins == pytest.approx((1 + 1 + 0 + 0.5) / 4)


@pytest.mark.parametrize("seed", range(5))
def test_the_probability_of_improvement_is_mann_and_whitneys_u(seed: int) -> None:
    x, y = (np.round(each, 1) for each in drawn(seed, 6, 9))  # with ties
    expected = stats.mannwhitneyu(x, y).statistic / (len(x) * len(y))
    assert probability_of_improvement([x], [y], lower_is_better=False) == pytest.approx(expected)
    assert probability_of_improvement([x], [y]) == pytest.approx(1 - expected)


def test_the_interval_of_the_probability_contains_it_and_is_degenerate_where_nothing_overlaps() -> None:
    value, low, high = probability_interval(A, B)
    assert low < value < high
    assert probability_interval([np.arange(5.0)], [np.arange(5.0) + 9])[:] == (1, 1, 1)


@pytest.mark.parametrize(("first", "second", "seed"), [(3, 3, 0), (5, 5, 1), (4, 7, 2)])
def test_the_permutation_test_of_one_data_set_is_mann_and_whitneys_exact_one(
    first: int, second: int, seed: int
) -> None:
    x, y = drawn(seed, first, second)
    expected = stats.mannwhitneyu(x, y, method="exact").pvalue
    assert permutation_p_value([x], [y]) == pytest.approx(expected, rel=1e-12)


def test_the_permutation_test_of_two_data_sets_counts_every_way() -> None:
    x, y = [np.array([1.0, 3.0]), np.array([10.0, 12.0])], [np.array([2.0, 4.0]), np.array([11.0, 15.0])]

    def rate(a: tuple[float, ...], pool: list[float]) -> float:
        rest = list(pool)
        for each in a:
            rest.remove(each)
        return float(np.mean([p > q for p in a for q in rest]))

    pools = [[*a, *b] for a, b in zip(x, y, strict=True)]
    ways = itertools.product(*([rate(a, pool) for a in itertools.combinations(pool, 2)] for pool in pools))
    distances = np.array([abs(sum(way) / 2 - 0.5) for way in ways])
    seen = abs(np.mean([rate(tuple(a), pool) for a, pool in zip(x, pools, strict=True)]) - 0.5)
    assert permutation_p_value(x, y) == pytest.approx(np.mean(distances >= seen - 1e-12))


def test_many_seeds_are_permuted_at_random_to_about_the_same_p_value() -> None:
    x, y = drawn(5, 25, 25)
    expected = stats.mannwhitneyu(x, y, method="exact").pvalue
    assert permutation_p_value([x], [y]) == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize("counts", [(3, 4), (40, 30)])
def test_failed_trials_and_ties_are_permuted_as_scores_are(counts: tuple[int, int]) -> None:
    """Of which only the order counts."""
    x, y = (np.round(each, 1) for each in drawn(3, *counts))
    failed = [np.where(each < each.max(), each, np.inf) for each in (x, y)]
    large = [np.where(np.isfinite(each), each, 99.0) for each in failed]
    assert permutation_p_value([failed[0]], [failed[1]]) == permutation_p_value([large[0]], [large[1]])


def test_many_seeds_are_compared_in_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = drawn(0, 400), drawn(1, 400)
    tracemalloc.start()
    interval = probability_interval(x, y, repetitions=500)
    assert tracemalloc.get_traced_memory()[1] < 300e6  # all pairs at once take 800 MB
    tracemalloc.stop()
    monkeypatch.setattr(statistics, "MOST_PAIRS", 400 * 400 * 7)
    assert probability_interval(x, y, repetitions=500) == interval


def test_holms_correction_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_profile_is_the_share_of_trials_as_good_and_weighs_data_sets_alike() -> None:
    thresholds = np.array([0.1, 0.2, 0.3, 0.6])
    profile = performance_profile(A, thresholds)
    assert profile.share == pytest.approx([0.1, 0.4, 0.5, 0.8])
    assert (profile.low <= profile.share).all()
    assert (profile.share <= profile.high).all()
    assert performance_profile([A[0]], thresholds, lower_is_better=False).share == pytest.approx([0.8, 0.2, 0.2, 0.0])


def test_the_best_of_k_is_the_mean_over_all_choices() -> None:
    (scores,) = drawn(7, 6)
    expected = [np.mean([min(each) for each in itertools.combinations(scores, k)]) for k in range(1, 7)]
    assert best_of(scores) == pytest.approx(expected)


def test_the_best_of_many_is_told_at_once() -> None:
    """Of n even numbers the expected lowest of k is (n + 1) / (k + 1)."""
    expected = best_of(np.arange(1.0, 3001.0))
    assert expected == pytest.approx(3001 / (np.arange(1, 3001) + 1), rel=1e-9)
