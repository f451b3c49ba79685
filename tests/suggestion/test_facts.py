"""What is seen of images of every kind: real files, drawn so that the answers are known."""

import io
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from equipoise import TrainConfig, UsageError
from equipoise.data import open_images, pack
from equipoise.suggestion import facts as module
from equipoise.suggestion.facts import Facts, look


def photograph(number: int, width: int = 40, height: int = 30, mode: str = "RGB") -> Image.Image:
    """Pixels with the power of photographs, one over the square of the frequency, from which texture comes."""
    random = np.random.default_rng(number)
    radii = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)) + 1 / width
    planes = [np.fft.ifft2(np.fft.fft2(random.normal(size=(height, width))) / radii).real for _ in range(3)]
    pixels = np.stack([planes[0], planes[0] + planes[1] / 3, planes[0] + planes[2] / 3], -1)
    pixels = 128 + 45 * (pixels - pixels.mean()) / pixels.std()
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).convert(mode)


def drawing(number: int, side: int = 40) -> Image.Image:
    """A letter-like stroke on plain ground, its foot always to the right."""
    random = np.random.default_rng(number)
    image = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    x, y = random.integers(4, side // 2, 2).tolist()
    colour = (*random.integers(0, 200, 3).tolist(), 255)
    ImageDraw.Draw(image).line([(x, y), (x, side - 6), (x + side // 3, side - 6)], fill=colour, width=4)
    return image


def folder(place: Path, images: list[Image.Image]) -> Path:
    place.mkdir(parents=True)
    for number, image in enumerate(images):
        image.save(place / f"{number:03d}.png")
    return place


def seen(data: Path | str, **settings: Any) -> Facts:
    return look(TrainConfig(data=str(data), **settings))


def test_photographs_and_drawings_are_told_apart(tmp_path: Path) -> None:
    photographs = seen(folder(tmp_path / "photographs", [photograph(n) for n in range(60)]))
    assert (photographs.count, photographs.looked_at, photographs.size) == (60, 60, (40, 30))
    assert (photographs.channels, photographs.classes) == (3, 0)
    assert photographs.texture > 0.3
    assert abs(photographs.asymmetry) < 0.01
    drawings = seen(folder(tmp_path / "drawings", [drawing(n) for n in range(60)]))
    assert drawings.texture < 0.1
    assert drawings.asymmetry > 0.02
    assert drawings.dimension is not None
    assert photographs.dimension is not None
    assert drawings.dimension < 8 < photographs.dimension


def test_gray_labels_and_a_crop(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        folder(tmp_path / "animals" / name, [photograph(n, mode="L") for n in range(20)])
    facts = seen(tmp_path / "animals", crop=24)
    assert (facts.channels, facts.classes, facts.size) == (1, 2, (24, 24))
    assert "40 images in gray, 24x24 in the median" in str(facts)
    assert "in 2 classes" in str(facts)


def test_images_that_the_data_itself_holds_out_do_not_count(tmp_path: Path) -> None:
    """Unless another share is asked for, and unless none would be left."""
    images = np.stack([np.asarray(photograph(number)) for number in range(60)])
    for name, own in (("some", np.arange(60) >= 20), ("all", np.ones(60, np.bool_))):
        np.savez(tmp_path / f"{name}.npz", images=images, held_out=own)
    facts = seen(tmp_path / "some.npz")
    assert (facts.count, facts.held_out, facts.looked_at) == (20, 40, 60)
    assert str(facts).endswith(", beside 40 that the data itself holds out")
    for other in (seen(tmp_path / "some.npz", held_out=0.2), seen(tmp_path / "all.npz")):
        assert (other.count, other.held_out) == (60, 0)
        assert "holds out" not in str(other)


def test_images_that_cannot_be_read_do_not_count(tmp_path: Path) -> None:
    place = folder(tmp_path / "some", [photograph(n) for n in range(24)])
    for number in range(6):
        (place / f"broken{number}.png").write_bytes(b"\x89PNG nothing")
    assert seen(place).count == 24
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "a.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(UsageError, match="none of the 1 images"):
        seen(tmp_path / "none")


def test_of_many_images_some_are_looked_at_and_small_ones_are_not_enlarged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 50)
    noise: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (120, 12, 12, 1), dtype=np.uint8)
    np.save(tmp_path / "noise.npy", noise)
    facts = seen(tmp_path / "noise.npy")
    assert (facts.count, facts.looked_at, facts.size, facts.channels) == (120, 50, (12, 12), 1)
    assert facts.texture > 0.9, "enlarged, noise would be smooth"


def test_shards_are_read_from_their_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for number in range(30):
            buffer = io.BytesIO()
            photograph(number).save(buffer, "PNG")
            for suffix, content in (("png", buffer.getvalue()), ("cls", str(number % 3).encode())):
                member = tarfile.TarInfo(f"{number:03d}.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    whole = seen(tmp_path / "x.tar")
    assert (whole.count, whole.looked_at, whole.classes, whole.size) == (30, 30, 3, (40, 30))
    assert whole.texture > 0.3
    monkeypatch.setattr(module, "MOST", 20)
    part = seen(tmp_path / "x.tar")
    assert (part.count, part.looked_at) == (None, 20)
    assert "more than 20 images" in str(part)


def test_packed_arrays_and_files_look_the_same(tmp_path: Path) -> None:
    place = folder(tmp_path / "photographs", [photograph(n, 32, 32) for n in range(30)])
    pack(place, 32, tmp_path / "packed.npz")
    files, array = seen(place), seen(tmp_path / "packed.npz")
    assert replace(array, name=files.name) == files


def test_the_look_packs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path / "cache"))
    seen(folder(tmp_path / "photographs", [photograph(n) for n in range(10)]))
    assert not (tmp_path / "cache").exists()
    open_images(tmp_path / "photographs", 32)
    assert (tmp_path / "cache").exists()
