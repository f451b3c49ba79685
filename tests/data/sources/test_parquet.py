import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from equipoise.data import inspect, open_images
from equipoise.data.sources import find_source, tables
from equipoise.data.sources.parquet import choose, split_of
from equipoise.errors import UsageError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

PIXELS = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 3), dtype=np.uint8)
NAMES = ["cat", "dog", "eel"]


def png(pixels: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def table(
    count: int = 6, first: int = 0, labels: Any = "ints", column: str = "image", noted: bool = True, **more: Any
) -> Any:
    """Lay out images as the datasets library does: structs of bytes and a path, class labels, and notes of both."""
    images = [{"bytes": png(pixels), "path": "a.png"} for pixels in PIXELS[first : first + count]]
    columns: dict[str, Any] = {"id": list(range(count)), column: images}
    features: dict[str, Any] = {column: {"_type": "Image"}, "id": {"_type": "Value", "dtype": "int64"}}
    if labels is not None:
        columns["label"] = [index % 3 for index in range(count)] if isinstance(labels, str) else labels
        features["label"] = {"names": NAMES, "_type": "ClassLabel"}
    made = pa.table(columns | more)
    notes = json.dumps({"info": {"features": features}})
    return made.replace_schema_metadata({"huggingface": notes}) if noted else made


def write(path: Path, data: Any, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(data, path, **options)
        return path
    new = pa.ipc.new_stream if path.suffix in (".arrow", ".arrows") else pa.ipc.new_file
    codec = pa.ipc.IpcWriteOptions(compression=options.get("compression"))
    with new(str(path), data.schema, options=codec) as writer:
        writer.write_table(data, max_chunksize=options.get("row_group_size", 100))
    return path


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.feather"])
@pytest.mark.parametrize("compression", [None, "zstd"])
def test_images_and_labels(tmp_path: Path, name: str, compression: str | None) -> None:
    options = {"compression": compression} if compression else {}
    path = write(tmp_path / name, table(10), row_group_size=4, **options)
    images = open_images(path, 8)
    np.testing.assert_array_equal(images.pixels, PIXELS[:10].transpose(0, 3, 1, 2))
    assert images.labels is not None
    assert images.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    assert images.class_names == tuple(NAMES)
    assert "cat 4, dog 3, eel 3" in str(inspect(path))


@pytest.mark.parametrize(
    ("name", "dictionary"), [("a.parquet", False), ("a.arrow", False), ("a.arrow", True), ("a.feather", True)]
)
def test_views_as_polars_writes_them(tmp_path: Path, name: str, dictionary: bool) -> None:
    labels = pa.array(["dog", "cat", "dog"], pa.string_view())
    images = pa.array([png(pixels) for pixels in PIXELS[:3]], pa.binary_view())
    data = pa.table({"image": images, "label": labels.dictionary_encode() if dictionary else labels})
    opened = open_images(write(tmp_path / name, data), 8)
    np.testing.assert_array_equal(opened.pixels, PIXELS[:3].transpose(0, 3, 1, 2))
    assert opened.labels is not None
    assert opened.labels.tolist() == [1, 0, 1]
    assert opened.class_names == ("cat", "dog")


@pytest.mark.parametrize("column", ["img", "picture", "pixel_values", "jpg", "whatever"])
def test_columns_without_notes(tmp_path: Path, column: str) -> None:
    data = pa.table({"text": ["a"] * 3, column: [png(pixels) for pixels in PIXELS[:3]]})
    images = open_images(write(tmp_path / "a.parquet", data), 8)
    np.testing.assert_array_equal(images.pixels, PIXELS[:3].transpose(0, 3, 1, 2))
    assert images.labels is None


def test_a_note_outweighs_names(tmp_path: Path) -> None:
    data = table(3, column="scan", image=[b"no image"] * 3, target=[0, 0, 0])
    images = open_images(write(tmp_path / "a.parquet", data), 8)
    assert images.labels is not None
    assert images.labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize("order", ["hwc", "chw", "hw"])
@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_nested_lists(tmp_path: Path, order: str, name: str) -> None:
    pixels = {"hwc": PIXELS[:4], "chw": PIXELS[:4].transpose(0, 3, 1, 2), "hw": PIXELS[:4, ..., 0]}[order]
    type_ = pa.list_(pa.list_(pa.list_(pa.uint8()) if order != "hw" else pa.uint8(), 8 if order != "chw" else -1))
    data = pa.table({"image": pa.array(pixels.tolist(), type_)})
    packed = open_images(write(tmp_path / name, data), 8).pixels
    expected = PIXELS[:4].transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(packed, expected if order != "hw" else expected[:, :1])


def test_string_labels(tmp_path: Path) -> None:
    for column in (pa.array(["b", "a", "b"]), pa.array(["b", "a", "b"]).dictionary_encode()):
        data = pa.table({"image": [png(pixels) for pixels in PIXELS[:3]], "class": column})
        images = open_images(write(tmp_path / "a.parquet", data), 8)
        assert images.labels is not None
        assert (images.labels.tolist(), images.class_names) == ([1, 0, 1], ("a", "b"))


def test_unlabelled_tests(tmp_path: Path) -> None:
    assert open_images(write(tmp_path / "a.parquet", table(3, labels=[-1, -1, -1])), 8).labels is None


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 3, 1], "must name one of 3 classes, but are from 0 to 3"),
        ([0, -1, 1], "from -1 to 1"),
        ([0, None, 1], "1 of 3 labels .label. in .* are null"),
    ],
)
def test_labels_that_do_not_fit(tmp_path: Path, labels: list[int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_images(write(tmp_path / "a.parquet", table(3, labels=labels)), 8)


def test_null_and_damaged_images_are_skipped(tmp_path: Path) -> None:
    data = table(3).append_column("no", pa.array([1, 2, 3]))
    broken = [None, {"bytes": None, "path": None}, {"bytes": b"junk", "path": "a.png"}]
    data = data.set_column(1, "image", pa.array(broken, data.schema.field("image").type))
    path = write(tmp_path / "a.parquet", pa.concat_tables([table(3).append_column("no", pa.array([4, 5, 6])), data]))
    found = inspect(path)
    assert found.readable == 3
    assert found.skipped == [
        ("row 3", "no image, null"),
        ("row 4", "no image, null"),
        ("row 5", "not an image of a known kind"),
    ]
    images = open_images(path, 8)
    assert images.labels is not None
    assert images.labels.tolist() == [0, 1, 2]


def test_paths_are_read_inside_of_the_folder_only(tmp_path: Path) -> None:
    (tmp_path / "set" / "images").mkdir(parents=True)
    for name in ("set/images/a.png", "outside.png"):
        (tmp_path / name).write_bytes(png(PIXELS[0]))
    paths = ["images/a.png", "../outside.png", str(tmp_path / "outside.png"), "images/missing.png"]
    data = pa.table({"image": [{"bytes": None, "path": path} for path in paths]})
    data = data.cast(pa.schema({"image": pa.struct({"bytes": pa.binary(), "path": pa.string()})}))
    write(tmp_path / "set" / "a.parquet", data)
    found = inspect(tmp_path / "set")
    assert found.readable == 1
    assert [reason for _, reason in found.skipped] == [
        f"its file ../outside.png lies outside of {tmp_path}/set",
        f"its file {tmp_path}/outside.png lies outside of {tmp_path}/set",
        "No such file or directory",
    ]


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize("place", ["label", "path"])
def test_text_that_is_not_utf_8_is_damage(tmp_path: Path, suffix: str, place: str) -> None:
    ends = pa.array([0, 1, 2], pa.int32()).buffers()[1]
    text = pa.StringArray.from_buffers(2, ends, pa.py_buffer(b"\xffb"))
    images = [png(pixels) if place == "label" else None for pixels in PIXELS[:2]]
    image = pa.StructArray.from_arrays([pa.array(images, pa.binary()), text], ["bytes", "path"])
    data = pa.table({"image": pa.array(images) if place == "label" else image, "label": text})
    write(tmp_path / f"test{suffix}", data)
    with pytest.raises(UsageError, match=rf"test{suffix} is damaged or not what its name says"):
        open_images(f"{tmp_path}#test", 8)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_files_that_are_named_are_read_again_once_they_change(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "a.png").write_bytes(png(PIXELS[0]))
    data = pa.table({"image": [{"bytes": None, "path": path} for path in ("a.png", "b.png")]})
    data = data.cast(pa.schema({"image": pa.struct({"bytes": pa.binary(), "path": pa.string()})}))
    path = write(tmp_path / f"a{suffix}", data)
    first = open_images(path, 8)
    np.testing.assert_array_equal(first.pixels, PIXELS[:1].transpose(0, 3, 1, 2))
    assert open_images(path, 8).path == first.path
    (tmp_path / "a.png").write_bytes(png(PIXELS[1]))
    (tmp_path / "b.png").write_bytes(png(PIXELS[2]))
    np.testing.assert_array_equal(open_images(path, 8).pixels, PIXELS[1:3].transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    "columns",
    [{"text": ["a"]}, {"a": [b"x"], "b": [b"y"]}, {"image": ["a.png"]}, {"image": [[1, 2]]}, {"image": [[[1.5]]]}],
)
def test_no_column_of_images(tmp_path: Path, columns: dict[str, Any]) -> None:
    listed = ", ".join(columns).replace(", ", ".*, ")
    with pytest.raises(UsageError, match=f"no column of images, but {listed} .*: store encoded images"):
        open_images(write(tmp_path / "a.parquet", pa.table(columns)), 8)


def test_shards_read_in_order_whatever_the_row_groups(tmp_path: Path) -> None:
    for shard in range(3):
        data = table(7, first=7 * shard)
        write(tmp_path / "data" / f"train-0000{shard}-of-00003.parquet", data, row_group_size=shard + 1)
    write(tmp_path / "data" / "test-00000-of-00001.parquet", table(2, first=50))
    (tmp_path / "README.md").write_text("a card")
    images = open_images(str(tmp_path), 8)
    np.testing.assert_array_equal(images.pixels, PIXELS[:21].transpose(0, 3, 1, 2))
    test = open_images(f"{tmp_path}#test", 8)
    np.testing.assert_array_equal(test.pixels, PIXELS[50:52].transpose(0, 3, 1, 2))
    with pytest.raises(UsageError, match="no split 'dev', but the splits test, train: choose one"):
        open_images(f"{tmp_path}#dev", 8)


def test_saved_to_disk(tmp_path: Path) -> None:
    write(tmp_path / "train" / "data-00000-of-00001.arrow", table(3))
    write(tmp_path / "train" / "cache-0123.arrow", pa.table({"indices": [0]}))
    write(tmp_path / "validation" / "data-00000-of-00001.arrow", table(2))
    (tmp_path / "dataset_dict.json").write_text("{}")
    assert len(open_images(tmp_path, 8)) == 3
    assert len(open_images(f"{tmp_path}#val", 8)) == 2
    assert len(open_images(tmp_path / "validation", 8)) == 2


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("data/train-00000-of-00004-0123456789abcdef.parquet", "train"),
        ("train.parquet", "train"),
        ("default/train/0000.parquet", "train"),
        ("default/partial-train/0000.parquet", "train"),
        ("cifar10-test.arrow", "test"),
        ("val/data-00000-of-00001.arrow", "validation"),
        ("data/unlabeled-00000-of-00001.parquet", "unlabeled"),
        ("data-00000-of-00001.arrow", ""),
        ("0000.parquet", ""),
    ],
)
def test_splits_by_name(name: str, split: str) -> None:
    assert split_of(name) == split


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["b.parquet", "a.parquet", "a.arrow"], ["a.parquet", "b.parquet"]),
        (["test.parquet"], ["test.parquet"]),
        (["x/train/0.parquet", "default/train/0.parquet"], ["default/train/0.parquet"]),
    ],
)
def test_choice_of_files(names: list[str], chosen: list[str]) -> None:
    assert choose(names, None, "here") == chosen


