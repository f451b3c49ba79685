"""Images that are the same, and images that only look it."""

from collections import defaultdict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from equipoise.data.decode import Pixels
from equipoise.data.digests import Digests

Groups = list[tuple[int, ...]]  # of the numbers of images, each group and the groups in their order

SIDE, FREQUENCIES = 32, 8  # of the small picture that is transformed, and what is kept of it along each axis
MAX_BITS = 6  # in which the hashes of candidates differ, of 64
WINDOW, TURN = 16, 4  # neighbours looked at in each sorted order, and bits from one order to the next
MAX_CHECKED = 100_000  # candidates whose pixels are compared, the nearest hashes first
ALIKE = 0.16  # root mean square difference, over the mean contrast of both images
FAINT = 2.0  # root mean square difference, of 255, that is nothing in any image


def same(digests: Digests) -> Groups:
    """Group the images whose stored content is the same, by their digests (N,)."""
    order = np.argsort(digests, kind="stable")
    starts = np.flatnonzero(np.diff(digests[order], prepend=~digests[order[:1]]))
    runs = np.split(order, starts[1:])
    return sorted(tuple(run.tolist()) for run in runs if len(run) > 1)


def perceptual_hash(pixels: Pixels) -> int:
    """Sum up how an image (C, H, W) looks, in 64 bits that few bits of differ where it was resized or compressed.

    Each bit says whether one of the lowest frequencies of the picture, by the discrete cosine transform, is above
    their median (pHash: Zauner, 2010).
    """
    gray = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.mean(axis=0).astype(np.uint8))
    small = np.asarray(gray.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)
    waves = (WAVES @ small @ WAVES.T).ravel().round(1)  # what is left of a plain picture is rounding
    waves[0] = -np.inf  # the mean brightness says nothing
    bits = np.packbits(waves > np.median(waves[1:]))
    return int.from_bytes(bits.tobytes(), "big")


def near(hashes: NDArray[np.uint64], look: Callable[[int], Pixels | None]) -> Groups:
    """Group the images that look nearly the same.

    Args:
        hashes: (N,) their picture hashes.
        look: gives the pixels (C, H, W) of an image, or None where they are gone.
    """
    leader = list(range(len(hashes)))  # of the group that each image is in

    def group(image: int) -> int:
        while leader[image] != image:
            leader[image] = image = leader[leader[image]]
        return image

    for one, other in candidates(hashes)[:MAX_CHECKED].tolist():
        first, second = sorted((group(one), group(other)))
        if first != second and _alike(look(one), look(other)):
            leader[second] = first
    members: dict[int, list[int]] = defaultdict(list)
    for image in range(len(hashes)):
        members[group(image)].append(image)
    return sorted(tuple(images) for images in members.values() if len(images) > 1)


def candidates(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Find pairs (M, 2) of hashes that differ in MAX_BITS or less, the nearest first.

    Hashes with equal first bits are neighbours when sorted. So they are sorted once for each choice of the bit to
    begin with, and each is compared with its next WINDOW neighbours (the sorted neighbourhood method: Hernandez and
    Stolfo, 1995). This takes time and memory in proportion to N log N, and misses hardly a pair.
    """
    count = len(hashes)
    found = np.empty(0, np.int64)
    for turn in range(0, 64, TURN):
        order = np.argsort((hashes << np.uint64(turn)) | (hashes >> np.uint64(64 - turn)), kind="stable")
        ordered, pairs = hashes[order], [found]
        for step in range(1, min(WINDOW, count - 1) + 1):
            close = np.flatnonzero(_distance(ordered[step:], ordered[:-step]) <= MAX_BITS)
            one, other = order[close], order[close + step]
            pairs.append(np.minimum(one, other) * count + np.maximum(one, other))
        found = np.unique(np.concatenate(pairs))
    one, other = np.divmod(found, max(1, count))
    nearest = np.argsort(_distance(hashes[one], hashes[other]), kind="stable")
    return np.stack([one, other], axis=1)[nearest]


def _distance(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Count the bits that differ, adding up neighbouring counts of 1, 2 and 4 bits, then the 8 bytes."""
    bits = one ^ other
    bits = bits - ((bits >> np.uint64(1)) & np.uint64(0x5555555555555555))
    bits = (bits & np.uint64(0x3333333333333333)) + ((bits >> np.uint64(2)) & np.uint64(0x3333333333333333))
    bits = (bits + (bits >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (bits * np.uint64(0x0101010101010101)) >> np.uint64(56)


def _alike(one: Pixels | None, other: Pixels | None) -> bool:
    """Say whether two images (C, H, W) of one size, C = 1 or 3, differ by little, for the contrast that they have."""
    if one is None or other is None:
        return False
    difference = float(np.sqrt(np.mean(np.square(one.astype(np.float32) - other))))
    return difference <= max(FAINT, ALIKE * float(one.std() + other.std()) / 2)


def _waves() -> NDArray[np.float32]:
    """Give the lowest frequencies of the discrete cosine transform (FREQUENCIES, SIDE)."""
    places, waves = np.arange(SIDE) + 0.5, np.arange(FREQUENCIES)
    return np.cos(np.pi / SIDE * waves[:, None] * places).astype(np.float32)


WAVES = _waves()
