import os
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from equipoise.data import Images, formats, inspect, open_images
from equipoise.data.decode import prepare
from equipoise.data.framing import parse_framing
from equipoise.data.sources.annotations import folder_labels
from equipoise.errors import UsageError

Saver = Callable[..., Path]


def zipped(folder: Path, path: Path, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


def equal(one: Images, other: Images) -> bool:
    return one.fingerprint == other.fingerprint and bool((one.pixels == other.pixels).all())


def test_a_folder_of_mixed_images_is_sorted_by_name_at_any_depth(save: Saver) -> None:
    for index, name in enumerate(["b.png", "a/z.JPG", "c.gif", "a/deep/er/x.webp"]):
        save(name, size=(30 + index, 20), seed=index)
    folder = save("gray.png", mode="L").parent
    images = open_images(folder, 16)
    assert images.shape == (3, 16, 16)
    names = ["a/deep/er/x.webp", "a/z.JPG", "b.png", "c.gif", "gray.png"]
    for image, name in zip(images.pixels, names, strict=True):
        alone = prepare((folder / name).read_bytes, parse_framing(16, 3, "crop", "white"))
        np.testing.assert_array_equal(image, alone.pixels)
    assert images.skipped == []
    assert images.labels is None


def test_the_order_in_the_array_is_that_of_the_names(tmp_path: Path) -> None:
    for name, gray in [("b/1.png", 30), ("a/2.png", 10), ("c.png", 40), ("a/b/1.png", 20)]:
        (tmp_path / "x" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), gray).save(tmp_path / "x" / name)
    assert open_images(tmp_path / "x", 4).pixels[:, 0, 0, 0].tolist() == [10, 20, 30, 40]


def test_other_and_hidden_files_are_left_out(folder: Path, save: Saver) -> None:
    before = open_images(folder, 8)
    for name in (".hidden.png", ".git/a.png", "__MACOSX/._a.png", "@eaDir/.x/a.png"):
        save(name)
    (folder / "readme.txt").write_text("no image")
    (folder / "labels.csv").write_text("0,1")
    assert equal(open_images(folder, 8), before)


def test_what_is_left_out_is_counted_and_named(folder: Path, tmp_path: Path) -> None:
    (folder / "deep").mkdir()
    for name in ("1.mp4", "2.MP4", "deep/3.mp4", "readme.txt", "LICENSE", ".hidden", "a.b", "c.d", "e.f"):
        (folder / name).write_text("no image")
    note = (
        "left out: 8 files of no known kind of image: 3 .mp4 (such as 1.mp4), 1 without a suffix (such as LICENSE), "
        "1 .b (such as a.b), 1 .d (such as c.d), 1 .f (such as e.f), and other kinds"
    )
    for data in (folder, zipped(folder, tmp_path / "a.zip")):
        assert inspect(data).notes == open_images(data, 8).notes == [note]
        assert f"  note      {note}" in str(inspect(data))
    (folder / "5.txt").write_text("another")  # needs no new packing, and is told all the same
    assert open_images(folder, 8).notes[0].startswith("left out: 9 files")


def test_images_are_known_by_their_content_where_they_have_no_suffix(folder: Path, tmp_path: Path) -> None:
    expected = open_images(folder, 8)
    for file in list(folder.iterdir()):
        file.rename(file.with_suffix(""))
    (folder / "README").write_text("no image")
    for data in (folder, zipped(folder, tmp_path / "a.zip")):
        assert equal(open_images(data, 8), expected)
    assert inspect(folder).notes == ["left out: 1 file of no known kind of image: 1 without a suffix (such as README)"]


HEIC, JXL = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", b"\xff\x0a" + bytes(30)


