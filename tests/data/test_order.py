import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.data import flips, indices

counts, seeds = st.integers(1, 60), st.integers(0, 2**40)


def walk(count: int, batches: list[int], seed: int) -> np.ndarray:
    ends = np.cumsum(batches)
    return np.concatenate([indices(count, n, seed, int(end) - n) for n, end in zip(batches, ends, strict=True)])


@given(counts, seeds, st.integers(0, 5))
def test_each_epoch_is_a_permutation(count: int, seed: int, epoch: int) -> None:
    assert sorted(indices(count, count, seed, epoch * count)) == list(range(count))


@given(counts, seeds, st.lists(st.integers(1, 90), min_size=1, max_size=8))
def test_order_does_not_depend_on_the_batch_size(count: int, seed: int, batches: list[int]) -> None:
    np.testing.assert_array_equal(walk(count, batches, seed), indices(count, sum(batches), seed, 0))


@given(counts, seeds, st.integers(0, 300), st.integers(0, 100))
def test_a_seek_equals_a_walk(count: int, seed: int, images_seen: int, batch: int) -> None:
    walked = np.concatenate([indices(count, 1, seed, p) for p in range(images_seen + batch)] or [np.empty(0, int)])
    np.testing.assert_array_equal(indices(count, batch, seed, images_seen), walked[images_seen:])


@given(seeds, st.integers(0, 3000), st.integers(0, 900), st.integers(0, 900))
def test_flips_belong_to_positions(seed: int, images_seen: int, batch: int, before: int) -> None:
    whole = flips(before + batch, seed, images_seen)
    assert whole.shape == (before + batch,)
    assert whole.dtype == np.bool_
    np.testing.assert_array_equal(whole[before:], flips(batch, seed, images_seen + before))


@settings(max_examples=20)
@given(seeds)
def test_seeds_and_epochs_differ_and_flips_are_fair(seed: int) -> None:
    first = indices(1000, 1000, seed, 0)
    assert (first == indices(1000, 1000, seed + 1, 0)).mean() < 0.02
    assert (first == indices(1000, 1000, seed, 1000)).mean() < 0.02
    coins = flips(20_000, seed, 0)
    assert abs(coins.mean() - 0.5) < 0.02
    assert abs((coins == flips(20_000, seed + 1, 0)).mean() - 0.5) < 0.02


@pytest.mark.parametrize("count", [7, 5000])
def test_far_positions_are_as_good_as_near_ones(count: int) -> None:
    far = 10**12 * count
    assert sorted(indices(count, count, 3, far)) == list(range(count))
    assert flips(5, 3, far).shape == (5,)


def test_the_order_is_the_same_on_every_machine_and_for_ever() -> None:
    assert indices(10, 12, 0, 5).tolist() == [8, 1, 6, 5, 0, 9, 1, 2, 8, 4, 5, 3]
    assert flips(16, 0, 250).astype(int).tolist() == [0, 0, 1, 0, 0, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1]


def test_the_caller_may_write_into_what_it_gets() -> None:
    for batch in (5, 10):
        indices(10, batch, 0, 0)[:] = 0
        assert sorted(indices(10, 10, 0, 0)) == list(range(10))
