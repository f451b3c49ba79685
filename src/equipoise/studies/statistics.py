"""What scores over seeds and data sets show: robust means, intervals, and how often one arm beats another.

Agarwal et al. (2021), "Deep Reinforcement Learning at the Edge of the Statistical Precipice", arXiv:2108.13264, and
their library rliable. Scores are given as one array for each data set (a stratum), with a score for each seed.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from equipoise.metrics.ranking import Interval

Scores = Sequence[NDArray[np.float64]]
"""For each data set the scores (n,) of all seeds; infinite for a trial that has none, and is worse than any other."""

CONFIDENCE = 0.95
REPETITIONS = 50_000  # of a bootstrap, as rliable's authors have it for aggregates
PERMUTATIONS = 20_000  # where there are too many for all
MOST_PAIRS = 2**24  # of scores that are compared at once


def interquartile_mean(scores: Scores) -> float:
    """Mean of the middle half of all scores together: floor(n / 4) at each end are left out."""
    rows = np.sort(np.concatenate([np.asarray(each, np.float64) for each in scores]))[None]
    return float(_middle_mean(rows)[0])


def interquartile_mean_interval(scores: Scores, seed: int = 0, repetitions: int = REPETITIONS) -> Interval:
    """The interquartile mean with its 95 % percentile interval by the stratified bootstrap."""
    resampled = _bootstrap(scores, repetitions, np.random.default_rng(seed))
    means = _middle_mean(np.sort(np.concatenate(resampled, axis=1), axis=1))
    return Interval(interquartile_mean(scores), *_percentiles(means))


def probability_of_improvement(x: Scores, y: Scores, *, lower_is_better: bool = True) -> float:
    """Probability that a trial of X scores better than one of Y, ties halved: Mann and Whitney's U over pairs.

    The mean over the data sets, as rliable has it.
    """
    sign = -1.0 if lower_is_better else 1.0
    return float(np.mean([_win_rate(sign * a[None], sign * b[None])[0] for a, b in zip(x, y, strict=True)]))


def probability_interval(
    x: Scores, y: Scores, *, lower_is_better: bool = True, seed: int = 0, repetitions: int = 2_000
) -> Interval:
    """The probability of improvement with its 95 % interval: both arms are resampled, each data set by itself."""
    sign, random = -1.0 if lower_is_better else 1.0, np.random.default_rng(seed)
    both = [
        (_bootstrap([a], repetitions, random)[0], _bootstrap([b], repetitions, random)[0])
        for a, b in zip(x, y, strict=True)
    ]
    rates = np.mean([_win_rate(sign * a, sign * b) for a, b in both], axis=0)
    return Interval(probability_of_improvement(x, y, lower_is_better=lower_is_better), *_percentiles(rates))


def permutation_p_value(x: Scores, y: Scores, seed: int = 0) -> float:
    """Two-sided p-value of the hypothesis that the arms do not differ, by the Mann-Whitney statistic.

    Seeds are permuted between the arms within each data set: all ways where these are few, which is the exact test of
    Mann and Whitney on one data set, else PERMUTATIONS random ones.
    """
    counts = [math.comb(len(a) + len(b), len(a)) for a, b in zip(x, y, strict=True)]
    distances: NDArray[np.float64]
    if math.prod(counts) <= PERMUTATIONS:
        rates = [_all_win_rates(a, b) for a, b in zip(x, y, strict=True)]
        sums = np.array([sum(each) for each in itertools.product(*rates)])
        distances = np.abs(sums / len(rates) - 0.5)
    else:
        random = np.random.default_rng(seed)
        total = np.zeros(PERMUTATIONS)
        for a, b in zip(x, y, strict=True):
            ranks = np.tile(_midranks(np.concatenate([a, b])), (PERMUTATIONS, 1))
            total += _rates_by_ranks(random.permuted(ranks, axis=1)[:, : len(a)], len(b))
        distances = np.append(np.abs(total / len(x) - 0.5), np.inf)  # what was seen is one of the ways
    seen = abs(probability_of_improvement(x, y) - 0.5)
    return float(np.mean(distances >= seen - 1e-12))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979): each is at most the given level only if the whole family is."""
    order, corrected, highest = np.argsort(p_values), [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


class Profile(NamedTuple):
    """Share of trials at least as good as each of `thresholds` (m,), with the band of its 95 % intervals."""

    thresholds: NDArray[np.float64]
    share: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def performance_profile(
    scores: Scores,
    thresholds: NDArray[np.float64],
    *,
    lower_is_better: bool = True,
    seed: int = 0,
    repetitions: int = 2_000,
) -> Profile:
    """Share of trials with a score at least as good as each threshold; data sets count alike."""

    def share(rows: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:  # of (r, n) each: (r, m)
        met = [
            (part[:, :, None] <= thresholds if lower_is_better else part[:, :, None] >= thresholds).mean(axis=1)
            for part in rows
        ]
        return np.asarray(np.mean(met, axis=0))

    resampled = share(_bootstrap(scores, repetitions, np.random.default_rng(seed)))
    low, high = np.quantile(resampled, _ends(), axis=0)
    return Profile(thresholds, share([np.asarray(each, np.float64)[None] for each in scores])[0], low, high)


def best_of(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Expected lowest of k of these scores (n,), drawn without replacement, for k from 1 to n: (n,).

    How a search's result depends on its length (Dodge et al. 2019, arXiv:1909.03004, there with replacement).
    """
    ordered, count = np.sort(np.asarray(scores, np.float64)), len(scores)
    expected = np.empty(count)
    for k in range(1, count + 1):
        # The i-th lowest is the lowest of k with probability C(n - 1 - i, k - 1) / C(n, k), each by the one before.
        others = count - 1.0 - np.arange(count - k)
        weights = k / count * np.append(1.0, np.cumprod((others - k + 1) / others))
        expected[k - 1] = weights @ ordered[: count - k + 1]
    return expected


def _middle_mean(ordered: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of the middle of each sorted row (r, n) without floor(n / 4) at each end: (r,)."""
    cut = ordered.shape[1] // 4
    return np.asarray(ordered[:, cut : ordered.shape[1] - cut].mean(axis=1))


def _bootstrap(scores: Scores, repetitions: int, random: np.random.Generator) -> list[NDArray[np.float64]]:
    """For each data set as many scores with replacement as it has: (repetitions, n) each."""
    return [np.asarray(each, np.float64)[random.integers(0, len(each), (repetitions, len(each)))] for each in scores]


def _win_rate(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of pairs in which x (r, n) is above y (r, m), ties halved: (r,)."""
    rates, block = np.empty(len(x)), max(1, MOST_PAIRS // (x.shape[1] * y.shape[1]))
    for start in range(0, len(x), block):
        a, b = x[start : start + block, :, None], y[start : start + block, None, :]
        rates[start : start + block] = ((a > b) + 0.5 * (a == b)).mean(axis=(1, 2))
    return rates


def _midranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks of values (n,) from 1, ties sharing the mean of theirs: (n,)."""
    ordered = np.sort(values)
    return np.asarray((np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right") + 1) / 2)


def _rates_by_ranks(ranks: NDArray[np.float64], others: int) -> NDArray[np.float64]:
    """The win rate of scores over so many others, by their ranks (r, n) among all: (r,)."""
    count = ranks.shape[1]
    return np.asarray((ranks.sum(axis=1) - count * (count + 1) / 2) / (count * others))


def _all_win_rates(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """The win rate of every choice of len(a) of all scores over the rest: (choices,)."""
    ranks = _midranks(np.concatenate([a, b]))
    choices = np.array(list(itertools.combinations(ranks, len(a))))
    return _rates_by_ranks(choices, len(b))


def _percentiles(values: NDArray[np.float64]) -> tuple[float, float]:
    ordered = np.sort(values)  # by rank and not between ranks, where infinite values would make NaN
    low, high = (ordered[round(end * (len(ordered) - 1))] for end in _ends())
    return float(low), float(high)


def _ends() -> tuple[float, float]:
    return (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2
