"""What is held out follows from each image's content alone."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from equipoise.data import Images, open_images
from equipoise.errors import UsageError

KINDS = {"png": {}, "jpg": {"quality": 90}, "webp": {"lossless": True}, "gif": {}, "bmp": {}, "tif": {}}


def write(folder: Path, first: int, count: int) -> None:
    """Images of all kinds, each another."""
    folder.mkdir(exist_ok=True)
    for number in range(first, first + count):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 48, 3), np.uint8)
        kind = list(KINDS)[number % len(KINDS)]
        Image.fromarray(pixels).save(folder / f"{number:03d}.{kind}", **KINDS[kind])


def held(images: Images) -> set[int]:
    return set(images.split(0.25)[1].digests.tolist())


def test_the_share_held_out_is_about_as_asked() -> None:
    images = open_images("digits", 16)
    for share in (0.02, 0.1, 0.5):
        train, held_out = images.split(share)
        assert len(train) + len(held_out) == len(images) == 5000
        spread = (5000 * share * (1 - share)) ** 0.5
        assert abs(len(held_out) - 5000 * share) < 4 * spread


def test_an_image_keeps_its_side_when_others_come_and_at_every_resolution(tmp_path: Path) -> None:
    write(tmp_path / "a", 10, 30)
    before = open_images(tmp_path / "a", 8)
    write(tmp_path / "a", 0, 10)
    after, larger = open_images(tmp_path / "a", 8), open_images(tmp_path / "a", "24x32")
    assert len(set(after.digests.tolist())) == 40
    assert held(before) == held(after) & set(before.digests.tolist())
    assert 0 < len(held(before)) < 30
    np.testing.assert_array_equal(after.digests, larger.digests)


def test_copies_are_on_one_side(tmp_path: Path) -> None:
    write(tmp_path / "a", 0, 12)
    for path in list((tmp_path / "a").iterdir()):
        (tmp_path / "a" / f"copy-of-{path.name}").write_bytes(path.read_bytes())
    train, held_out = open_images(tmp_path / "a", 8).split(0.5)
    assert len(train) % 2 == len(held_out) % 2 == 0
    assert not set(train.digests.tolist()) & set(held_out.digests.tolist())


def test_arrays_are_split_by_their_values(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 8, 8), np.uint8)
    np.save(tmp_path / "a.npy", images)
    np.save(tmp_path / "b.npy", images[::-1])
    a, b = open_images(tmp_path / "a.npy", 8), open_images(tmp_path / "b.npy", 8)
    np.testing.assert_array_equal(a.digests, b.digests[::-1])
    assert held(a) == held(b)


def test_a_part_gives_its_own_images_and_labels() -> None:
    images = open_images("digits", 16)
    train, held_out = images.split(0.1)
    assert train.labels is not None
    assert images.labels is not None
    for part in (train, held_out):
        assert part.selection is not None
        np.testing.assert_array_equal(part.batch([0, 5, 9]), images.batch(part.selection[[0, 5, 9]]))
        np.testing.assert_array_equal(part.labels, images.labels[part.selection])
        again = pickle.loads(pickle.dumps(part))
        np.testing.assert_array_equal(again.batch([3, 4]), part.batch([3, 4]))
        assert (len(again), again.fingerprint) == (len(part), part.fingerprint)
    assert len({images.fingerprint, train.fingerprint, held_out.fingerprint, images.split(0.2)[0].fingerprint}) == 4
    twice = train.split(0.05)[0]
    assert len(twice) == len(train)  # what a smaller share holds out, the larger has held out already


def test_nothing_held_out_is_everything() -> None:
    images = open_images("digits", 16)
    train, held_out = images.split(0)
    assert (train is images, len(held_out)) == (True, 0)
    with pytest.raises(UsageError, match="from 0 to 0.5, not 0.6"):
        images.split(0.6)
