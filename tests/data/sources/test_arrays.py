import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equipoise.data import open_images
from equipoise.data.packed.rows import Rows
from equipoise.data.sources import arrays
from equipoise.errors import UsageError

GRAY = np.random.default_rng(0).integers(0, 256, (5, 8, 8), dtype=np.uint8)
RGB = np.random.default_rng(1).integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)


def npy(tmp_path: Path, values: Any) -> Path:
    np.save(tmp_path / "a.npy", values)
    return tmp_path / "a.npy"


def npz(tmp_path: Path, compressed: bool = False, **values: Any) -> Path:
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", **values)
    return tmp_path / "a.npz"


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    ("given", "packed"),
    [
        (GRAY, GRAY[:, None]),
        (GRAY[..., None], GRAY[:, None]),
        (GRAY[:, None], GRAY[:, None]),
        (RGB, RGB),
        (RGB.transpose(0, 2, 3, 1), RGB),
    ],
)
def test_every_layout_is_kept_bit_for_bit(tmp_path: Path, given: np.ndarray, packed: np.ndarray, order: Any) -> None:
    np.testing.assert_array_equal(open_images(npy(tmp_path, np.asarray(given, order=order)), 8).pixels, packed)


def test_a_fourth_channel_is_alpha(tmp_path: Path) -> None:
    transparent = np.concatenate([RGB, np.zeros_like(RGB[:, :1])], axis=1)
    assert (open_images(npy(tmp_path, transparent), 8).pixels == 255).all()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("low", [0, -1])
def test_floats_in_either_range_become_the_bytes_they_were(tmp_path: Path, dtype: str, low: int) -> None:
    values = GRAY / 255 if low == 0 else GRAY / 127.5 - 1
    np.testing.assert_array_equal(open_images(npy(tmp_path, values.astype(dtype)), 8).pixels[:, 0], GRAY)


@pytest.mark.parametrize("key", ["images", "x", "x_train", "arr_0", "anything"])
@pytest.mark.parametrize("compressed", [False, True])
def test_npz_keys(tmp_path: Path, key: str, compressed: bool) -> None:
    path = npz(tmp_path, compressed, **{key: GRAY, "other": np.zeros(3), "y": np.arange(5, dtype=np.uint8)})
    images = open_images(path, 8)
    np.testing.assert_array_equal(images.pixels[:, 0], GRAY)
    assert images.labels is not None
    assert (images.labels.dtype, images.labels.tolist()) == (np.int64, [0, 1, 2, 3, 4])


def test_npz_without_labels(tmp_path: Path) -> None:
    assert open_images(npz(tmp_path, images=GRAY), 8).labels is None


def test_uncompressed_members_are_mapped_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "MAX_LOADED_BYTES", 100)
    np.testing.assert_array_equal(open_images(npz(tmp_path, images=GRAY), 8).pixels[:, 0], GRAY)
    with pytest.raises(UsageError, match=r"unpacks to 448 bytes: save it with np\.savez, uncompressed"):
        open_images(npz(tmp_path, True, images=GRAY), 8)


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((0, 8, 8), np.uint8),
        np.zeros((8, 8), np.uint8),
        np.zeros((30, 20, 3), np.uint8),
        np.zeros((2, 5, 8, 8), np.uint8),
        np.zeros((2, 3, 8, 8, 8), np.uint8),
        np.zeros((), np.uint8),
    ],
)
def test_wrong_shapes(tmp_path: Path, values: np.ndarray) -> None:
    with pytest.raises(UsageError, match=r"a\.npy has the shape .*: store \(N, H, W\)"):
        open_images(npy(tmp_path, values), 8)


@pytest.mark.parametrize("dtype", ["int64", "uint16", "bool", "complex64", "U3", "datetime64[s]"])
def test_wrong_types(tmp_path: Path, dtype: str) -> None:
    with pytest.raises(UsageError, match=rf"a\.npy holds .*{dtype[:3].replace('U3', '')}.*: store .* as uint8"):
        open_images(npy(tmp_path, np.zeros((2, 8, 8), dtype)), 8)


@pytest.mark.parametrize("value", [255.0, -1.5, float("nan"), float("inf")])
def test_wrong_ranges(tmp_path: Path, value: float) -> None:
    values = np.zeros((2, 8, 8))
    values[1, 2, 3] = value
    with pytest.raises(UsageError, match=r"a\.npy holds floats from .* to .*: store"):
        open_images(npy(tmp_path, values), 8)


@pytest.mark.parametrize("labels", [np.zeros(4, int), np.zeros(5), np.zeros((5, 10), int)])
def test_wrong_labels(tmp_path: Path, labels: np.ndarray) -> None:
    with pytest.raises(UsageError, match=r"the labels in .*a\.npz must be 5 integers"):
        open_images(npz(tmp_path, images=GRAY, labels=labels), 8)


