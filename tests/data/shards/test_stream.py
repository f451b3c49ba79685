import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import webdataset
from PIL import Image
from unprivileged import as_nobody

from equipoise.data import inspect, open_images
from equipoise.data.shards import Stream, StreamBroken, is_stream, open_stream
from equipoise.data.shards import shards as source
from equipoise.data.shards.order import assign_shards
from equipoise.errors import UsageError
from shard_tools import numbers, png, shards, tar

COUNTS = [50, 43, 0, 61, 7, 39]
Opener = Callable[..., Stream]


@pytest.fixture
def pattern(tmp_path: Path) -> str:
    return shards(tmp_path / "shards", COUNTS)


@pytest.fixture
def stream(pattern: str) -> Iterator[Opener]:
    """Open a stream of numbered images in small blocks; all are closed at the end."""
    opened = []

    def begin(which: str = pattern, **options: object) -> Stream:
        opened.append(open_stream(which, 4, **{"block": 32, **options}))
        return opened[-1]

    yield begin
    for one in opened:
        one.close()
    time.sleep(0.01)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("equipoise")]


def walk(stream: Stream, images: int, batch: int = 1, *, rank: int = 0, size: int = 1, seed: int = 0) -> list[int]:
    drawn = [stream.draw(batch, seed, position, rank, size).images for position in range(0, images, batch)]
    return [number for images in drawn for number in numbers(images)]


@pytest.mark.parametrize("lanes", [1, 2, 4, 9])
def test_an_epoch_shows_every_image_once(stream: Opener, lanes: int) -> None:
    seen = walk(stream(lanes=lanes), 400)
    assert sorted(seen[:200]) == sorted(seen[200:]) == list(range(200))
    assert seen[:200] != seen[200:]
    assert seen[:200] != sorted(seen[:200])


@pytest.mark.parametrize("size", [2, 3, 5, 8])
def test_processes_share_an_epoch_without_overlap_or_loss(stream: Opener, size: int, pattern: str) -> None:
    """Each process sees its share before its next epoch begins, and the shares make the whole."""
    one, shares = stream(), []
    for rank in range(size):
        length = sum(part.length(COUNTS[part.shard]) for part in assign_shards(len(COUNTS), 0, 0, rank, size))
        shares.append(numbers(one.draw(length * size, 0, 0, rank, size).images))
    assert sorted(image for share in shares for image in share) == list(range(200))


@pytest.mark.parametrize(("counts", "size"), [([40] * 6, 2), ([40] * 6, 3), ([60], 3), ([32, 32], 4), ([40] * 5, 2)])
def test_shards_of_one_size_give_all_processes_as_many_images(
    tmp_path: Path, stream: Opener, counts: list[int], size: int
) -> None:
    one = stream(shards(tmp_path / "even", counts))
    for epoch in range(2):
        images = range(epoch * sum(counts), (epoch + 1) * sum(counts), size)
        seen = [numbers(one.draw(size, 0, place, rank, size).images)[0] for rank in range(size) for place in images]
        assert sorted(seen) == list(range(sum(counts)))


def test_the_images_of_an_epoch_are_those_of_webdataset(tmp_path: Path, stream: Opener, pattern: str) -> None:
    theirs = webdataset.WebDataset(pattern, shardshuffle=False, empty_check=False).decode("pill").to_tuple("png", "cls")
    pairs = [(numbers(np.asarray(image)[None, None])[0], label) for image, label in theirs]
    one = stream()
    drawn = one.draw(200, 0, 0)
    assert sorted(zip(numbers(drawn.images), drawn.labels.tolist(), strict=True)) == sorted(pairs)
    assert drawn.labels.dtype == torch.int64


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("indexed", [False, True])
def test_a_seek_equals_a_walk(stream: Opener, cache: Path, lanes: int, size: int, indexed: bool) -> None:
    walked = walk(stream(lanes=lanes), 500, 2, size=size)
    for position in (0, 1, 32, 33, 99, 100, 200, 249):
        if not indexed:
            shutil.rmtree(cache, ignore_errors=True)
        sought = stream(lanes=lanes).draw(2, 0, position * 2, 0, size).images
        n = 2 // size
        assert numbers(sought) == walked[position * n : position * n + n]


