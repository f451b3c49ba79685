"""Images that are the same, and images that only look the same."""

from collections import defaultdict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from equipoise.data.decode import Pixels
from equipoise.data.digests import Digests

Groups = list[tuple[int, ...]]  # numbers of images in ascending order, in each group and from group to group

SIDE = 32  # of the small picture that is transformed
FREQUENCIES = 8  # kept of the transform along each axis
MAX_BITS = 6  # of 64, in which the hashes of candidates differ
NEIGHBOURS = 16  # compared with each hash in every sorted order
ROTATION = 4  # bits from one sorted order to the next
MAX_CHECKED = 100_000  # candidates whose pixels are compared, the nearest hashes first
MAX_DIFFERENCE = 0.16  # root mean square difference of near duplicates, over the mean contrast of both
INVISIBLE = 2.0  # root mean square difference, of 255, that nobody sees in any image

# The lowest frequencies of the discrete cosine transform, as a matrix (FREQUENCIES, SIDE).
COSINES = np.cos(np.pi / SIDE * np.arange(FREQUENCIES)[:, None] * (np.arange(SIDE) + 0.5)).astype(np.float32)


def exact_duplicates(digests: Digests) -> Groups:
    """Groups of images whose stored content is the same, by their digests (N,)."""
    order = np.argsort(digests, kind="stable")
    starts = np.flatnonzero(np.diff(digests[order], prepend=~digests[order[:1]]))
    runs = np.split(order, starts[1:])
    return sorted(tuple(run.tolist()) for run in runs if len(run) > 1)


def perceptual_hash(pixels: Pixels) -> int:
    """Hash of an image (C, H, W) in 64 bits, few of which differ after it was resized or compressed.

    Each bit says whether one of the lowest frequencies of the picture, by the discrete cosine transform, is above
    their median (pHash: Zauner, 2010).
    """
    gray = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.mean(axis=0).astype(np.uint8))
    small = np.asarray(gray.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)
    spectrum = (COSINES @ small @ COSINES.T).ravel().round(1)  # rounded, or a plain picture would hash rounding errors
    spectrum[0] = -np.inf  # the mean brightness says nothing
    bits = np.packbits(spectrum > np.median(spectrum[1:]))
    return int.from_bytes(bits.tobytes(), "big")


def near_duplicates(hashes: NDArray[np.uint64], pixels_of: Callable[[int], Pixels | None]) -> Groups:
    """Groups of images that look nearly the same.

    Args:
        hashes: (N,) their perceptual hashes.
        pixels_of: gives the pixels (C, H, W) of an image, or None where it cannot be read again.
    """
    parent = list(range(len(hashes)))  # a union-find forest: images with the same root are in one group

    def root(image: int) -> int:
        while parent[image] != image:
            parent[image] = image = parent[parent[image]]  # halves the path for the next look
        return image

    # Hashes find candidates fast, but unlike pictures may share one, so the pixels decide.
    for image, other in candidate_pairs(hashes)[:MAX_CHECKED].tolist():
        first, second = sorted((root(image), root(other)))
        if first != second and _look_alike(pixels_of(image), pixels_of(other)):
            parent[second] = first
    members: dict[int, list[int]] = defaultdict(list)
    for image in range(len(hashes)):
        members[root(image)].append(image)
    return sorted(tuple(images) for images in members.values() if len(images) > 1)


def candidate_pairs(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Pairs (M, 2) of hashes that differ in MAX_BITS or less, the nearest first.

    Hashes are sorted, and each is compared with its neighbours; then again after all were rotated by some bits, so
    that other bits count most (the sorted neighbourhood method: Hernandez and Stolfo, 1995). This takes time and memory
    in proportion to N log N, and misses hardly a pair.
    """
    count = len(hashes)
    pairs = np.empty(0, np.int64)  # first * count + second, so that a pair is one number, and `unique` is quick
    for bits in range(0, 64, ROTATION):
        order = np.argsort((hashes << np.uint64(bits)) | (hashes >> np.uint64(64 - bits)), kind="stable")
        ordered, pieces = hashes[order], [pairs]
        for step in range(1, min(NEIGHBOURS, count - 1) + 1):
            close = np.flatnonzero(_hamming_distance(ordered[step:], ordered[:-step]) <= MAX_BITS)
            first, second = order[close], order[close + step]
            pieces.append(np.minimum(first, second) * count + np.maximum(first, second))
        pairs = np.unique(np.concatenate(pieces))
    first, second = np.divmod(pairs, max(1, count))
    nearest = np.argsort(_hamming_distance(hashes[first], hashes[second]), kind="stable")
    return np.stack([first, second], axis=1)[nearest]


def _hamming_distance(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Number of bits that differ; numpy counts bits itself only from version 2 on."""
    # Neighbouring counts of 1, 2 and 4 bits are added up in place, then the 8 bytes by one multiplication.
    bits = first ^ second
    bits = bits - ((bits >> np.uint64(1)) & np.uint64(0x5555555555555555))
    bits = (bits & np.uint64(0x3333333333333333)) + ((bits >> np.uint64(2)) & np.uint64(0x3333333333333333))
    bits = (bits + (bits >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (bits * np.uint64(0x0101010101010101)) >> np.uint64(56)


def _look_alike(first: Pixels | None, second: Pixels | None) -> bool:
    """Whether two images (C, H, W) of one size, C = 1 or 3, differ by little, for the contrast that they have."""
    if first is None or second is None:
        return False
    difference = float(np.sqrt(np.mean(np.square(first.astype(np.float32) - second))))
    return difference <= max(INVISIBLE, MAX_DIFFERENCE * float(first.std() + second.std()) / 2)
