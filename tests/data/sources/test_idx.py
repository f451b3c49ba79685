import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from equipoise.data import open_images
from equipoise.data.sources import find_source
from equipoise.errors import UsageError

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 28, 28), dtype=np.uint8)
LABELS = np.array([5, 0, 4, 1, 9, 2], np.uint8)


def write(path: Path, values: np.ndarray, cut: int = 0) -> Path:
    data = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()
    data = data[: len(data) - cut]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("labels_suffix", ["", ".gz"])
@pytest.mark.parametrize("style", ["-idx{}", ".idx{}"])
def test_images_and_the_labels_beside_them(tmp_path: Path, suffix: str, labels_suffix: str, style: str) -> None:
    path = write(tmp_path / f"t10k-images{style.format(3)}-ubyte{suffix}", IMAGES)
    write(tmp_path / f"t10k-labels{style.format(1)}-ubyte{labels_suffix}", LABELS)
    images = open_images(path, 28)
    np.testing.assert_array_equal(images.pixels[:, 0], IMAGES)
    assert images.labels is not None
    assert images.class_names is not None
    assert [int(images.class_names[label]) for label in images.labels] == LABELS.tolist()
    padded = open_images(path, 32)  # as the bundled digits
    np.testing.assert_array_equal(padded.pixels[:, 0, 2:30, 2:30], IMAGES)
    assert padded.pixels.sum(dtype=int) == IMAGES.sum(dtype=int)


def test_a_folder_stands_for_its_training_images(tmp_path: Path) -> None:
    for name, values in [("train", IMAGES), ("t10k", IMAGES[:2])]:
        write(tmp_path / f"{name}-images-idx3-ubyte.gz", values)
    images = open_images(tmp_path, 28)
    assert len(images) == 6
    assert images.labels is None
    write(tmp_path / "train-labels-idx1-ubyte.gz", LABELS)
    assert open_images(tmp_path, 28).labels is not None  # the cache knows the difference


def test_any_name_will_do(tmp_path: Path) -> None:
    assert len(open_images(write(tmp_path / "digits.bin2", IMAGES), 28)) == 6


def test_colour(tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 256, (6, 3, 8, 8), dtype=np.uint8)
    np.testing.assert_array_equal(open_images(write(tmp_path / "a", colour), 8).pixels, colour)


@pytest.mark.parametrize("name", ["images-idx3-ubyte", "images-idx3-ubyte.gz"])
@pytest.mark.parametrize("cut", [1, 28 * 28 * 6, 28 * 28 * 6 + 9, -1])
def test_more_or_fewer_values_than_promised(tmp_path: Path, name: str, cut: int) -> None:
    path = write(tmp_path / name, IMAGES, max(cut, 0))
    if cut < 0:
        data = path.read_bytes()
        path.write_bytes(gzip.compress(gzip.decompress(data) + b"1") if path.suffix else data + b"1")
    with pytest.raises(UsageError, match=f"{name} is damaged or not what its name says"):
        open_images(path, 28)


def test_truncated_gzip(tmp_path: Path) -> None:
    path = write(tmp_path / "images-idx3-ubyte.gz", IMAGES)
    data = path.read_bytes()
    for keep in (5, 60, 1000, len(data) - 1):
        path.write_bytes(data[:keep])
        with pytest.raises(UsageError, match="is damaged"):
            open_images(path, 28)


def test_absurd_shapes_are_not_allocated(tmp_path: Path) -> None:
    head = struct.pack(">BBBB3I", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1)
    for name, data in [("a", head), ("a.gz", gzip.compress(head))]:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UsageError, match="too large to be unpacked into memory"):
            open_images(tmp_path / name, 28)


def test_labels_are_not_images(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds labels or single values: give the file of the images"):
        find_source(write(tmp_path / "train-labels-idx1-ubyte", LABELS))


def test_labels_of_another_set(tmp_path: Path) -> None:
    path = write(tmp_path / "train-images-idx3-ubyte", IMAGES)
    write(tmp_path / "train-labels-idx1-ubyte", LABELS[:-1])
    with pytest.raises(UsageError, match="must be 6 integers"):
        open_images(path, 28)


@pytest.mark.parametrize("content", [b"", b"\0\0\x08", b"5, 0, 4"])
def test_labels_that_are_none_are_told(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "train-images-idx3-ubyte.gz", IMAGES)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(content)
    images = open_images(path, 28)
    assert images.labels is None
    assert images.notes == ["not used, as it holds no labels in the form of IDX: train-labels-idx1-ubyte"]


def test_a_file_of_the_same_name_unpacked_is_none_of_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "digits.gz", IMAGES)
    write(tmp_path / "digits", IMAGES)
    assert find_source(path).notes == ()
