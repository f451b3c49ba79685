"""Which images come next, and which of them mirrored: pure functions of the seed and the images already seen.

Position p of the endless stream is image number p since the start of the run. Nothing is remembered between
calls, so to resume is to ask for the next position. Only the raw output of Philox (Salmon et al., 2011) is
used, which numpy keeps the same across versions and machines.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

ORDER, FLIPS, POINTS, HELD_OUT_POINTS = 1, 2, 3, 4  # streams that share a seed and nothing else
DRAWS = 256  # flips in one counter value of Philox, four words of 64 bits


def indices(count: int, batch: int, seed: int, images_seen: int) -> NDArray[np.int64]:
    """Say which of `count` images stand at positions images_seen .. images_seen + batch - 1; shape (batch,).

    Epoch e, positions e * count .. (e + 1) * count - 1, is a permutation keyed by (seed, e), so every epoch shows
    every image exactly once, whatever the batch size. `count` is 1 or more, the others 0 or more.
    """
    position, end = images_seen, images_seen + batch
    pieces = [np.empty(0, np.int64)]
    while position < end:
        epoch, first = divmod(position, count)
        last = min(count, first + end - position)
        pieces.append(_permutation(count, seed, epoch)[first:last])
        position += last - first
    return np.concatenate(pieces)


def flips(batch: int, seed: int, images_seen: int) -> NDArray[np.bool_]:
    """Toss a fair coin for each position images_seen .. images_seen + batch - 1; shape (batch,).

    The coin of position p depends on (seed, p) only. `batch`, `seed` and `images_seen` are 0 or more.
    """
    first, last = images_seen // DRAWS, (images_seen + batch - 1) // DRAWS
    words = np.random.Philox(key=_key(seed, FLIPS), counter=first).random_raw((last - first + 1) * DRAWS // 64)
    bits = np.unpackbits(words.astype("<u8").view(np.uint8), bitorder="little")
    start = images_seen - first * DRAWS
    return bits[start : start + batch].astype(np.bool_)


def uniforms(batch: int, seed: int, images_seen: int, stream: int = POINTS) -> NDArray[np.float64]:
    """Four numbers from U[0, 1) for each position images_seen .. images_seen + batch - 1; shape (batch, 4).

    Those of position p depend on (seed, stream, p) only. `batch`, `seed` and `images_seen` are 0 or more.
    """
    words = np.random.Philox(key=_key(seed, stream), counter=images_seen).random_raw(4 * batch)
    return np.asarray((words.reshape(batch, 4) >> np.uint64(11)) * 2.0**-53, np.float64)


@lru_cache(maxsize=2)  # a batch straddles two epochs
def _permutation(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    draws = np.random.Philox(key=_key(seed, ORDER, epoch)).random_raw(count)
    order = np.argsort(draws, kind="stable")
    order.flags.writeable = False
    return order


def _key(*parts: int) -> NDArray[np.uint64]:
    return np.random.SeedSequence(parts).generate_state(2, np.uint64).astype(np.uint64)
