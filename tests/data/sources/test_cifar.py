import os
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equipoise.data import open_images
from equipoise.errors import UsageError

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 3, 32, 32), dtype=np.uint8)
LABELS = [3, 0, 9, 1, 1, 2, 8]
NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def python2(value: Any) -> bytes:
    """Pickle with the opcodes of Python 2 and numpy 1, as the published batches are, memo included."""

    def opcodes(value: Any) -> bytes:
        match value:
            case bytes() if len(value) < 256:
                return b"U" + bytes([len(value)]) + value + b"q\x01"
            case bytes():
                return b"T" + struct.pack("<i", len(value)) + value
            case int():
                return b"J" + struct.pack("<i", value)
            case list():
                return b"](" + b"".join(opcodes(item) for item in value) + b"e"
            case dict():
                return b"}(" + b"".join(opcodes(key) + opcodes(item) for key, item in value.items()) + b"u"
            case np.ndarray():
                empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
                dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
                shape = b"(" + b"".join(opcodes(side) for side in value.shape) + b"t"
                return empty + b"(K\x01" + shape + dtype + b"\x89" + opcodes(value.tobytes()) + b"tb"
        raise TypeError(value)

    return b"\x80\x02" + opcodes(value) + b"."


def batch(start: int, stop: int) -> dict[bytes, Any]:
    data = IMAGES[start:stop].reshape(stop - start, -1)
    return {b"batch_label": b"training batch", b"labels": LABELS[start:stop], b"data": data, b"filenames": [b"a.png"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "cifar-10-batches-py"
    path.mkdir()
    (path / "data_batch_1").write_bytes(python2(batch(0, 3)))
    (path / "data_batch_2").write_bytes(python2(batch(3, 6)))
    (path / "test_batch").write_bytes(python2(batch(6, 7)))
    (path / "batches.meta").write_bytes(python2({b"label_names": [name.encode() for name in NAMES]}))
    (path / "readme.html").write_text("<html>")
    return path


def test_a_folder_of_training_batches(folder: Path) -> None:
    images = open_images(folder, 32)
    np.testing.assert_array_equal(images.pixels, IMAGES[:6])
    assert images.labels is not None
    assert images.labels.tolist() == LABELS[:6]
    assert images.class_names == tuple(NAMES)


def test_one_batch(folder: Path) -> None:
    images = open_images(folder / "test_batch", 32)
    np.testing.assert_array_equal(images.pixels, IMAGES[6:])
    assert images.class_names == tuple(NAMES)


def test_the_archive_as_it_is_downloaded(folder: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as tar:
        tar.add(folder, folder.name)
    images = open_images(tmp_path / "cifar-10-python.tar.gz", 32)
    assert images.fingerprint == open_images(folder, 32).fingerprint
    assert images.class_names == tuple(NAMES)


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("order", ["C", "F"])
def test_batches_pickled_anew(tmp_path: Path, protocol: int, order: Any) -> None:
    values = {"data": np.asarray(IMAGES.reshape(7, -1), order=order), "labels": LABELS}
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(values, protocol))
    np.testing.assert_array_equal(open_images(tmp_path / "data_batch_1", 32).pixels, IMAGES)


def test_binary_batches(tmp_path: Path) -> None:
    for index, (start, stop) in enumerate([(0, 3), (3, 7)], 1):
        records = [bytes([label]) + image.tobytes() for label, image in zip(LABELS, IMAGES, strict=True)]
        (tmp_path / f"data_batch_{index}.bin").write_bytes(b"".join(records[start:stop]))
    (tmp_path / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    images = open_images(tmp_path, 32)
    np.testing.assert_array_equal(images.pixels, IMAGES)
    assert images.labels is not None
    assert images.labels.tolist() == LABELS
    assert images.class_names == tuple(NAMES)
    assert len(open_images(tmp_path / "data_batch_2.bin", 32)) == 4


def test_cifar_100_has_fine_labels(tmp_path: Path) -> None:
    fine = [99, 98, 1, 2, 3, 4, 5]
    values = {b"data": IMAGES.reshape(7, -1), b"coarse_labels": LABELS, b"fine_labels": fine}
    (tmp_path / "py").mkdir()
    (tmp_path / "py" / "train").write_bytes(python2(values))
    (tmp_path / "py" / "meta").write_bytes(python2({b"fine_label_names": [b"c%d" % index for index in range(100)]}))
    images = open_images(tmp_path / "py", 32)
    assert images.labels is not None
    assert images.labels.tolist() == fine
    assert images.class_names is not None
    assert images.class_names[99] == "c99"
    (tmp_path / "bin").mkdir()
    records = [bytes([c, f]) + image.tobytes() for c, f, image in zip(LABELS, fine, IMAGES, strict=True)]
    (tmp_path / "bin" / "train.bin").write_bytes(b"".join(records))
    (tmp_path / "bin" / "fine_label_names.txt").write_text("\n".join(f"c{index}" for index in range(100)))
    assert open_images(tmp_path / "bin", 32).fingerprint == images.fingerprint


def test_cifar_100_has_coarse_labels_to_choose(tmp_path: Path) -> None:
    coarse = [0, 1, 2, 0, 1, 2, 0]
    values = {b"data": IMAGES.reshape(7, -1), b"coarse_labels": coarse, b"fine_labels": list(range(7))}
    names = {b"fine_label_names": [b"f%d" % index for index in range(7)], b"coarse_label_names": [b"x", b"y", b"z"]}
    (tmp_path / "train").write_bytes(python2(values))
    (tmp_path / "meta").write_bytes(python2(names))
    (tmp_path / "train.bin").write_bytes(
        b"".join(bytes([c, f]) + image.tobytes() for f, (c, image) in enumerate(zip(coarse, IMAGES, strict=True)))
    )
    for data in (tmp_path / "train", tmp_path / "train.bin"):
        images = open_images(data, 32, label="coarse_labels")
        assert images.labels is not None
        assert images.labels.tolist() == coarse
        assert images.class_names == ("x", "y", "z")
        assert (
            open_images(data, 32).notes[0] == "the labels are those of 'fine_labels'; --label can choose coarse_labels"
        )


class Attack:
    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("function", [os.system, eval, exec, getattr, np.load, np.fromfile])
def test_a_pickle_runs_nothing(tmp_path: Path, function: Any) -> None:
    mark = tmp_path / "mark"
    for value in (Attack(function, f"touch {mark}"), {"data": Attack(function, f"open({str(mark)!r}, 'w')")}):
        (tmp_path / "data_batch_1").write_bytes(pickle.dumps(value))
        with pytest.raises(UsageError, match=rf"asks for .*\.{function.__name__}, which no batch needs"):
            open_images(tmp_path / "data_batch_1", 32)
    assert not mark.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02cnumpy\ndtype\n}U\x08__init__NsbN.",  # write to what stands for a name
        b"\x80\x02cnumpy\ndtype\n(N}U\x04nameNstb.",
        b"\x80\x02Nr\xff\xff\xff\xff.",  # a memo of 64 GB
        b"\x80\x02\x8a\xff",
        b"\x80\x02N.",
        b"\x80\x02](K\x01e.",
        b"\x80\x02P1\n.",
        python2({b"data": 1, b"labels": [1]}),
        python2({b"labels": [1]}),
        python2({b"data": IMAGES, b"labels": LABELS}),
        python2({b"data": IMAGES.reshape(7, -1), b"labels": LABELS[:-1]}),
        python2({b"data": IMAGES.reshape(7, -1)}),
        python2({b"data": IMAGES.reshape(7, -1), b"labels": [b"a"] * 7}),
        pickle.dumps({"data": IMAGES.reshape(7, -1).astype(np.int16), "labels": LABELS}),
        pickle.dumps({"data": np.array([Attack(print)] * 7), "labels": LABELS}),
        python2(batch(0, 7))[:-3000],
        b"",
    ],
)
def test_what_is_no_batch_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "data_batch_1").write_bytes(data)
    with pytest.raises(UsageError, match="data_batch_1"):
        open_images(tmp_path / "data_batch_1", 32)


