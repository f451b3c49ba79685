import gzip
import io
import itertools
import os
import struct
import tarfile
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.data.shards.samples import read_samples
from equipoise.data.shards.tar import DamagedTarError, Tar
from shard_tools import png, tar

IMAGE = png(1)


def names(path: str | Path) -> list[str]:
    with Path(path).open("rb") as file:
        return [member.name for member in Tar(file).members()]


def found(path: str | Path) -> list[tuple[str, int | None]]:
    with Path(path).open("rb") as file:
        return [(sample.name, sample.label) for sample in read_samples(Tar(file))]


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("seekable", [False, True])
def test_every_format_is_read_as_tarfile_does(tmp_path: Path, format: int, compressed: bool, seekable: bool) -> None:
    files = [("a.png", b"1" * 700), ("dir/b.cls", b""), ("e" * 90 + "/" + "f" * 80 + ".png", b"x" * 512)]
    files += [] if format == tarfile.USTAR_FORMAT else [("ü/" + "l" * 300 + ".png", b"y")]
    tar(tmp_path / "a.tar", files, format=format)
    data = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "b.tar").write_bytes(gzip.compress(data) if compressed else data)
    raw = io.BytesIO((tmp_path / "b.tar").read_bytes())
    archive = Tar(io.BufferedReader(raw) if seekable else io.BufferedReader(OnlyForward(raw)))
    assert [(member.name, archive.read(member)) for member in archive.members()] == files


class OnlyForward(io.RawIOBase):
    def __init__(self, file: io.BytesIO) -> None:
        self.file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        return self.file.readinto(buffer[:100])


def test_samples_are_those_that_webdataset_finds(tmp_path: Path) -> None:
    path = tmp_path / "w.tar"
    with webdataset.TarWriter(str(path)) as writer:
        for number in range(20):
            extra = {"seg.png": IMAGE, "json": {"label": 3}} if number % 2 else {"txt": "words", "cls": number}
            writer.write({"__key__": f"a.b/{number}", "jpg": IMAGE, **extra})
    theirs = [(f"{sample['__key__']}.jpg") for sample in webdataset.WebDataset(str(path), shardshuffle=False)]
    ours = found(path)
    assert [name for name, _ in ours] == theirs
    assert [label for _, label in ours] == [3 if number % 2 else number for number in range(20)]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"a.cls": b"1", "a.png": IMAGE}, [("a.png", 1)]),
        ({"a.png": IMAGE, "a.json": b'{"label": 4}', "a.cls": b" 2\n"}, [("a.png", 2)]),
        ({"a.left.png": IMAGE, "a.right.png": IMAGE}, [("a.left.png", None)]),
        ([("a.png", IMAGE), ("a.png", IMAGE)], [("a.png", None), ("a.png", None)]),
        ([("a.png", IMAGE), ("b.png", IMAGE), ("a.png", IMAGE)], [("a.png", None), ("b.png", None), ("a.png", None)]),
        ({"x/a.png": IMAGE, "y/a.png": IMAGE}, [("x/a.png", None), ("y/a.png", None)]),
        ({"A.PNG": IMAGE, "A.CLS": b"5"}, [("A.PNG", 5)]),
        ({"a.cls": b"1", "b.txt": b"no image"}, []),
        ({".png": IMAGE, "png": IMAGE, "__MACOSX/a.png": IMAGE, ".a.png": IMAGE, "__meta__/a.png": IMAGE}, []),
        ({"a.png": IMAGE, "a.cls": b"cat"}, [("a.png", None)]),
        ({"a.png": IMAGE, "a.cls": b"-1"}, [("a.png", None)]),
        ({"a.png": IMAGE, "a.cls": b"9" * 5000}, [("a.png", None)]),
        ({"a.png": IMAGE, "a.json": b"[" * 100_000}, [("a.png", None)]),
        ({"a.png": IMAGE, "a.json": b'{"label": true}'}, [("a.png", 1)]),
        ({"a.png": IMAGE, "a.json": b'{"label": 1e3}'}, [("a.png", None)]),
        ({"a.png": IMAGE, "a.json": b"7"}, [("a.png", None)]),
        ({"../../../etc/a.png": IMAGE, "/b.png": IMAGE}, [("../../../etc/a.png", None), ("/b.png", None)]),
        ({"ü\n\x1b[2J.png": IMAGE}, [("ü\n\x1b[2J.png", None)]),
    ],
)
def test_what_makes_a_sample(tmp_path: Path, files: dict[str, bytes], expected: list[tuple[str, int | None]]) -> None:
    assert found(tar(tmp_path / "a.tar", files)) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def test_links_folders_and_devices_are_passed_over(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            info = tarfile.TarInfo(f"{kind.decode()}.png")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        info = tarfile.TarInfo("real.png")
        info.size = len(IMAGE)
        archive.addfile(info, io.BytesIO(IMAGE))
    assert found(tmp_path / "a.tar") == [("real.png", None)]


@pytest.mark.parametrize("compressed", [False, True])
def test_an_archive_that_was_cut_off_anywhere_is_refused(tmp_path: Path, compressed: bool) -> None:
    tar(tmp_path / "a.tar", {"a.png": b"1" * 600, "b.png": b"2" * 500})
    data = (tmp_path / "a.tar").read_bytes()[: 512 + 1024 + 512 + 512 + 512]  # with one block of zeros at its end
    assert len(found_in(data)) == 2
    stored = gzip.compress(data) if compressed else data
    for length in range(0, len(stored) - (9 if compressed else 0), 7 if compressed else 64):
        with pytest.raises(DamagedTarError, match=r"cut off|damaged"):
            found_in(stored[:length])


def found_in(data: bytes) -> list[str]:
    return [
        sample.name for sample in read_samples(Tar(io.BytesIO(data) if data[:2] != b"\x1f\x8b" else buffered(data)))
    ]


def buffered(data: bytes) -> io.BufferedReader:
    return io.BufferedReader(io.BytesIO(data))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=2000), st.integers(0, 3000), st.sampled_from([b"", b"\x1f\x8b"]))
