import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from equipoise.data.decode import Pixels, UnreadableError, prepare, upright_size
from equipoise.data.digests import content_digest
from equipoise.data.framing import parse_framing
from equipoise.errors import UsageError

PNG = b"\x89PNG\r\n\x1a\n"

pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF")


def load(
    path: Path,
    resolution: int = 8,
    channels: int | None = None,
    fit: str = "crop",
    background: str = "white",
    crop: int | None = None,
) -> Pixels:
    return prepare(path.read_bytes, parse_framing(resolution, channels, fit, background, crop)).pixels


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def stored(tmp_path: Path, image: Image.Image, name: str = "a.png", **options: object) -> Path:
    image.save(tmp_path / name, **options)
    return tmp_path / name


def halves(width: int, height: int) -> Image.Image:
    """Left half red, right half blue."""
    image = Image.new("RGB", (width, height), "red")
    image.paste("blue", (width // 2, 0, width, height))
    return image


def test_an_image_of_the_right_size_is_kept_bit_for_bit(save: Callable[..., Path]) -> None:
    path = save("a.png", size=(8, 8))
    np.testing.assert_array_equal(load(path), np.asarray(Image.open(path)).transpose(2, 0, 1))


def test_crop_takes_the_centre(tmp_path: Path) -> None:
    image = Image.new("RGB", (24, 8), "red")
    image.paste("blue", (8, 0, 16, 8))
    assert (load(stored(tmp_path, image)) == np.array([0, 0, 255])[:, None, None]).all()
    assert (load(stored(tmp_path, image.rotate(90, expand=True))) == np.array([0, 0, 255])[:, None, None]).all()


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_a_square_is_cropped_before_resizing(save: Callable[..., Path], fit: str) -> None:
    path = save("a.png", size=(178, 218))
    whole = np.asarray(Image.open(path)).transpose(2, 0, 1)
    np.testing.assert_array_equal(load(path, 108, fit=fit, crop=108), whole[:, 55 : 55 + 108, 35 : 35 + 108])
    square = save("b.png", size=(178, 218))
    Image.open(path).crop((35, 55, 35 + 108, 55 + 108)).save(square)
    np.testing.assert_array_equal(load(path, 64, fit=fit, crop=108), load(square, 64))
    assert load(path, 1, crop=178).shape == (3, 1, 1)


def test_a_square_to_crop_counts_pixels_of_the_whole_jpeg(tmp_path: Path) -> None:
    image = Image.new("L", (800, 800), 0)
    image.paste(255, (350, 350, 450, 450))
    assert (load(stored(tmp_path, image, "a.jpg", quality=95), crop=100) > 240).all()


def test_a_square_larger_than_the_image_cannot_be_cropped(save: Callable[..., Path]) -> None:
    with pytest.raises(UnreadableError, match=r"^10x20, too small to crop 11x11 pixels of it$"):
        load(save("a.png", size=(10, 20)), crop=11)


def test_framing_without_crop_is_called_as_ever() -> None:
    assert repr(parse_framing("8x6", 3, "pad", "white")) == (
        "Framing(height=6, width=8, channels=3, fit='pad', background=(255, 255, 255))"
    )
    assert repr(parse_framing(8, 3, "pad", "white", 7)).endswith("background=(255, 255, 255), crop=7)")


def test_pad_keeps_everything_on_the_background(tmp_path: Path) -> None:
    pixels = load(stored(tmp_path, Image.new("RGB", (16, 8), "blue")), fit="pad", background="#00ff00")
    assert (pixels[:, 2:6] == np.array([0, 0, 255])[:, None, None]).all()
    assert (pixels[:, [0, 1, 6, 7]] == np.array([0, 255, 0])[:, None, None]).all()


def test_pad_of_gray_on_a_colour_has_three_channels(tmp_path: Path) -> None:
    path = stored(tmp_path, Image.new("L", (16, 8), 9))
    assert load(path, fit="pad", background="red").shape == (3, 8, 8)
    assert load(path, fit="pad", background="black").shape == (1, 8, 8)
    assert load(path, fit="pad", background="red", channels=1)[0, 0, 0] == 76  # the luminance of red


def test_pad_of_a_line_keeps_a_pixel(tmp_path: Path) -> None:
    assert (load(stored(tmp_path, Image.new("L", (900, 1), 0)), fit="pad") == 0).sum() == 8


def test_stretch_shows_everything(tmp_path: Path) -> None:
    pixels = load(stored(tmp_path, halves(32, 8)), fit="stretch")
    assert (pixels[0, :, :3] > 250).all()
    assert (pixels[2, :, 5:] > 250).all()


def test_shrinking_averages_rather_than_picks(tmp_path: Path) -> None:
    checks = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    assert np.abs(load(stored(tmp_path, Image.fromarray(checks))).astype(int) - 127).max() <= 2


def test_a_palette_is_resolved_before_resizing(tmp_path: Path) -> None:
    image = halves(64, 64)
    np.testing.assert_array_equal(
        load(stored(tmp_path, image.quantize(2), "a.gif")), load(stored(tmp_path, image.quantize(2).convert("RGB")))
    )


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
def test_exif_orientation_is_honoured(tmp_path: Path, orientation: int, name: str) -> None:
    upright = Image.new("L", (16, 16))
    upright.paste(200, (0, 0, 16, 8))
    upright.paste(100, (0, 0, 8, 8))  # every turn and mirroring differs
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # what undoes the orientation's number, as a Transpose
    turned = upright if orientation == 1 else upright.transpose(Image.Transpose(turns[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = load(stored(tmp_path, turned, name, exif=exif, quality=100), 16)
    assert np.abs(pixels[0].astype(int) - np.asarray(upright)).max() <= 3


@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0\xff\xff\xff\xff broken", b"Exif\0\0garbage", b"Exif\0\0MM"])
def test_damaged_exif_does_not_cost_the_image(tmp_path: Path, exif: bytes) -> None:
    path = stored(tmp_path, Image.new("L", (8, 8), 7), exif=exif)
    assert (load(path) == 7).all()


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_are_scaled_not_cut(tmp_path: Path, name: str) -> None:
    deep = Image.fromarray((np.arange(64, dtype=np.uint16) * 1040).reshape(8, 8))
    assert load(stored(tmp_path, deep, name)).ravel().tolist() == np.rint(np.arange(64) * 1040 / 257).tolist()


def test_floats_are_taken_from_zero_to_one_only(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    assert load(stored(tmp_path, Image.fromarray(values), "a.tif")).ravel()[[0, -1]].tolist() == [0, 255]
    with pytest.raises(UnreadableError, match=r"beyond \[0, 1\]"):
        load(stored(tmp_path, Image.fromarray(values * 300), "a.tif"))


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("1", "a.png"),
        ("L", "a.png"),
        ("LA", "a.png"),
        ("L", "a.jpg"),
        ("L", "a.gif"),
        ("L", "a.bmp"),
        ("I;16", "a.png"),
    ],
)
def test_gray_of_any_kind_has_one_channel(save: Callable[..., Path], mode: str, name: str) -> None:
    assert load(save(name, mode=mode)).shape == (1, 8, 8)
    assert load(save(name, mode=mode), channels=3).shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        *(("RGB", f"a.{suffix}") for suffix in ("png", "jpg", "webp", "tif", "ppm", "bmp")),
        *(("RGBA", "a.png"), ("RGBA", "a.tga"), ("P", "a.png"), ("P", "a.gif"), ("CMYK", "a.jpg"), ("CMYK", "a.tif")),
    ],
)
def test_colour_of_any_kind_has_three_channels(save: Callable[..., Path], mode: str, name: str) -> None:
    assert load(save(name, mode=mode)).shape == (3, 8, 8)
    assert load(save(name, mode=mode), channels=1).shape == (1, 8, 8)


def test_colour_without_saturation_is_gray(tmp_path: Path) -> None:
    assert load(stored(tmp_path, Image.new("RGB", (20, 20), (7, 7, 7)))).shape == (1, 8, 8)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_what_is_transparent_shows_the_background(tmp_path: Path, mode: str) -> None:
    options: dict[str, object] = {}
    if mode in ("P", "L"):
        image, options = Image.new(mode, (8, 8), 0), {"transparency": 0}
    else:
        image = Image.new(mode, (8, 8), 0)
    pixels = load(stored(tmp_path, image, **options), background="#0a141e")
    assert pixels[:, 0, 0].tolist() == [10, 20, 30]


def test_the_transparent_value_of_16_bits_shows_the_background(tmp_path: Path) -> None:
    values = np.full((8, 8), 40_000, np.uint16)
    values[:, :4] = 12_345
    path = stored(tmp_path, Image.fromarray(values), transparency=12_345)
    red, green, blue = load(path, background="red")
    assert (red[:, :4] == 255).all()
    assert (green[:, :4] == 0).all()
    assert (blue[:, 4:] == round(40_000 / 257)).all()


@pytest.mark.parametrize(("bits", "row"), [(1, 0b01010101), (2, 0b00011011), (4, 0x01)])
def test_the_transparent_value_of_few_bits_shows_the_background(tmp_path: Path, bits: int, row: int) -> None:
    head = chunk(b"IHDR", struct.pack(">2I5B", 2, 2, bits, 0, 0, 0, 0)) + chunk(b"tRNS", struct.pack(">H", 1))
    rows = bytes([0, row, 0, row])  # of which the first two pixels count, 0 and 1
    (tmp_path / "a.png").write_bytes(PNG + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    assert load(tmp_path / "a.png", 2, background="lime")[:, 0].T.tolist() == [[0, 0, 0], [0, 255, 0]]


def test_the_transparent_colour_of_16_bits_shows_the_background(tmp_path: Path) -> None:
    rows = b"".join(b"\0" + struct.pack(">3H", 5000, 6000, 7000) + struct.pack(">3H", 5000, 6000, 60000) for _ in "ab")
    head = chunk(b"IHDR", struct.pack(">2I5B", 2, 2, 16, 2, 0, 0, 0)) + chunk(
        b"tRNS", struct.pack(">3H", 5000, 6000, 7000)
    )
    (tmp_path / "a.png").write_bytes(PNG + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    pixels = load(tmp_path / "a.png", 2, background="lime")
    assert pixels[:, 0].T.tolist() == [[0, 255, 0], [5000 >> 8, 6000 >> 8, 60000 >> 8]]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (b"iCCP", b"profile\0\0" + zlib.compress(bytes(1_200_000))),
        (b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 1_200_000)),
        (b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(b"a" * 1_200_000)),
    ],
)
def test_texts_and_profiles_of_any_length_do_not_cost_the_image(
    save: Callable[..., Path], kind: bytes, data: bytes, last: bool
) -> None:
    path = save("a.png", size=(8, 8))
    expected, png = load(path), path.read_bytes()
    place = png.index(b"IEND") - 4 if last else png.index(b"IDAT") - 4
    path.write_bytes(png[:place] + chunk(kind, data) + png[place:])
    assert upright_size(path.read_bytes) == (8, 8)
    tracemalloc.start()
    np.testing.assert_array_equal(load(path), expected)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()
    digest = prepare(path.read_bytes, parse_framing(8, None, "crop", "white")).digest
    assert digest == content_digest(path.read_bytes())  # of the whole file, so that no image changes its side


def test_half_transparent_is_blended_before_resizing(tmp_path: Path) -> None:
    image = Image.new("RGBA", (64, 64), (255, 0, 0, 0))  # invisible red must not bleed
    image.paste((0, 0, 0, 255), (32, 0, 64, 64))
    pixels = load(stored(tmp_path, image))
    np.testing.assert_array_equal(pixels[0], pixels[-1])


@pytest.mark.parametrize(("name", "options"), [("a.gif", {}), ("a.webp", {"lossless": True}), ("a.png", {})])
def test_the_first_frame_of_an_animation_counts(tmp_path: Path, name: str, options: dict[str, object]) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    path = stored(tmp_path, frames[0], name, save_all=True, append_images=frames[1:], **options)
    assert Image.open(path).n_frames == 2
    assert load(path)[:, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
def test_cmyk_is_not_inverted(tmp_path: Path, name: str) -> None:
    ink = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # magenta and yellow make red
    pixels = load(stored(tmp_path, ink, name)).astype(int)
    assert np.abs(pixels - np.array([255, 0, 0])[:, None, None]).max() <= 3


def test_lab_is_converted_to_rgb_and_gray(tmp_path: Path) -> None:
    red = Image.new("LAB", (8, 8), (136, 80 + 128, 67 + 128))  # L = 53 of 100, a = 80, b = 67
    pixels = load(stored(tmp_path, red, "a.tif"))
    assert pixels[0].min() > 230
    assert pixels[1:].max() < 40
    gray = load(tmp_path / "a.tif", channels=1)  # 0.299 of 255, as of any red
    assert gray.shape == (1, 8, 8)
    assert np.abs(gray.astype(int) - 76).max() <= 3


def test_sixteen_bit_colour_keeps_its_high_bytes(tmp_path: Path) -> None:
    row = b"\0" + struct.pack(">3H", 65535, 32896, 0) * 8
    head = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    path = tmp_path / "a.png"
    path.write_bytes(PNG + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(row * 8)) + chunk(b"IEND", b""))
    assert load(path)[:, 0, 0].tolist() == [255, 128, 0]


def test_heads_that_promise_the_world_cost_nothing(tmp_path: Path) -> None:
    head = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)
    files = {
        "a.png": PNG + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""),
        "a.gif": b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(6) + b",\0\0\0\0\xff\xff\xff\xff\0\x08\x01\0\0;",
        "a.bmp": b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0),
        "a.ppm": b"P6 4000000000 4000000000 255\n",
    }
    tracemalloc.start()
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UnreadableError):
            load(tmp_path / name)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["a.tif", "a.gif", "a.webp"])