def test_one_stream_can_be_asked_for_any_position(stream: Opener) -> None:
    one = stream()
    walked = walk(one, 300)
    for position in (7, 7, 290, 3, 4, 150, 151, 0):
        assert numbers(one.draw(5, 0, position).images) == walked[position : position + 5]
    assert walk(one, 200, 40) == walked[:200]
    assert walk(one, 200, seed=1) != walked[:200]


def test_the_order_is_the_same_for_ever(stream: Opener) -> None:
    assert walk(stream(), 8) == [52, 93, 97, 102, 159, 101, 50, 56]


def test_an_index_that_cannot_be_written_or_read_changes_nothing(stream: Opener, cache: Path) -> None:
    walked = walk(stream(), 300)
    notes = list((cache / "shards").iterdir())
    assert {int(note.read_text()) for note in notes} == set(COUNTS)
    for note, nonsense in zip(notes, ["", "x", "-3", "\0", "1e9", "9" * 5000], strict=True):
        note.write_text(nonsense)
    assert numbers(stream().draw(5, 0, 250).images) == walked[250:255]
    shutil.rmtree(cache)
    cache.write_text("in the way")
    assert numbers(stream().draw(5, 0, 250).images) == walked[250:255]


def test_a_shard_that_was_written_anew_is_counted_anew(tmp_path: Path, stream: Opener, pattern: str) -> None:
    before = stream()
    walk(before, 200)
    shards(tmp_path / "shards", [50, 43, 0, 61, 8, 39])
    after = stream()
    assert sorted(walk(after, 201)) == list(range(201))
    assert numbers(stream().draw(1, 0, 300).images) == walk(after, 301)[300:]


def test_the_fingerprint_is_of_the_content_and_not_of_its_place(tmp_path: Path, stream: Opener, pattern: str) -> None:
    one = stream().fingerprint
    shutil.copytree(tmp_path / "shards", tmp_path / "moved")
    assert stream(pattern.replace("/shards/", "/moved/")).fingerprint == one
    others = [{"held_out": 0.1}, {"channels": 3}, {"background": "red"}, {"block": 31}, {"lanes": 2}, {"fit": "pad"}]
    assert len({one, *(stream(**options).fingerprint for options in others)}) == len(others) + 1
    assert stream(pattern.replace("{000..005}", "{000..004}")).fingerprint != one
    tar(tmp_path / "shards" / "s-000.tar", {"0.png": png(9), "0.cls": b"1"})
    assert stream().fingerprint != one


def test_held_out_images_are_never_drawn_and_nothing_is_lost(stream: Opener) -> None:
    one = stream(held_out=0.3)
    aside, rest = single_pass(one, held_out=True), single_pass(one, held_out=False)
    assert 30 < len(aside) < 90
    assert sorted(aside + rest) == list(range(200))
    assert sorted(walk(one, len(rest))) == sorted(rest)
    assert numbers(stream(held_out=0.3).draw(3, 0, 2 * len(rest)).images) == walk(one, 2 * len(rest) + 3)[-3:]


def single_pass(stream: Stream, *, held_out: bool = False) -> list[int]:
    return [
        numbers(image.pixels[None])[0]
        for _, image in stream.single_pass(held_out=held_out)
        if not isinstance(image, str)
    ]


def test_all_images_can_be_read_once_in_an_order_of_the_shards(stream: Opener) -> None:
    found = single_pass(stream())
    assert sorted(found) == list(range(200))
    assert found != sorted(found)
    assert found == single_pass(stream())
    assert not single_pass(stream(), held_out=True)


