"""Training and held-out images, of packed data and of shards."""

from pathlib import Path

import numpy as np
import pytest

from equipoise import TrainConfig
from equipoise.data import Images, open_dataset, place_of
from equipoise.data.inspection.inspect import inspect
from equipoise.data.shards import Stream
from equipoise.errors import UsageError
from shard_tools import numbers, png, shards

SHARE = 0.3


@pytest.fixture
def pattern(tmp_path: Path) -> str:
    return shards(tmp_path / "shards", [50, 43, 27])


@pytest.fixture
def folder(tmp_path: Path) -> str:
    for number in range(120):
        (tmp_path / f"{number:03}.png").write_bytes(png(number))
    return str(tmp_path)


def part(data: str, which: str, **options: object) -> list[int]:
    return numbers(open_dataset(data, 4, held_out=SHARE).split(which, **options).pixels)


def test_shards_are_split_as_the_same_files_in_a_folder_are(pattern: str, folder: str) -> None:
    for which in ("train", "held-out", "all"):
        assert sorted(part(pattern, which)) == sorted(part(folder, which))


def test_training_draws_from_what_is_not_held_out(pattern: str, folder: str) -> None:
    for data, kind in ((pattern, Stream), (folder, Images)):
        feed = open_dataset(data, 4, held_out=SHARE).feed
        assert isinstance(feed, kind)
        kept = part(data, "train")
        assert sorted(numbers(feed.draw(len(kept), 0, 0).images)) == sorted(kept)
        feed.close()


def test_of_shards_no_more_are_packed_than_asked_for(pattern: str) -> None:
    few = part(pattern, "all", max_images=60)
    assert len(set(few)) == 60
    assert few == part(pattern, "all")[:60]


def test_what_was_packed_of_shards_is_opened_again_until_they_change(pattern: str, tmp_path: Path) -> None:
    first = open_dataset(pattern, 4, held_out=SHARE).split("train")
    told: list[tuple[int, int]] = []
    again = open_dataset(pattern, 4, held_out=SHARE, progress=lambda done, total: told.append((done, total))).split(
        "train"
    )
    assert (again.path, told) == (first.path, [])
    assert again.labels is not None
    assert [number % 7 for number in numbers(again.pixels)] == again.labels.tolist()
    shards(tmp_path / "shards", [50, 43, 27])
    assert (
        open_dataset(pattern, 4, held_out=SHARE, progress=lambda *_: told.append(_)).split("train").path != first.path
    )
    assert told[-1] == (len(first), 10_000)


def test_what_cannot_be_read_is_listed(pattern: str, tmp_path: Path) -> None:
    path = tmp_path / "shards" / "s-001.tar"
    path.write_bytes(path.read_bytes().replace(png(60), b"x" * len(png(60))))
    images = open_dataset(pattern, 4).split("all")
    assert len(images) == 119
    assert images.skipped == [("s-001.tar/000060.png", "not an image of a known kind")]


def test_nothing_held_out_is_no_image(pattern: str, folder: str) -> None:
    for data in (pattern, folder):
        nothing = open_dataset(data, 4).split("held-out")
        assert (len(nothing), nothing.shape) == (0, (1, 4, 4))


def test_auto_holds_out_a_tenth_where_the_data_says_nothing(pattern: str, folder: str) -> None:
    for data in (pattern, folder):
        auto, tenth = open_dataset(data, 4, held_out="auto"), open_dataset(data, 4, held_out=0.1)
        assert auto.holds_out == tenth.holds_out == "0.1"
        assert auto.feed.fingerprint == tenth.feed.fingerprint
        for part in ("train", "held-out", "all"):
            assert auto.split(part).fingerprint == tenth.split(part).fingerprint
        auto.close()
        tenth.close()


@pytest.mark.parametrize("held_out", [False, True])
def test_auto_holds_out_a_tenth_of_data_that_are_all_of_one_split(held_out: bool, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
    np.savez(tmp_path / "one.npz", images=pixels, held_out=np.full(40, held_out))
    np.savez(tmp_path / "none.npz", images=pixels)
    one, none = (open_dataset(tmp_path / f"{name}.npz", 4, held_out="auto") for name in ("one", "none"))
    assert one.holds_out == none.holds_out == "0.1"
    assert np.array_equal(one.split("held-out").pixels, none.split("held-out").pixels)
    assert (inspected := inspect(tmp_path / "one.npz")).held_out == len(none.split("held-out"))
    assert inspected.share == 0.1


def test_a_share_that_leaves_nothing_is_refused(tmp_path: Path) -> None:
    for number in range(256):  # another image, until one is held out by a share of a half
        np.save(tmp_path / "one.npy", np.full((1, 8, 8), number, np.uint8))
        if len(open_dataset(tmp_path / "one.npy", 8, held_out=0.5).split("held-out")):
            break
    with pytest.raises(UsageError, match="all 1 images of .* are held out"):
        _ = open_dataset(tmp_path / "one.npy", 8, held_out=0.5).feed


def test_shards_that_hold_nothing_out_say_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none of the images of .* is held out"):
        open_dataset(shards(tmp_path / "few", [2]), 4, held_out=0.001).split("held-out")


@pytest.mark.parametrize("name", ["digits", "ring8", "faces", "faces:count=20,seed=7", "hf://me/set", "http://a/b.npz"])
def test_what_lies_here_under_a_name_is_not_taken_for_the_data_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir(parents=True)
    assert place_of(name) is None
    assert place_of(f"./{name}") == place_of(f"{tmp_path}/{name}") == str(tmp_path / Path(name))


@pytest.mark.parametrize("name", ["digits", "faces", "faces:count=3", "ring8"])
def test_a_path_that_is_called_like_data_with_a_name_is_a_path(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir()
    for number in range(3):
        (tmp_path / name / f"{number}.png").write_bytes(png(number))
    monkeypatch.chdir(tmp_path)
    config = TrainConfig(data=Path(f"./{name}"), resolution=4)  # type: ignore[arg-type]  # as a user may
    assert config.data == f"./{name}"
    for dataset in (open_dataset(Path(name), 4), open_dataset(config.data, 4)):
        assert numbers(dataset.split("all").pixels) == [0, 1, 2]
    assert open_dataset(Path("/tmp") / name, 4).name == f"/tmp/{name}"
    assert open_dataset("digits", 4).name == "digits"


def test_the_place_of_data_is_absolute(pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert place_of("shards/s-{000..002}.tar") == pattern
    assert place_of("shards/s-000.tar#test") == f"{tmp_path}/shards/s-000.tar#test"
    assert [place_of(data) for data in ("", "nowhere", "nowhere/{0..3}.tar", "\0", "x" * 5000)] == [None] * 5


@pytest.mark.parametrize("data", ["a#1", "parts/{x}.tar", "part-{0..0}/{000..002}.tar", "braced {0}/all#test"])
def test_names_that_look_like_patterns_have_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("a#1", "parts", "part-0", "braced {0}/all"):
        (tmp_path / folder).mkdir(parents=True)
    assert place_of(data) == f"{tmp_path}/{data}"
