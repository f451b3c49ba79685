import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from equipoise.data import content_digest, held_out

DIGESTS = np.random.default_rng(0).integers(0, 2**63, 100_000, dtype=np.uint64)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 1.0])
def test_about_the_share_is_held_out(share: float) -> None:
    spread = (share * (1 - share) / len(DIGESTS)) ** 0.5
    assert abs(held_out(DIGESTS, share).mean() - share) <= 4 * spread


@given(arrays(np.uint64, st.integers(0, 50)), st.floats(0, 1))
def test_each_image_is_judged_alone(digests: np.ndarray, share: float) -> None:
    alone = [bool(held_out(digests[place : place + 1], share)[0]) for place in range(len(digests))]
    assert held_out(digests, share).tolist() == alone


def test_a_larger_share_holds_out_what_a_smaller_one_does() -> None:
    assert (held_out(DIGESTS, 0.2) | ~held_out(DIGESTS, 0.1)).all()


def test_digests_in_a_row_are_split_like_any_others() -> None:
    assert abs(held_out(np.arange(100_000, dtype=np.uint64), 0.1).mean() - 0.1) < 0.005


def test_the_split_never_changes() -> None:
    """A new version must hold out the same images: scores would be unlike otherwise."""
    assert np.flatnonzero(held_out(np.arange(64, dtype=np.uint64), 0.1)).tolist() == [10, 18, 21, 41, 48]
    assert content_digest(b"equipoise") == 11257020220746969667


def test_digests_tell_contents_apart() -> None:
    zeros = np.zeros((4, 6), np.uint8)
    contents = [b"", b"a", bytes(24), zeros, zeros.T, zeros[:, :5], np.zeros((4, 2, 3), np.uint8), zeros + np.uint8(1)]
    assert len({content_digest(content) for content in contents}) == len(contents)
    turned = np.asfortranarray(np.arange(24, dtype=np.uint8).reshape(4, 6))
    assert content_digest(turned) == content_digest(np.ascontiguousarray(turned))
