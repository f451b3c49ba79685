"""Pictures from elsewhere are brought to a run's shape as its own images were: read alone, sent, or scored."""

import os
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from equipoise import Run, TrainConfig
from equipoise.config.datasets import picture_framing
from equipoise.data import open_dataset, open_images, read_image
from equipoise.data.sources import border_of
from equipoise.errors import UsageError, UsageWarning
from equipoise.sampling.pictures import PictureReader, check_spared
from equipoise.serving.uploads import read_picture

SHAPE = (1, 32, 32)


@pytest.fixture
def digit(tmp_path: Path) -> tuple[Path, NDArray[np.uint8]]:
    """A file of a digit in its 28x28 pixels, and those."""
    pixels = open_images("digits", 28).batch([7])[0, 0].numpy()
    path = tmp_path / "pictures" / "digit.png"
    path.parent.mkdir()
    Image.fromarray(pixels).save(path)
    return path, pixels


@pytest.mark.parametrize("kind", ["digits", "idx", "folder"])
def test_a_digit_is_padded_where_the_runs_own_were(kind: str, digit: tuple[Path, NDArray[np.uint8]]) -> None:
    path, pixels = digit
    data = {"digits": "digits", "idx": str(path.parent.parent / "images"), "folder": str(path.parent)}[kind]
    if kind == "idx":
        Path(data).write_bytes(struct.pack(">HBBIII", 0, 8, 3, 1, 28, 28) + pixels.tobytes())
    own = open_images(data, 32).pixels[7 if kind == "digits" else 0]
    padded = np.array_equal(own[0, 2:30, 2:30], pixels)
    assert padded == (kind != "folder"), "what a folder holds may have any border, and is enlarged"

    run = Run(path.parent, TrainConfig(data=data, resolution=32))
    for seen in (
        PictureReader(run, SHAPE).read_all(path).pixels[0],
        PictureReader(run, SHAPE).read_all(path.parent).pixels[0],
        read_picture(path.read_bytes(), run, 1, 10_000)[0],
        read_image(path, picture_framing(run.config, 1)),
        open_dataset(str(path.parent), 32, border=border_of(data)).split("all").pixels[0],
    ):
        np.testing.assert_array_equal(np.asarray(seen), own)


@pytest.mark.parametrize("kind", ["reversed", "read-only", "channels last", "a tensor"])
def test_arrays_in_any_layout_are_read(kind: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 8, 8), dtype=np.uint8)
    given: Any = {
        "reversed": np.ascontiguousarray(pixels[:, ::-1])[:, ::-1],
        "read-only": np.frombuffer(pixels.tobytes(), np.uint8).reshape(pixels.shape),
        "channels last": np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
        "a tensor": torch.from_numpy(pixels),
    }[kind]
    reader = PictureReader(Run(tmp_path, TrainConfig(resolution=8)), (3, 8, 8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(reader.read_all(given).pixels.numpy(), pixels)


def test_what_of_a_folder_cannot_be_read_is_told(digit: tuple[Path, NDArray[np.uint8]]) -> None:
    folder = digit[0].parent
    reader = PictureReader(Run(folder / "run", TrainConfig(resolution=32)), SHAPE)
    with warnings.catch_warnings(action="error"):
        assert reader.read_all(folder).names == [f"{folder}/digit.png"]
    for name in ("a.png", "b.png"):
        (folder / name).write_text("no picture")
    with pytest.warns(UsageWarning, match="left out, .*a.png: not an image of a known kind, and 1 more"):
        assert len(reader.read_all(folder)) == 1


def test_data_that_are_gone_or_none_have_no_border(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for data in ("digits/", str(tmp_path), str(tmp_path / "gone"), str(tmp_path / "pipe"), "x" * 1000, "a\0b", ""):
        assert border_of(data) is None


@pytest.mark.parametrize(
    "given", [np.array(["a.png"]), np.array([None]), np.zeros((2, *SHAPE)), np.zeros((2, 8), np.uint8)]
)
def test_arrays_that_are_no_pictures_are_refused(given: NDArray[Any], tmp_path: Path) -> None:
    reader = PictureReader(Run(tmp_path, TrainConfig(data="digits", resolution=32)), SHAPE)
    with pytest.raises(UsageError, match=r"pictures of this run are uint8 \(N, 1, 32, 32\), not"):
        reader.read_all(given)


def test_a_new_picture_may_lie_beside_data_but_not_among_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    check_spared(Path("digits/sheet.png"), ["digits"])  # the bundled ones
    check_spared(Path("sheet.png"), ["./digits"])
    check_spared(Path("digits/scores.json"), ["./digits"])
    check_spared(Path("digits/.sheets/sheet.png"), ["./digits"])  # what is hidden is no image of a folder
    for folder in ("./digits", Path("digits"), "."):
        with pytest.raises(UsageError, match=r"digits/new/sheet.png would lie among the images of"):
            check_spared(Path("digits/new/sheet.png"), [folder])
