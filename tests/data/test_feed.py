"""What training draws from keeps its promises, whether it was packed or comes from shards."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from equipoise.data import open_images
from equipoise.data.feed import Feed
from equipoise.data.shards import open_stream
from shard_tools import numbers, png, shards

Maker = Callable[[Path], Feed]
IMAGES = 42


def folder_of(path: Path) -> Feed:
    """The images 0 to 41 in a folder for each class, number modulo 7."""
    for number in range(IMAGES):
        file = path / "images" / str(number % 7) / f"{number:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(number))
    return open_images(path / "images", 4)


def part_of(path: Path) -> Feed:
    whole = np.stack([np.asarray(Image.open(io.BytesIO(png(number))))[..., None] for number in range(60)])
    np.savez(path / "a.npz", images=whole, labels=np.arange(60) % 7)
    return open_images(path / "a.npz", 4).split(0.3)[0]


def shards_of(path: Path) -> Feed:
    return open_stream(shards(path / "shards", [12, 18, 12]), 4, block=8)


@pytest.fixture(params=[folder_of, part_of, shards_of])
def feed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Feed]:
    made: Feed = request.param(tmp_path)
    yield made
    made.close()


def epoch(feed: Feed) -> int:
    drawn = feed.draw(200, 0, 0)  # enough to know the end of every shard
    assert len(drawn.images) == 200
    return feed.count or IMAGES  # a stream does not say


def test_images_are_bytes_and_labels_are_whole_numbers(feed: Feed) -> None:
    images, labels = feed.draw(6, 0, 0)
    assert (images.dtype, images.shape[1:], feed.shape) == (torch.uint8, feed.shape, (1, 4, 4))
    assert labels is not None
    assert labels.dtype == torch.int64
    assert [number % 7 for number in numbers(images)] == labels.tolist()


def test_an_epoch_shows_every_image_once_and_the_next_in_another_order(feed: Feed) -> None:
    count = epoch(feed)
    first, second = (numbers(feed.draw(count, 0, epoch * count).images) for epoch in (0, 1))
    assert len(set(first)) == count
    assert sorted(first) == sorted(second)
    assert first != second


def test_batches_are_a_function_of_the_position(feed: Feed) -> None:
    whole = numbers(feed.draw(120, 3, 0).images)
    for position in (96, 0, 24, 95):
        assert numbers(feed.draw(24, 3, position).images) == whole[position : position + 24]
    assert numbers(feed.draw(24, 4, 0).images) != whole[:24]


@pytest.mark.parametrize("size", [2, 3])
def test_processes_share_an_epoch_of_equal_shares(feed: Feed, size: int) -> None:
    count = epoch(feed) // size * size
    shares = [numbers(feed.draw(count, 0, 0, rank, size).images) for rank in range(size)]
    assert {len(share) for share in shares} == {count // size}
    assert len({number for share in shares for number in share}) >= count - 6  # shards of unlike lengths


def test_packed_images_are_shared_as_one_process_sees_them(tmp_path: Path) -> None:
    feed = folder_of(tmp_path)
    together = torch.cat([feed.draw(12, 5, 36, rank, 3).images for rank in range(3)])
    assert together.equal(feed.draw(12, 5, 36).images)


@pytest.mark.parametrize("readers", [1, 2])
def test_the_number_of_processes_may_change_in_the_middle_of_an_epoch(feed: Feed, readers: int) -> None:
    """No image is lost or doubled, and each batch is, row by row, that of the processes that began."""
    count, batch = epoch(feed), 6
    sizes = [1, 2, 3, 1, 3, 2, 6, 1]
    seen = []
    for step, position in enumerate(range(0, 2 * count // batch * batch, batch)):
        size = sizes[step % len(sizes)]
        drawn = [feed.draw(batch, 5, position, rank, size, readers) for rank in range(size)]
        expected = [feed.draw(batch, 5, position, rank, readers, readers) for rank in range(readers)]
        together, wanted = (
            [number for part in parts for number in numbers(part.images)] for parts in (drawn, expected)
        )
        assert together == wanted
        assert [label for part in drawn for label in part.labels.tolist()] == [number % 7 for number in together]
        seen += together
    if readers == 1:
        assert len(set(seen[:count])) == count
        assert set(seen[count : 2 * count]) <= set(seen[:count])


def test_classes_are_counted_where_they_can_be(tmp_path: Path) -> None:
    names = folder_of(tmp_path)
    assert (names.classes, names.class_names) == (7, tuple("0123456"))
    part = part_of(tmp_path)
    assert (part.classes, part.class_names) == (7, None)
    np.savez(tmp_path / "b.npz", images=np.zeros((2, 4, 4, 1), np.uint8), labels=[-1, 3])
    renumbered = open_images(tmp_path / "b.npz", 4)
    assert (renumbered.classes, renumbered.class_names) == (2, ("-1", "3"))
    np.save(tmp_path / "c.npy", np.zeros((2, 4, 4, 1), np.uint8))
    bare = open_images(tmp_path / "c.npy", 4)
    assert (bare.classes, bare.draw(2, 0, 0).labels) == (0, None)


def test_the_count_of_a_stream_never_shows(tmp_path: Path) -> None:
    """It is known once all was read, in this run or another, and no run may depend on that."""
    feed = shards_of(tmp_path)
    assert feed.count is None
    feed.draw(IMAGES * 2, 0, 0)
    assert feed.count is None
    feed.close()
    assert open_stream(f"{tmp_path}/shards/s-{{000..002}}.tar", 4).count is None