def test_images_are_framed(tmp_path: Path, stream: Opener) -> None:
    colour = io.BytesIO()
    Image.new("RGB", (30, 10), "red").save(colour, "JPEG")
    one = open_stream(tar(tmp_path / "a.tar", {"a.png": png(1), "b.jpg": colour.getvalue()}), "8x16")
    assert one.shape == (3, *one.draw(1, 0, 0).images.shape[2:])
    assert one.draw(2, 0, 0).labels is None
    assert not one.labelled
    one.close()
    assert stream().shape == (1, 4, 4)


def test_an_image_that_cannot_be_used_is_skipped_and_another_takes_its_place(tmp_path: Path, stream: Opener) -> None:
    files = [(f"{number}.png", png(number) if number % 5 else b"no image") for number in range(40)]
    one = stream(tar(tmp_path / "a.tar", [*files, ("x.png", b"")]))
    seen = walk(one, 82)
    assert set(seen) == {number for number in range(40) if number % 5}
    assert len(one.skipped) == 9
    assert dict(one.skipped)["a.tar/0.png"] == "not an image of a known kind"
    assert numbers(stream(str(tmp_path / "a.tar")).draw(5, 0, 60).images) == seen[60:65]
    assert len(single_pass(one)) == 32


def test_a_last_block_of_which_nothing_can_be_used_stops_no_run(tmp_path: Path, stream: Opener) -> None:
    """The images before stand in, the same after a seek."""
    files = [*((f"{number:02}.png", png(number)) for number in range(64)), ("x.png", b"no image"), ("y.png", b"")]
    one = stream(tar(tmp_path / "a.tar", files))
    seen = walk(one, 3 * 66)
    assert sorted(seen[:64]) == list(range(64))
    assert set(seen[64:66]) <= set(seen[32:64])
    assert numbers(stream(str(tmp_path / "a.tar")).draw(2, 0, 64).images) == seen[64:66]


def test_images_without_labels_among_those_with_are_skipped(tmp_path: Path, stream: Opener) -> None:
    files = [(f"{number:03}.{kind}", data) for number in range(90) for kind, data in labelled(number)]
    one = stream(tar(tmp_path / "a.tar", files))
    walk(one, 90)
    assert one.labelled
    assert [name for name, _ in one.skipped] == ["a.tar/080.png"]


def labelled(number: int) -> list[tuple[str, bytes]]:
    return [("png", png(number)), *([("cls", b"1")] if number != 80 else [])]


def test_a_json_may_hold_several_labels(tmp_path: Path, stream: Opener) -> None:
    files = {}
    for number in range(6):
        labels = {"label": 9, "hue": number % 3, "smiles": number > 2, "weight": 0.5}
        files |= {f"{number}.png": png(number), f"{number}.json": json.dumps(labels).encode()}
    path = tar(tmp_path / "a.tar", files)
    for label, expected in ((None, [9] * 6), ("hue", [0, 1, 2, 0, 1, 2]), ("smiles", [0, 0, 0, 1, 1, 1])):
        drawn = stream(path, label=label).draw(6, 0, 0)
        assert drawn.labels is not None
        assert drawn.labels.tolist() == [expected[number] for number in numbers(drawn.images)]
        images = open_images(path, 4, label=label)
        assert images.labels is not None
        assert images.labels.tolist() == ([0] * 6 if label is None else expected)
    assert len({stream(path, label=label).fingerprint for label in (None, "hue", "smiles")}) == 3
    assert inspect(path).columns == ["label", "hue", "smiles"]
    with pytest.raises(
        UsageError, match="do not all have labels called 'weight'; the first has label, hue, smiles: choose"
    ):
        stream(path, label="weight")
    with pytest.raises(UsageError, match="no labels called 'weight': choose from label, hue, smiles"):
        open_images(path, 4, label="weight")


