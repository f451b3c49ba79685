import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from equipoise.data import contact_sheet, inspect, open_images, read_image, sheet
from equipoise.data.framing import parse_framing
from equipoise.errors import UsageError

Saver = Callable[..., Path]


def test_inspect_sees_what_packing_would(save: Saver, cache: Path) -> None:
    save("a/1.png", size=(10, 20))
    save("a/2.png", mode="L", size=(10, 20))
    save("b/3.jpg", mode="CMYK", size=(40, 30))
    folder = save("b/4.gif", mode="P", size=(30, 2)).parents[1]
    (folder / "b" / "5.png").write_text("broken")
    seen: list[tuple[int, int]] = []
    found = inspect(folder, progress=lambda done, total: seen.append((done, total)))
    assert not cache.exists()
    assert seen[-1] == (5, 5)
    assert (found.count, found.readable, found.channels) == (5, 4, 3)
    assert found.modes == {"RGB": 1, "L": 1, "CMYK": 1, "P": 1}
    assert found.sizes is not None
    assert found.sizes.histogram == {(10, 20): 2, (40, 30): 1, (30, 2): 1}
    assert (found.sizes.smallest, found.sizes.median, found.sizes.largest) == ((30, 2), (10, 20), (40, 30))
    assert found.labels == {"a": 2, "b": 2}
    assert found.skipped == open_images(folder, 64).skipped


def test_inspect_shows_what_is_cropped(save: Saver) -> None:
    save("1.png", size=(30, 40))
    folder = save("2.png", size=(9, 40)).parent
    found = inspect(folder, 16, crop=10)
    assert "crop      the central 10x10 pixels of each\n" in str(found)
    assert found.skipped == [("2.png", "9x40, too small to crop 10x10 pixels of it")]
    assert found.values[0].mean == pytest.approx(open_images(folder, 16, crop=10).pixels[:, 0].mean())


@pytest.mark.parametrize(("bits", "told"), [(10, True), (12, True), (14, True), (15, False), (16, False)])
def test_few_bits_in_files_of_16_are_told(tmp_path: Path, bits: int, told: bool) -> None:
    values = np.linspace(0, 2**bits - 1, 64).astype(np.uint16).reshape(8, 8)
    (tmp_path / "x").mkdir()
    Image.fromarray(values).save(tmp_path / "x" / "1.png")
    Image.fromarray(values // 2).save(tmp_path / "x" / "2.tif")
    note = f"the 2 gray images of 16 bits reach no more than {2**bits - 1:,} of 65,535, and come out dark: "
    note += f"if they hold {bits} bits, multiply their values by {2 ** (16 - bits)}"
    assert inspect(tmp_path / "x").notes == open_images(tmp_path / "x", 8).notes == [note] * told
    assert (f"  note      {note}" in str(inspect(tmp_path / "x"))) is told


def test_corrupt_exif_is_no_matter_for_warnings(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    (tmp_path / "x").mkdir()
    for name in ("1.jpg", "2.jpg"):  # equal, so that they are decoded once more to be compared
        Image.new("L", (8, 8)).save(tmp_path / "x" / name, exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01")
    filters = list(warnings.filters)
    assert inspect(tmp_path / "x").readable == 2
    contact_sheet(tmp_path / "x", resolution=8)
    open_images(tmp_path / "x", None)
    read_image(tmp_path / "x" / "1.jpg", parse_framing(8, None, "crop", "white"))
    assert not recwarn.list
    assert warnings.filters == filters


def test_inspect_bundled_data() -> None:
    found = inspect("digits")
    assert (found.count, found.channels, found.modes) == (5000, 1, {"L": 5000})
    assert found.labels == {str(digit): 500 for digit in range(10)}


def test_inspect_sums_up_the_values_of_each_channel(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(3, 250, (20, 3, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "a.npy", pixels)
    for seen, channel in zip(inspect(tmp_path / "a.npy", 8).values, pixels.transpose(1, 0, 2, 3), strict=True):
        assert seen.mean == pytest.approx(channel.mean(dtype=np.float64), rel=1e-12)
        assert seen.std == pytest.approx(channel.std(dtype=np.float64), rel=1e-12)
        assert (seen.minimum, seen.maximum) == (channel.min(), channel.max())


def test_grays_among_colours_count_in_every_channel(save: Saver) -> None:
    save("1.png", size=(8, 8))
    folder = save("2.png", mode="L", size=(8, 8)).parent
    packed = open_images(folder, 8).pixels
    assert [seen.mean for seen in inspect(folder, 8).values] == pytest.approx(packed.mean(axis=(0, 2, 3)).tolist())


def test_inspect_counts_what_would_be_held_out() -> None:
    found = inspect("digits", 16, share=0.2)
    assert found.held_out == len(open_images("digits", 32).split(0.2)[1])


def test_inspect_bears_data_without_a_readable_image(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x/1.png", b"broken")
        archive.writestr("y/1.png", b"broken")
    found = inspect(tmp_path / "a.zip")
    assert (found.count, found.readable, found.channels, found.sizes, found.labels) == (2, 0, None, None, {})
    assert len(found.skipped) == 2
    assert (found.values, found.copies, found.alike, found.held_out) == ((), [], [], 0)
    assert "0 of 2 images can be read" in str(found)


def test_inspect_of_nothing() -> None:
    with pytest.raises(UsageError, match="did you mean"):
        inspect("digitz")


def test_a_sheet_is_a_seeded_choice(folder: Path) -> None:
    packed = open_images(folder, 16)
    one = contact_sheet(packed, 4, seed=0)
    assert (one.mode, one.size) == ("RGB", (2 * 18 + 2,) * 2)
    assert one.tobytes() == contact_sheet(packed, 4, seed=0).tobytes()
    assert len({contact_sheet(packed, 4, seed=seed).tobytes() for seed in range(5)}) > 1
    assert one.tobytes() == contact_sheet(folder, 4, seed=0, resolution=16).tobytes()
    assert contact_sheet(packed, 64).size == (3 * 18 + 2, 2 * 18 + 2)  # no more than there are


def test_a_sheet_needs_no_packing_and_passes_over_broken_images(folder: Path, cache: Path) -> None:
    (folder / "2.png").write_text("broken")
    assert contact_sheet(folder, resolution=16).size == (2 * 18 + 2,) * 2
    assert not cache.exists()
    for path in folder.iterdir():
        path.write_text("broken")
    with pytest.raises(UsageError, match="none of the 5 images"):
        contact_sheet(folder)
    with pytest.raises(UsageError, match="1 or more"):
        contact_sheet(folder, 0)


def test_images_stand_in_rows() -> None:
    grays = [np.full((1, 2, 3), value, np.uint8) for value in (10, 20, 30)]
    pixels = np.asarray(sheet(grays))
    assert pixels.shape == (2 * 4 + 2, 2 * 5 + 2, 3)
    assert [pixels[2, 2, 0], pixels[2, 7, 0], pixels[6, 2, 0], pixels[6, 7, 0]] == [10, 20, 30, 128]