def test_a_file_of_absurd_size_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1.bin").touch()
    os.truncate(tmp_path / "data_batch_1.bin", 2**36)
    with pytest.raises(UsageError, match="more than 1,073,741,824 bytes"):
        open_images(tmp_path, 32)


def test_labels_stay_with_their_batch(folder: Path) -> None:
    for name, labels in [("data_batch_1", LABELS[:2]), ("data_batch_2", LABELS[2:6])]:
        (folder / name).write_bytes(python2({b"data": IMAGES[:3].reshape(3, -1), b"labels": labels}))
    with pytest.raises(UsageError, match="data_batch_1 is not a batch"):
        open_images(folder, 32)


def test_wrong_binary_batches(tmp_path: Path) -> None:
    for data in (b"", bytes(3072), bytes(3074)):
        (tmp_path / "data_batch_1.bin").write_bytes(data)
        with pytest.raises(UsageError, match="no whole number of records of 3073 bytes"):
            open_images(tmp_path, 32)
    (tmp_path / "data_batch_1.bin").write_bytes(bytes([200]) + bytes(3072))
    (tmp_path / "batches.meta.txt").write_text("\n".join(NAMES))
    with pytest.raises(UsageError, match="must name one of 10 classes, but are from 200 to 200"):
        open_images(tmp_path, 32)


def test_other_archives(folder: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.add(folder / "readme.html", "a.png")
    with pytest.raises(UsageError, match=r"a\.tar\.gz is compressed .*: run gunzip on it first"):
        open_images(tmp_path / "a.tar.gz", 32)
    with tarfile.open(tmp_path / "b.tgz", "w:gz") as tar:
        tar.add(folder, folder.name)
    data = (tmp_path / "b.tgz").read_bytes()
    for keep in (0, 10, len(data) // 2):
        (tmp_path / "b.tgz").write_bytes(data[:keep])
        with pytest.raises(UsageError, match=r"b\.tgz"):
            open_images(tmp_path / "b.tgz", 32)


def test_a_folder_of_images_may_hold_a_folder_named_train(save: Any) -> None:
    assert len(open_images(save("train/a.png").parents[1], 8)) == 1


def test_batches_of_both_kinds_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1.bin").write_bytes(bytes(3073))
    (tmp_path / "train.bin").write_bytes(bytes(3074))
    with pytest.raises(UsageError, match="batches of CIFAR-10 and of CIFAR-100"):
        open_images(tmp_path, 32)