def test_images_that_share_a_sample_are_told(tmp_path: Path, stream: Opener) -> None:
    files = {f"Shot at 10.{number:02d}.png": png(number) for number in range(5)} | {"b.png": png(9)}
    path = tar(tmp_path / "a.tar", files)
    note = (
        "left out: 4 images beside another in its sample, as names that agree up to the first dot are one sample, such "
        "as that of Shot at 10.00.png; rename the files, or unpack them into a folder, to have all"
    )
    assert stream(path).notes == [f"of the first 2 samples, {note}"]
    assert inspect(path).notes == open_images(path, 4).notes == [note]


def test_a_shard_of_which_nothing_can_be_read_is_an_error(tmp_path: Path, stream: Opener, pattern: str) -> None:
    tar(tmp_path / "shards" / "s-004.tar", {f"{number}.png": b"none" for number in range(9)})
    with pytest.raises(StreamBroken, match=r"no image of .*s-004\.tar can be used"):
        walk(stream(), 300)


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_a_truncated_shard_is_refused_by_name_when_it_is_reached(
    tmp_path: Path, stream: Opener, lanes: int, suffix: str
) -> None:
    pattern = shards(tmp_path / "t", COUNTS, suffix=suffix)
    path = tmp_path / "t" / f"s-003.{suffix}"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    one = stream(pattern, lanes=lanes)
    for _ in range(2):
        with pytest.raises(StreamBroken, match=rf"s-003\.{suffix} is cut off .*at byte [\d,]+.*get or write it again"):
            walk(one, 200)


def test_compressed_shards_are_read_like_others(tmp_path: Path, stream: Opener, pattern: str) -> None:
    assert walk(stream(shards(tmp_path / "z", COUNTS, suffix="tar.gz")), 50) == walk(stream(), 50)


def test_a_shard_that_changes_or_goes_during_training_is_an_error(tmp_path: Path, stream: Opener) -> None:
    pattern = shards(tmp_path / "gone", [40] * 3)
    one, other = stream(pattern, lanes=1), stream(pattern, lanes=1)
    for path in (tmp_path / "gone").iterdir():
        os.utime(path, (1, 1))
    with pytest.raises(StreamBroken, match="has changed"):
        walk(one, 120)
    shutil.rmtree(tmp_path / "gone")
    with pytest.raises(StreamBroken, match="cannot read"):
        walk(other, 120)


def test_few_images_are_held_at_a_time(tmp_path: Path) -> None:
    """The block shrinks with the images' size: images of 1 MiB, of which 8 MiB may be held."""
    one = open_stream(shards(tmp_path / "big", [60]), 1024, max_block_bytes=8 * 2**20)
    assert one.plan.block == 8
    one.close()