@pytest.fixture
def no_plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if no plug-in were installed."""
    cached = (formats.installed_plugins, formats.readable_suffixes, formats.readable_formats)
    with monkeypatch.context() as patch:
        patch.setattr("equipoise.data.formats.find_spec", lambda name: None)
        for function in cached:
            function.cache_clear()
        yield
    for function in cached:
        function.cache_clear()


@pytest.mark.usefixtures("no_plugins")
def test_what_a_plug_in_would_read_is_told(folder: Path, tmp_path: Path) -> None:
    files = {"a.heic": HEIC, "b.HEIC": HEIC, "c.heif": HEIC, "d.jxl": JXL, "e": HEIC, "f.jpg": HEIC, "g.png": JXL}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    for data in (folder, zipped(folder, tmp_path / "a.zip")):
        images = open_images(data, 8)
        assert images.notes == [
            "left out: 3 HEIF images, read after `pip install pillow-heif`",
            "left out: 1 JXL image, read after `pip install pillow-jxl-plugin`",
            "left out: 1 file of no known kind of image: 1 without a suffix (such as e)",
        ]
        assert images.skipped == [
            ("f.jpg", "HEIF, which is read after `pip install pillow-heif`"),
            ("g.png", "JXL, which is read after `pip install pillow-jxl-plugin`"),
        ]
    for name in ("0.png", "1.png", "2.png", "3.png", "4.png", "f.jpg", "g.png"):
        (folder / name).unlink()
    with pytest.raises(UsageError, match=r"holds no images \(left out: 3 HEIF images, .*\): give it files that end in"):
        open_images(folder, 8)


@pytest.mark.parametrize(("kind", "module"), [("HEIF", "pillow_heif"), ("JXL", "pillow_jxl")])
def test_with_a_plug_in_more_is_read(folder: Path, save: Saver, tmp_path: Path, kind: str, module: str) -> None:
    pytest.importorskip(module)
    formats.readable_formats()
    names = {"HEIF": "x.heic", "JXL": "x.jxl"}
    before = open_images(folder, 8).pixels
    with Image.open(folder / "0.png") as image:
        image.save(folder / names[kind], kind, quality=95)
        image.save(folder / "y", kind, quality=95)
    for data in (folder, zipped(folder, tmp_path / "a.zip")):
        images = open_images(data, 8)
        assert (len(images), images.skipped, images.notes) == (7, [], [])
        assert np.abs(images.pixels[5:].astype(int) - before[0]).mean() < 8


def test_unreadable_images_are_skipped_and_named(folder: Path) -> None:
    (folder / "1a.png").write_bytes(b"")
    (folder / "2a.jpg").write_text("<html>404</html>")
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:200])
    (folder / "9.png").symlink_to(folder / "nowhere.png")
    images = open_images(folder, 8)
    assert len(images) == 4
    assert [name for name, _ in images.skipped] == ["1a.png", "2a.jpg", "3.png", "9.png"]
    assert dict(images.skipped)["2a.jpg"] == "not an image of a known kind"
    assert "truncated" in dict(images.skipped)["3.png"]
    assert dict(images.skipped)["9.png"] == "No such file or directory"


def test_class_folders_give_labels_and_skipped_images_take_theirs_along(save: Saver) -> None:
    for name in ("dog/1.png", "cat/1.png", "cat/2.png", "eel/1.png"):
        folder = save(name).parent.parent
    (folder / "cat/1.png").write_text("broken")
    images = open_images(folder, 8)
    assert images.class_names == ("cat", "dog", "eel")
    assert images.labels is not None
    assert images.labels.dtype == np.int64
    assert images.labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["a/1", "b/2", "a/3"], [0, 1, 0]),
        (["x/a/1", "x/b/2"], [0, 1]),
        (["a/1", "b/2", "3"], None),
        (["a/1", "b/c/2"], None),
        (["a/1", "a/2"], None),
        (["x/a/1", "y/a/2"], None),
        (["x/a/1", "y/b/2"], None),
        (["1", "2"], None),
    ],
)
def test_labels_need_every_image_one_folder_deep(names: list[str], labels: list[int] | None) -> None:
    found = folder_labels(names).labels
    assert (None if found is None else found.tolist()) == labels


def test_links_are_followed_once(folder: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "faces").symlink_to(folder)
    (folder / "loop").symlink_to(linked)
    assert len(open_images(linked, 8)) == 5


def test_a_link_to_itself_costs_nothing_but_itself(folder: Path) -> None:
    for name in ("loop.png", "folder"):
        (folder / name).symlink_to(folder / name)
    images = open_images(folder, 8)
    assert len(images) == 5
    assert images.skipped == [("loop.png", "Too many levels of symbolic links")]


def test_odd_names_are_read_and_shown_escaped(save: Saver) -> None:
    folder = save("日本.png").parent
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\x1b[31m.png")).write_bytes(b"")
    images = open_images(folder, 8)
    assert len(images) == 1
    assert images.skipped == [("\\xff\\x1b[31m.png", "not an image of a known kind")]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_is_its_folder(folder: Path, save: Saver, tmp_path: Path, method: int) -> None:
    save("deep/er/5.jpg")
    (folder / "notes.txt").write_text("no image")
    assert equal(open_images(zipped(folder, tmp_path / "a.ZIP", method), 8), open_images(folder, 8))


def test_a_zip_of_class_folders_has_labels(save: Saver, tmp_path: Path) -> None:
    for name in ("all/dog/1.png", "all/cat/1.png"):
        folder = save(name).parents[2]
    images = open_images(zipped(folder, tmp_path / "a.zip"), 8)
    assert images.class_names == ("cat", "dog")


def test_zip_entries_stay_in_the_zip(folder: Path, tmp_path: Path) -> None:
    inner = tmp_path / "one" / "two"
    inner.mkdir(parents=True)
    path = inner / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("../../evil.png", "/abs/evil.png", "C:\\evil.png", "fine.png"):
            archive.write(folder / "0.png", name)
    before = sorted(tmp_path.rglob("*.png"))
    assert len(open_images(path, 8)) == 4
    assert sorted(tmp_path.rglob("*.png")) == before
    assert not Path("/abs/evil.png").exists()


def test_a_zip_entry_may_have_no_name(folder: Path, tmp_path: Path) -> None:
    count, path = len(open_images(folder, 8)), zipped(folder, tmp_path / "a.zip")
    nameless = zipfile.ZipInfo("x")
    nameless.filename = ""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(nameless, next(iter(sorted(folder.glob("*.png")))).read_bytes())
    assert len(open_images(path, 8)) == count + 1


def test_absurd_zip_entries_are_skipped(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "0.png", "0.png")
        with archive.open("bomb.png", "w") as entry:
            for _ in range(257):
                entry.write(bytes(2**20))
        archive.writestr("lzma.png", bytes(1000), zipfile.ZIP_LZMA)
    assert path.stat().st_size < 2**20
    images = open_images(path, 8)
    assert len(images) == 1
    assert [(name, reason.split()[0]) for name, reason in images.skipped] == [
        ("bomb.png", "269484032"),
        ("lzma.png", "compressed"),
    ]


def test_an_entry_that_lies_about_its_size_is_cut_there_and_skipped(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "0.png", "0.png")
        with archive.open("bomb.png", "w") as entry:
            for _ in range(300):
                entry.write(bytes(2**20))
    size = struct.pack("<I", 300 * 2**20)
    assert path.read_bytes().count(size) == 2
    path.write_bytes(path.read_bytes().replace(size, struct.pack("<I", 1000)))
    tracemalloc.start()
    images = open_images(path, 8)
    assert tracemalloc.get_traced_memory()[1] < 2**25
    tracemalloc.stop()
    assert images.skipped == [("bomb.png", "damaged in the .zip (Bad CRC-32 for file 'bomb.png')")]


def test_links_and_zips_in_a_zip_are_no_images(folder: Path, tmp_path: Path) -> None:
    inner = zipped(folder, tmp_path / "inner.zip")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(folder / "0.png", "0.png")
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, str(folder / "1.png"))
        archive.write(inner, "inner.zip")
        archive.write(inner, "inner.png")
    images = open_images(tmp_path / "a.zip", 8)
    assert len(images) == 1
    assert images.skipped == [(name, "not an image of a known kind") for name in ("inner.png", "link.png")]


def test_a_file_too_large_for_an_image_is_not_read(folder: Path) -> None:
    with (folder / "large.png").open("wb") as file:
        file.truncate(2**40)  # sparse: it takes no room
    images = open_images(folder, 8)
    assert images.skipped == [("large.png", f"it has more than {2**28:,} bytes")]


def test_a_damaged_zip_entry_is_skipped(folder: Path, tmp_path: Path) -> None:
    path = zipped(folder, tmp_path / "a.zip", zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(b"2.png") + 300] ^= 0xFF
    path.write_bytes(data)
    images = open_images(path, 8)
    assert len(images) == 4
    assert images.skipped == [("2.png", "damaged in the .zip (Bad CRC-32 for file '2.png')")]


@pytest.mark.parametrize("keep", [0, 4, 0.5, 0.99])
def test_a_truncated_zip_is_an_error(folder: Path, tmp_path: Path, cache: Path, keep: float) -> None:
    path = zipped(folder, tmp_path / "a.zip")
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep > 1 else keep * len(data))])
    with pytest.raises(UsageError, match=r"a\.zip is damaged or not what its name says"):
        open_images(path, 8)
    assert not list(cache.rglob("*.npy"))


def test_without_images_there_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x" / "y").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"x holds no images: give it files that end in \.png"):
        open_images(tmp_path / "x", 8)
    with pytest.raises(UsageError, match="y is empty: give it files"):
        open_images(tmp_path / "x" / "y", 8)
    (tmp_path / "x" / "a.txt").write_text("a")
    with pytest.raises(UsageError, match=r"x\.zip holds no images"):
        open_images(zipped(tmp_path / "x", tmp_path / "x.zip"), 8)
    zipfile.ZipFile(tmp_path / "empty.zip", "w").close()
    with pytest.raises(UsageError, match=r"empty\.zip is empty"):
        open_images(tmp_path / "empty.zip", 8)


def test_all_unreadable_is_an_error_and_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "x").mkdir()
    for index in range(5):
        (tmp_path / "x" / f"{index}.png").write_text("broken")
    with pytest.raises(
        UsageError, match=r"none of the 5 images .* 0\.png \(not an image of a known kind\).* and 2 more"
    ):
        open_images(tmp_path / "x", 8)
    assert [path.suffix for path in (cache / "images").iterdir()] == [".lock"]


@pytest.mark.parametrize("name", ["photos.zip", "photos.npy", "photos.npz"])
def test_a_folder_may_be_called_as_a_file(folder: Path, name: str) -> None:
    assert len(open_images(folder.rename(folder.with_name(name)), 8)) == 5


def test_a_text_called_train_is_no_batch_of_cifar(folder: Path) -> None:
    (folder / "train").write_text("0.png\n1.png\n")
    assert len(open_images(folder, 8)) == 5


def test_a_damaged_note_in_a_zip_is_left_out(folder: Path, tmp_path: Path) -> None:
    (folder / "README").write_text("x" * 500)
    content = bytearray(zipped(folder, tmp_path / "a.zip").read_bytes())
    with zipfile.ZipFile(tmp_path / "a.zip") as entries:
        start = entries.getinfo("README").header_offset + 30 + len("README")
    content[start : start + 4] = b"\xff" * 4
    (tmp_path / "a.zip").write_bytes(content)
    assert len(open_images(tmp_path / "a.zip", 8)) == 5