def test_small_files_of_many_pixels_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    options: dict[str, object] = {"compression": "tiff_deflate"} if name == "a.tif" else {}
    path = stored(tmp_path, Image.new("L", (2000, 2000)), name, **options)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3_000_000)
    with pytest.warns(Image.DecompressionBombWarning), pytest.raises(UnreadableError, match="2000x2000 is more than"):
        load(path)


def test_large_jpegs_look_as_without_the_short_cut(tmp_path: Path) -> None:
    rough = Image.fromarray(np.random.default_rng(0).integers(0, 256, (13, 17, 3), dtype=np.uint8))
    path = stored(tmp_path, rough.resize((1700, 1300), Image.Resampling.BICUBIC), "a.jpg", quality=95)
    exact = Image.open(path).resize((32, 32), Image.Resampling.LANCZOS, box=(200, 0, 1500, 1300))
    assert np.abs(load(path, 32).astype(int) - np.asarray(exact).transpose(2, 0, 1)).mean() < 1


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.webp", "a.tif", "a.bmp"])
@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.9])
def test_truncated_files_are_unreadable(save: Callable[..., Path], name: str, keep: float) -> None:
    path = save(name, size=(64, 64))
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep >= 1 else keep * len(data))])
    with pytest.raises(UnreadableError):
        load(path)