def test_one_block_is_made_ahead_and_no_more(stream: Opener) -> None:
    one = stream(lanes=1)
    one.draw(1, 0, 0)
    time.sleep(0.3)
    known = len(one.plan.counts.known)
    assert known < 3, "64 images lie in one or two shards of forty or more"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{0..999999999}.tar", "more than 100,000 shards"),
        ("{0..999}{0..999}{0..999}.tar", "more than 100,000"),
        ("{a,b}{c,d}" * 9 + ".tar", "more than 100,000"),
        ("{0..9.tar", "braces .* do not match"),
        ("{0..3}.tar", r"0\.tar is no file, one of the 4 shards"),
        ("{a,a}.tar", "names .*a.tar 2 times"),
        ("none.tar", "is no file"),
    ],
)
def test_patterns_that_stand_for_nothing_are_refused(tmp_path: Path, pattern: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_stream(f"{tmp_path}/{pattern}", 4)


def test_shards_without_images_are_refused(tmp_path: Path) -> None:
    for files in ({}, {"a.txt": b"x"}, {"a.png": b"x", "b.png": b"y"}):
        with pytest.raises(UsageError, match=r"no image can be read in .*a\.tar"):
            open_stream(tar(tmp_path / "a.tar", files), 4)


def test_more_processes_than_images_are_refused(tmp_path: Path, stream: Opener) -> None:
    one = stream(tar(tmp_path / "a.tar", {"a.png": png(1)}))
    with pytest.raises(StreamBroken, match="give process 1 no images"):
        one.draw(2, 0, 0, 1, 2)


def test_a_shard_that_may_not_be_read_is_refused() -> None:
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    path = Path(tar(folder / "a.tar", {"a.png": png(1)}))
    path.chmod(0)
    assert "no permission to read" in as_nobody(lambda: open_stream(str(path), 4))
    shutil.rmtree(folder)


def test_what_is_a_stream(tmp_path: Path, pattern: str) -> None:
    yes = [pattern, "https://host/a.tar", "HTTP://host/a.tar?x=1", "a-{0..3}.tar.gz", "{a,b}.tgz"]
    yes.append(tar(tmp_path / "a.tar", {"a.png": png(1)}))
    no = ["digits", "a.tar", "faces", str(tmp_path), "{a,b}.zip", tar(tmp_path / "b.tar", {"x/data_batch_1": b"."})]
    no.append(tar(tmp_path / "c.tar.gz", {"cifar/readme": b"", "cifar/train": b"."}))
    assert [is_stream(name) for name in yes + no] == [True] * len(yes) + [False] * len(no)


def test_a_name_with_braces_can_be_a_file(tmp_path: Path, stream: Opener) -> None:
    assert walk(stream(tar(tmp_path / "{1..2}.tar", {"a.png": png(7)})), 1) == [7]


def test_shards_are_a_source_like_any_other(tmp_path: Path, pattern: str) -> None:
    found = source(pattern)
    assert found is not None
    assert [part for part in found.identity if isinstance(part, Path)] == sorted((tmp_path / "shards").iterdir())
    with found.contents() as contents:
        assert [contents.read(number) for number in range(200)] == [png(number) for number in range(200)]
        assert contents.names[0] == "s-000.tar/000000.png"
        np.testing.assert_array_equal(contents.labels, np.arange(200) % 7)
    assert source("digits") is None
    with pytest.raises(UsageError, match="download it"):
        source("https://host/a.tar")
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress((tmp_path / "shards" / "s-000.tar").read_bytes()))
    zipped = source(str(tmp_path / "a.tar.gz"))
    assert zipped is not None
    with pytest.raises(UsageError, match="gunzip"), zipped.contents():
        pass


def test_local_shards_can_be_packed_and_inspected(tmp_path: Path, pattern: str) -> None:
    images = open_images(pattern, 4)
    assert numbers(images.pixels) == list(range(200))
    assert images.labels is not None
    assert images.labels.tolist() == [number % 7 for number in range(200)]
    assert inspect(pattern, 4).readable == 200
    assert len(open_images(tmp_path / "shards" / "s-001.tar", 4)) == 43
    with pytest.raises(UsageError, match="download it"):
        open_images("http://127.0.0.1:9/a.tar", 4)


PROGRAM = """
import sys, numpy as np
from equipoise.data.shards import open_stream
stream = open_stream(sys.argv[1], 4, block=32)
position = int(sys.argv[2])
while True:
    print(position, stream.draw(4, 0, position).images[:, 0, 1, 1].tolist(), flush=True)
    position += 4
"""


def test_a_process_that_was_killed_goes_on_where_it_was(stream: Opener, pattern: str) -> None:
    def lines(position: int, count: int, stop: int) -> str:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, pattern, str(position)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        read = [process.stdout.readline() for _ in range(count)]
        process.send_signal(stop)
        process.stdout.close()
        process.wait(10)
        return "".join(read)

    one = stream()
    whole = [f"{place} {one.draw(4, 0, place).images[:, 0, 1, 1].tolist()}\n" for place in range(0, 480, 4)]
    assert lines(0, 33, signal.SIGKILL) + lines(33 * 4, 87, signal.SIGINT) == "".join(whole)
