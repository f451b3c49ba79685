"""Digests of images' content in 64 bits, and the images that are held out by them."""

import hashlib
from typing import Literal

import numpy as np
from numpy.typing import NDArray

HeldOut = float | Literal["auto"]  # a share, or what the data itself holds out, else AUTO_SHARE
AUTO_SHARE = 0.1
Digests = NDArray[np.uint64]  # (N,)
Stored = bytes | NDArray[np.uint8]  # an encoded image file, or an array (H, W), (H, W, 3) or (H, W, 4)


def content_digest(stored: Stored) -> int:
    """Digest of a stored image in 64 bits: of the bytes of its file, or of the shape and values of its array."""
    if isinstance(stored, bytes):
        content = hashlib.blake2b(stored, digest_size=8)
    else:
        content = hashlib.blake2b(repr(stored.shape).encode(), digest_size=8)
        content.update(np.ascontiguousarray(stored).data)
    return int.from_bytes(content.digest(), "little")


def usable_partition(partition: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    """The data's own mask (N,) of images to hold out; None where it leaves a side empty, as of one split alone."""
    return partition if partition is not None and partition.any() and not partition.all() else None


def held_out(digests: Digests, share: float) -> NDArray[np.bool_]:
    """Mask (N,) of about `share`, from 0 to 1, of the images, each chosen by its own digest (N,) alone.

    An image keeps its side whatever comes or goes beside it, equal images are on one side, and a larger share holds
    out all that a smaller one does. The digests are mixed once more, by the finaliser of SplitMix64 (Steele, Lea and
    Flood, 2014), so that data which was itself chosen by digest is split as well as any other.
    """
    mixed = digests + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed = mixed ^ (mixed >> np.uint64(31))
    # The upper 53 bits are exact as a double, so the comparison is, too.
    return (mixed >> np.uint64(11)).astype(np.float64) < share * 2.0**53
