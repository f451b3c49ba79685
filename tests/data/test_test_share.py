"""Images kept for a last test: apart from those that train and those that are scored by meanwhile."""

from pathlib import Path

import pytest

from equipoise.data import open_dataset
from equipoise.errors import UsageError
from shard_tools import numbers, png, shards


@pytest.fixture
def folder(tmp_path: Path) -> str:
    for number in range(120):
        (tmp_path / f"{number:03}.png").write_bytes(png(number))
    return str(tmp_path)


def part(data: str, which: str, **options: object) -> set[int]:
    found = numbers(open_dataset(data, 4, **options).split(which).pixels)
    assert len(set(found)) == len(found)
    return set(found)


@pytest.mark.parametrize("held_out", [0.2, "auto", 0.0])
def test_every_image_is_of_one_part_and_training_draws_from_its_own(folder: str, held_out: object) -> None:
    parts = [part(folder, which, held_out=held_out, test=0.2) for which in ("train", "held-out", "test")]
    assert set.union(*parts) == part(folder, "all", held_out=held_out, test=0.2)
    assert sum(map(len, parts)) == 120
    assert 10 < len(parts[2]) < 40
    feed = open_dataset(folder, 4, held_out=held_out, test=0.2).feed
    assert set(numbers(feed.draw(len(parts[0]), 0, 0).images)) == parts[0]
    feed.close()


def test_without_a_test_all_is_as_it_was(folder: str) -> None:
    with_none, plain = (open_dataset(folder, 4, held_out=0.2, **options) for options in ({"test": 0.0}, {}))
    for which in ("train", "held-out"):
        assert with_none.split(which).fingerprint == plain.split(which).fingerprint
    assert not len(plain.split("test"))


def test_other_test_images_are_other_training_images(folder: str) -> None:
    names = {open_dataset(folder, 4, held_out=0.2, test=share).split("train").fingerprint for share in (0.0, 0.1, 0.2)}
    assert len(names) == 3


def test_streams_keep_none(tmp_path: Path) -> None:
    pattern = shards(tmp_path / "shards", [20])
    with pytest.raises(UsageError, match="stream"):
        open_dataset(pattern, 4, test=0.1).feed.close()
    with pytest.raises(UsageError, match="stream"):
        open_dataset(pattern, 4, test=0.1).split("test")
