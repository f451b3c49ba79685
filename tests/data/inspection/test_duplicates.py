import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from equipoise.data import duplicates_sheet, inspect
from equipoise.data.decode import prepare
from equipoise.data.framing import parse_framing
from equipoise.data.inspection.duplicates import (
    MAX_BITS,
    candidate_pairs,
    exact_duplicates,
    near_duplicates,
    perceptual_hash,
)


def picture(seed: int, side: int = 160) -> Image.Image:
    """An image with the spectrum of a photograph, noise with an amplitude of 1 / frequency, of little colour."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    frequency[0, 0] = 1
    noise = np.fft.irfft2(
        np.fft.rfft2(random.normal(size=(side, side)) + 0.3 * random.normal(size=(3, side, side))) / frequency**1.2,
        s=(side, side),
    )
    pixels = 120 + 50 * noise / noise.std()
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def looks(image: Image.Image, kind: str = "PNG", **options: Any) -> np.ndarray:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return prepare(data.getvalue, parse_framing(64, None, "crop", "white")).pixels


def bits(one: int, other: int) -> int:
    return (one ^ other).bit_count()


VARIANTS: dict[str, Callable[[Image.Image], np.ndarray]] = {
    "itself": looks,
    "jpeg": lambda image: looks(image, "JPEG", quality=60),
    "webp": lambda image: looks(image, "WEBP", quality=60),
    "palette": lambda image: looks(image.quantize(256), "GIF"),
    "smaller": lambda image: looks(image.resize((120, 120))),
    "larger": lambda image: looks(image.resize((300, 300))),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_are_alike_and_others_are_not(variant: str) -> None:
    originals = [looks(picture(seed)) for seed in range(8)]
    variants = [VARIANTS[variant](picture(seed)) for seed in range(8)]
    images = originals + variants
    hashes = np.array([perceptual_hash(image) for image in images], np.uint64)
    assert max(bits(int(hashes[k]), int(hashes[k + 8])) for k in range(8)) <= MAX_BITS
    assert near_duplicates(hashes, images.__getitem__) == [(k, k + 8) for k in range(8)]


def test_equal_hashes_of_unlike_images_are_not_alike() -> None:
    images = [looks(picture(seed)) for seed in range(4)]
    assert near_duplicates(np.zeros(4, np.uint64), images.__getitem__) == []
    assert near_duplicates(np.zeros(4, np.uint64), lambda _: None) == []


def test_plain_images_are_alike_if_their_colour_is() -> None:
    grays = [np.full((1, 8, 8), value, np.uint8) for value in (10, 11, 200, 10)]
    hashes = np.array([perceptual_hash(gray) for gray in grays], np.uint64)
    assert near_duplicates(hashes, grays.__getitem__) == [(0, 1, 3)]


@given(st.lists(st.integers(0, 2**64 - 1), max_size=16), st.data())
def test_candidates_are_all_near_pairs_of_few(hashes: list[int], data: Any) -> None:
    if hashes:
        flips = data.draw(st.lists(st.integers(0, 63), max_size=7))
        hashes.append(hashes[0] ^ sum({1 << flip for flip in flips}))
    near_pairs = {(i, j) for j in range(len(hashes)) for i in range(j) if bits(hashes[i], hashes[j]) <= MAX_BITS}
    found = candidate_pairs(np.array(hashes, np.uint64)).tolist()
    assert {tuple(pair) for pair in found} == near_pairs
    distances = [bits(hashes[i], hashes[j]) for i, j in found]
    assert distances == sorted(distances)


def test_candidates_of_many_are_found() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**64, 50_000, dtype=np.uint64)
    for place in range(500):
        flips = np.random.default_rng(place).choice(64, 4, replace=False)
        hashes[25_000 + place] = hashes[place] ^ np.uint64(sum(1 << int(flip) for flip in flips))
    found = {tuple(pair) for pair in candidate_pairs(hashes).tolist()}
    assert sum((place, 25_000 + place) in found for place in range(500)) >= 495


def test_same_groups_equal_digests() -> None:
    assert exact_duplicates(np.array([5, 0, 5, 7, 0, 5], np.uint64)) == [(0, 2, 5), (1, 4)]
    assert exact_duplicates(np.array([0, 2**64 - 1], np.uint64)) == []
    assert exact_duplicates(np.array([], np.uint64)) == []


def test_inspect_names_copies_and_images_alike(tmp_path: Path) -> None:
    for seed in range(6):
        picture(seed).save(tmp_path / f"{seed}.png")
    (tmp_path / "copy.png").write_bytes((tmp_path / "3.png").read_bytes())
    (tmp_path / "0bad.png").write_text("broken")  # numbers of images kept and found differ
    picture(4).save(tmp_path / "again.jpg", quality=80)
    picture(3).save(tmp_path / "other.webp", quality=80)
    found = inspect(tmp_path)
    assert found.copies == [("3.png", "copy.png")]
    assert found.alike == [("3.png", "other.webp"), ("4.png", "again.jpg")]
    assert "copies    2 images have the same content as another, in 1 group\n" in str(found)
    assert "            4.png, again.jpg" in str(found)
    drawn = duplicates_sheet(found)
    assert drawn is not None
    assert drawn.size == (2 * 66 + 2, 3 * 66 + 2)
    left, right = (np.asarray(drawn)[2:66, x : x + 64] for x in (2, 68))
    np.testing.assert_array_equal(left, right)


def test_digits_have_neither() -> None:
    found = inspect("digits", 32)
    assert (found.copies, found.alike, duplicates_sheet(found)) == ([], [], None)
