"""Order of the images, and which of them are mirrored: pure functions of the seed and the images seen so far.

Position p of the endless stream is image number p since the start of the run. Nothing is stored between calls, so
resuming is a seek to a position. Only the raw output of the generator Philox (Salmon et al., 2011) is used, which numpy
keeps the same across versions and machines, unlike its shuffles and floats.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

ORDER, FLIPS, POINTS, HELD_OUT_POINTS = 1, 2, 3, 4  # streams that share a seed and nothing else
FLIPS_PER_COUNTER = 256  # one counter value of Philox is four words of 64 bits


def indices(count: int, batch: int, seed: int, images_seen: int) -> NDArray[np.int64]:
    """Indices of the images, of `count`, at positions images_seen .. images_seen + batch - 1; shape (batch,).

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
    """Fair coin for each position images_seen .. images_seen + batch - 1, true to mirror the image; shape (batch,).

    The coin of position p depends on (seed, p) only. `batch`, `seed` and `images_seen` are 0 or more.
    """
    first, last = images_seen // FLIPS_PER_COUNTER, (images_seen + batch - 1) // FLIPS_PER_COUNTER
    # Philox computes its output from a counter, so the words of any position are had without those before.
    count = (last - first + 1) * FLIPS_PER_COUNTER // 64
    words = np.random.Philox(key=_key(seed, FLIPS), counter=first).random_raw(count)
    bits = np.unpackbits(words.astype("<u8").view(np.uint8), bitorder="little")
    start = images_seen - first * FLIPS_PER_COUNTER
    return bits[start : start + batch].astype(np.bool_)


def uniforms(batch: int, seed: int, images_seen: int, stream: int = POINTS) -> NDArray[np.float64]:
    """Four numbers from U[0, 1) for each position images_seen .. images_seen + batch - 1; shape (batch, 4).

    Those of position p depend on (seed, stream, p) only. `batch`, `seed` and `images_seen` are 0 or more.
    """
    words = np.random.Philox(key=_key(seed, stream), counter=images_seen).random_raw(4 * batch)
    # The upper 53 bits of each word, which a double holds exactly: never 1, and the same on every machine.
    return np.asarray((words.reshape(batch, 4) >> np.uint64(11)) * 2.0**-53, np.float64)


@lru_cache(maxsize=2)  # a batch straddles two epochs
def _permutation(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    draws = np.random.Philox(key=_key(seed, ORDER, epoch)).random_raw(count)
    order = np.argsort(draws, kind="stable")  # stable, so that equal draws do not leave the order to numpy's version
    order.flags.writeable = False  # the cache gives the same array to all callers
    return order


def _key(*parts: int) -> NDArray[np.uint64]:
    return np.random.SeedSequence(parts).generate_state(2, np.uint64).astype(np.uint64)