def test_garbage_is_refused_or_read_but_never_anything_else(garbage: bytes, start: int, head: bytes) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in "ab":
            info = tarfile.TarInfo(f"{name}.png")
            info.size = 700
            archive.addfile(info, io.BytesIO(b"x" * 700))
    data = bytearray(file.getvalue())
    data[start : start + len(garbage)] = garbage
    with suppress(DamagedTarError):
        found_in(head + bytes(data))


def test_a_bomb_takes_little_memory(tmp_path: Path) -> None:
    """A gigabyte of zeros in a megabyte of gzip, as an image and as the header of a name."""

    def header(name: str, size: int, kind: bytes) -> bytes:
        info = tarfile.TarInfo(name)
        info.size, info.type = size, kind
        return info.tobuf(tarfile.GNU_FORMAT)

    bombs = {"image": (header("a.png", 2**29, tarfile.REGTYPE), True)}
    bombs |= {"pax": (header("x", 2**29, tarfile.XHDTYPE), False), "name": (header("x", 2**29, b"L"), False)}
    for head, passed in bombs.values():
        with gzip.open(tmp_path / "bomb.tar.gz", "wb", compresslevel=1) as file:
            file.write(head)
            for _ in range(512):
                file.write(bytes(2**20))
            file.write(header("b.png", 0, tarfile.REGTYPE) + bytes(1024))
        tracemalloc.start()
        if passed:
            assert [name for name, _ in found(tmp_path / "bomb.tar.gz")] == ["a.png", "b.png"]
        else:
            with pytest.raises(DamagedTarError, match="beyond all measure"):
                found(tmp_path / "bomb.tar.gz")
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
        tracemalloc.stop()


def test_endless_headers_are_refused() -> None:
    info = tarfile.TarInfo("x")
    info.type = tarfile.XHDTYPE
    with pytest.raises(DamagedTarError, match="beyond all measure"):
        found_in(info.tobuf() * 100)


@pytest.mark.parametrize("size", [-1, 2**80])
def test_absurd_sizes_are_refused(size: int) -> None:
    info = tarfile.TarInfo("a.png")
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = (b"\xff" if size < 0 else b"\x80") + (size % 2**88).to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    with pytest.raises(DamagedTarError):
        found_in(bytes(block) + bytes(2048))


def test_pax_records_that_lie_about_their_length_are_passed_over(tmp_path: Path) -> None:
    for record in (b"0 path=x\n", b"99999 path=x\n", b"6 path=x\n", struct.pack("<Q", 7), b"path"):
        file = io.BytesIO()
        info = tarfile.TarInfo("pax")
        info.type, info.size = tarfile.XHDTYPE, len(record)
        file.write(info.tobuf() + record + bytes(-len(record) % 512) + tarfile.TarInfo("a.png").tobuf() + bytes(1024))
        assert len(list(itertools.islice(found_in(file.getvalue()), 2))) <= 1


def test_names_that_are_no_text_are_read(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar", {os.fsdecode(b"\xff\xfe.png"): IMAGE}, format=tarfile.GNU_FORMAT)
    assert len(found(tmp_path / "a.tar")) == 1