def test_unclear_choices(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"here has no training images, but the splits test, validation: choose one"):
        choose(["test.parquet", "val.parquet"], None, "here")
    with pytest.raises(UsageError, match=r"several sets, in large, small: give one of these folders, as here/large"):
        choose(["small/train/0.parquet", "large/train/0.parquet"], None, "here")
    (tmp_path / "pictures").mkdir()
    with pytest.raises(UsageError, match="holds no Parquet or Arrow files, so there is no split"):
        find_source(f"{tmp_path}/pictures#test")


def test_a_folder_of_images_may_have_notes(folder: Path) -> None:
    pq.write_table(pa.table({"file_name": ["0.png"]}), folder / "metadata.parquet")
    assert len(open_images(folder, 8)) == 5


def test_files_of_different_columns(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", table(2))
    write(tmp_path / "b.parquet", table(2, column="img"))
    with pytest.raises(UsageError, match="b.parquet has not the same column 'image' as .*a.parquet"):
        open_images(tmp_path, 8)


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.feather"])
def test_damaged_files(tmp_path: Path, name: str) -> None:
    whole = write(tmp_path / name, table(20)).read_bytes()
    for keep in (0, 3, 100, len(whole) // 2):
        (tmp_path / name).write_bytes(whole[:keep])
        with pytest.raises(UsageError, match=f"{name} is damaged or not what its name says"):
            open_images(tmp_path / name, 8)
    (tmp_path / name).write_bytes(b"<html>not found</html>" * 50)
    with pytest.raises(UsageError, match=f"{name} is damaged or not what its name says"):
        open_images(tmp_path / name, 8)


def test_a_damaged_page(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", table(20), compression="snappy")
    data = bytearray(path.read_bytes())
    data[200 : len(data) // 2] = bytes(len(data) // 2 - 200)
    path.write_bytes(data)
    with pytest.raises(UsageError, match="a.parquet is damaged"):
        open_images(path, 8)


def test_no_rows(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no rows"):
        open_images(write(tmp_path / "a.parquet", table(3).slice(0, 0)), 8)


def test_files_that_vanish(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", table(3))
    source = find_source(path)
    path.unlink()
    with pytest.raises(UsageError, match=r"there is no .*a.parquet"), source.contents():
        pass


def test_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.parquet", table(3))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UsageError, match=r"a.parquet needs the package pyarrow.*pip install 'equipoise\[hub\]'"):
        find_source(path)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Note which batches of which row groups are decoded."""
    found: list[tuple[int, int]] = []
    decode: Callable[..., Any] = tables._Decoder.decode

    def noting(self: Any) -> Any:
        found.append((self.group.index, self.next))
        return decode(self)

    monkeypatch.setattr(tables._Decoder, "decode", noting)
    return found


@pytest.mark.parametrize("rows", [300, 70, 3])
def test_each_batch_is_decoded_once_while_threads_read_in_order(
    tmp_path: Path, decoded: list[tuple[int, int]], rows: int
) -> None:
    source = find_source(write(tmp_path / "a.parquet", table(300), row_group_size=rows))
    decoded.clear()  # the first images were looked at
    with source.contents() as contents, ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(contents.read, range(300)))
    assert stored == [png(pixels) for pixels in PIXELS]
    assert len(decoded) == len(set(decoded)) > 1


def test_any_order_gives_the_same_in_bounded_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", table(300), row_group_size=150)
    opened = tables.open_tables([path])
    groups = [tables._Group(path, index, 150, 1) for index in (0, 1)]
    column = tables._SequentialColumn(groups, "image", max_cached_bytes=40_000)
    assert opened.counts == [300]
    for row in np.random.default_rng(0).integers(0, 300, 100).tolist():
        assert column.value(row).as_py()["bytes"] == png(PIXELS[row])
        assert column.cached_bytes == sum(values.nbytes for values in column.cached.values()) <= 40_000


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_labels_of_parts_may_differ_in_type(tmp_path: Path, suffix: str) -> None:
    images = [png(pixels) for pixels in PIXELS[:4]]
    for number, kind in enumerate((pa.int64(), pa.int32())):
        part = {"image": images[2 * number : 2 * number + 2], "label": pa.array([number, 2], kind)}
        write(tmp_path / f"{number}{suffix}", pa.table(part))
    labels = open_images(tmp_path, 8).labels
    assert labels is not None
    assert labels.tolist() == [0, 2, 1, 2]


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_labels_that_a_part_lacks_or_has_as_words_are_refused(tmp_path: Path, suffix: str) -> None:
    images = [png(pixels) for pixels in PIXELS[:2]]
    write(tmp_path / f"0{suffix}", pa.table({"image": images, "label": [0, 1]}))
    write(tmp_path / f"1{suffix}", pa.table({"image": images}))
    with pytest.raises(UsageError, match="2 of 4 labels 'label' .* are null"):
        open_images(tmp_path, 8)
    write(tmp_path / f"1{suffix}", pa.table({"image": images, "label": ["a", "b"]}))
    with pytest.raises(UsageError, match="the column 'label' is of different kinds in some files"):
        open_images(tmp_path, 8)


def test_columns_of_one_name_are_left_alone(tmp_path: Path) -> None:
    columns = [pa.array([png(pixels) for pixels in PIXELS[:2]]), pa.array([0, 1]), pa.array([1, 0])]
    doubled = pa.Table.from_arrays(columns, names=["image", "label", "label"])
    assert open_images(write(tmp_path / "a.parquet", doubled), 8).labels is None


@pytest.mark.parametrize("type_", ["float64", "list"])
def test_a_usual_column_that_cannot_be_labels_is_noted(tmp_path: Path, type_: str) -> None:
    values = pa.array([[0.5]] * 6) if type_ == "list" else pa.array([0.0, 1.0] * 3)
    images = open_images(write(tmp_path / "a.parquet", table(labels=values, noted=False)), 8)
    assert images.labels is None
    (note,) = (note for note in images.notes if "'label'" in note)
    assert "not used as labels" in note
    assert "double" in note


def test_unsigned_labels_are_numbers_as_others(tmp_path: Path) -> None:
    labels = pa.array([0, 1] * 3, pa.uint64())
    images = open_images(write(tmp_path / "a.parquet", table(labels=labels, noted=False)), 8)
    assert images.labels is not None
    assert images.labels.tolist() == [0, 1] * 3
    labels = pa.array([0, 2**63 + 1] * 3, pa.uint64())
    with pytest.raises(UsageError, match=r"below 2\^63, but reach 9223372036854775809"):
        open_images(write(tmp_path / "b.parquet", table(labels=labels, noted=False)), 8)


def test_labels_that_do_not_fit_are_no_matter_where_others_are_chosen(tmp_path: Path) -> None:
    data = table(3, labels=[0, None, 1]).append_column("kind", pa.array(["a", "b", "a"]))
    labels = open_images(write(tmp_path / "a.parquet", data), 8, label="kind").labels
    assert labels is not None
    assert labels.tolist() == [0, 1, 0]


def test_a_table_about_images_beside_it_is_no_table_of_images(tmp_path: Path) -> None:
    """As img2dataset leaves one beside each of its folders."""
    for number in range(2):
        (tmp_path / f"0000{number}").mkdir()
        (tmp_path / f"0000{number}/{number}.png").write_bytes(png(PIXELS[number]))
        write(tmp_path / f"0000{number}.parquet", pa.table({"url": ["http://a/b"], "caption": ["a cat"]}))
    assert len(open_images(tmp_path, 8)) == 2