def test_labels_that_do_not_fit_are_no_matter_where_others_are_chosen(tmp_path: Path) -> None:
    data = npz(tmp_path, images=GRAY, labels=np.zeros(5), kind=np.arange(5))
    labels = open_images(data, 8, label="kind").labels
    assert labels is not None
    assert labels.tolist() == [0, 1, 2, 3, 4]


def test_labels_may_be_truth_values(tmp_path: Path) -> None:
    images = open_images(npz(tmp_path, images=GRAY, labels=np.arange(5) > 2), 8)
    assert images.labels is not None
    assert (images.labels.tolist(), images.class_names) == ([0, 0, 0, 1, 1], ("not labels", "labels"))


@pytest.mark.parametrize("compressed", [False, True])
def test_a_single_number_is_no_image(tmp_path: Path, compressed: bool) -> None:
    with pytest.raises(UsageError, match="the array 'images' in .* is a single number"):
        open_images(npz(tmp_path, compressed, images=np.float32(3)), 8)


def test_the_range_of_large_floats_is_found_in_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 4 * 100)  # of four images
    read: list[int] = []
    rows = Rows.__getitem__
    monkeypatch.setattr(Rows, "__getitem__", lambda self, key: read.append(len(found := rows(self, key))) or found)
    open_images(npy(tmp_path, np.linspace(0, 1, 10 * 25, dtype=np.float32).reshape(10, 5, 5)), 5)
    assert read[:3] == [4, 4, 2]


def test_npz_without_an_image_array(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no array named images,.* but a \(3,\), b \(2, 2\): save the images"):
        open_images(npz(tmp_path, a=np.zeros(3), b=np.zeros((2, 2))), 8)
    with pytest.raises(UsageError, match="but nothing"):
        open_images(npz(tmp_path), 8)


class Bomb:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (Path("/tmp/equipoise-was-here"),)  # type: ignore[return-value]


@pytest.mark.parametrize("kind", ["npy", "npz", "compressed"])
def test_pickles_are_never_loaded(tmp_path: Path, kind: str) -> None:
    values = np.array([Bomb()] * 5, dtype=object)
    path = npy(tmp_path, values) if kind == "npy" else npz(tmp_path, kind == "compressed", images=values)
    with pytest.raises(UsageError, match="pickled objects, which are never loaded"):
        open_images(path, 8)
    assert not Path("/tmp/equipoise-was-here").exists()


@pytest.mark.parametrize("kind", ["npy", "npz", "compressed"])
@pytest.mark.parametrize("keep", [0, 5, 60, 0.5, 0.95])
def test_truncated_arrays(tmp_path: Path, cache: Path, kind: str, keep: float) -> None:
    path = npy(tmp_path, GRAY) if kind == "npy" else npz(tmp_path, kind == "compressed", images=GRAY)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep >= 1 else keep * len(data))])
    with pytest.raises(UsageError, match="is damaged or not what its name says"):
        open_images(path, 8)
    assert not list(cache.rglob("*.npy"))


@pytest.mark.parametrize("compressed", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("count", [6, 10**9, 10**18])
def test_an_array_shorter_than_its_header_says(tmp_path: Path, compressed: int, count: int) -> None:
    header = repr({"descr": "|u1", "fortran_order": False, "shape": (count, 8, 8)}).encode().ljust(118)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", compressed) as archive:
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + header + GRAY.tobytes())
    with pytest.raises(UsageError, match=r"a\.npz is damaged .*: it is shorter than its shape"):
        open_images(tmp_path / "a.npz", 8)


def test_a_damaged_header_is_refused_without_a_warning(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 8, 8), np.uint8))
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content.replace(b"'|u1'", rb"'\p1'"))
    with pytest.raises(UsageError, match="header is damaged"):
        open_images(tmp_path / "a.npy", 8)
    assert list(recwarn) == []


@pytest.mark.parametrize("mask", [np.ones(4, np.bool_), np.arange(5) % 2, np.ones((5, 1))])
def test_a_partition_that_does_not_fit_is_refused(tmp_path: Path, mask: np.ndarray) -> None:
    with pytest.raises(UsageError, match=r"'held_out' in .* must be 5 truth values, one an image, not .*: mend or"):
        open_images(npz(tmp_path, images=GRAY, held_out=mask), 8)


def test_an_array_of_images_named_held_out_is_no_partition(tmp_path: Path) -> None:
    assert open_images(npz(tmp_path, images=GRAY, held_out=GRAY), 8).partition is None