def test_bombs_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(tmp_path, Image.new("1", (20_000, 10_000)))
    assert path.stat().st_size < 50_000
    with pytest.raises(UnreadableError, match="has more than the 89478485 pixels"):
        load(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 150_000_000)  # between Pillow's warning and its error
    with pytest.warns(Image.DecompressionBombWarning), pytest.raises(UnreadableError, match="20000x10000"):
        load(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": 0}, "resolution must be a side"),
        ({"resolution": 99_999}, "resolution must be a side"),
        ({"channels": 2}, "channels must be 1"),
        ({"crop": 0}, "crop must be the side of a square from 1 to 8192 pixels, not 0"),
        ({"fit": "squash"}, "crop, pad, stretch"),
        ({"background": "greenish"}, "no colour"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], message: str) -> None:
    given: dict[str, object] = {"resolution": 8, "channels": None, "fit": "crop", "background": "white"}
    with pytest.raises(UsageError, match=message):
        parse_framing(**(given | options))  # type: ignore[arg-type]


def test_a_failing_disk_is_not_a_bad_image() -> None:
    def fail() -> bytes:
        raise OSError(5, "Input/output error", "a.png")

    with pytest.raises(UsageError, match=r"cannot read a\.png"):
        prepare(fail, parse_framing(8, None, "crop", "white"))


def test_the_upright_size_is_read_from_the_head(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a.jpg", "a.png", "a.tif", "a.webp"):
        path = stored(tmp_path, Image.new("L", (30, 20)), name, exif=exif)
        assert upright_size(path.read_bytes) == (20, 30)
        assert upright_size(stored(tmp_path, Image.new("L", (30, 20)), name).read_bytes) == (30, 20)
    jpeg = stored(tmp_path, Image.new("L", (300, 200)), "a.jpg").read_bytes()
    assert upright_size(lambda: jpeg[:-200]) == (300, 200)  # no pixel is decoded
    with pytest.raises(UnreadableError):
        upright_size(lambda: b"nothing")
