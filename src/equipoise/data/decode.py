"""One image, from its file to the run's pixels: oriented, flattened, fitted, in the right mode at every step."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from io import BytesIO
from typing import Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageColor, UnidentifiedImageError

from equipoise.data.digests import Stored, content_digest
from equipoise.data.sizes import Size, parse_resolution
from equipoise.errors import UsageError

Fit = Literal["crop", "pad", "stretch"]
Pixels = NDArray[np.uint8]

FITS: tuple[Fit, ...] = ("crop", "pad", "stretch")
GRAY_MODES = ("1", "L")
DEEP_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")  # gray, of more than 8 bits
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "AVIF", "TGA", "ICO", "PCX")
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by EXIF orientation
SIDEWAYS = [TURNS[orientation] for orientation in (5, 6, 7, 8)]
PER_FILE = (None, errno.EACCES, errno.EPERM, errno.ENOENT, errno.EISDIR, errno.ELOOP)  # other errors are the disk's


class UnreadableError(ValueError):
    """One image cannot be used; the message is the reason, fit to stand behind the image's name."""


class Prepared(NamedTuple):
    """An image as the run needs it, and what it was."""

    pixels: Pixels  # (C, H, W)
    size: Size  # in the file
    mode: str  # Pillow's name of its pixel format
    digest: int  # of what is stored, whatever the frame; see `content_digest`


@dataclass(frozen=True)
class Framing:
    """The shape that every image takes, and how."""

    height: int
    width: int
    channels: int | None  # 1, 3, or None: 1 for an image without colour, else 3
    fit: Fit
    background: tuple[int, int, int]  # RGB behind transparent pixels and around padded images

    def turned(self) -> Self:
        """Exchange height and width."""
        return replace(self, height=self.width, width=self.height)

    @property
    def mode(self) -> str | None:
        """Pillow's mode before fitting, or None to keep gray images gray."""
        if self.channels is not None:
            return "L" if self.channels == 1 else "RGB"
        return "RGB" if self.fit == "pad" and len(set(self.background)) > 1 else None


def frame(resolution: int | str, channels: int | None, fit: str, background: str) -> Framing:
    """Check the options and make the frame of a run's images.

    Raises:
        UsageError: an option is not one of those offered.
    """
    height, width = parse_resolution(resolution)
    if channels not in (None, 1, 3):
        raise UsageError(f"channels must be 1 (gray), 3 (RGB) or left out to follow the images, not {channels}")
    known = [known for known in FITS if known == fit]
    if not known:
        raise UsageError(f"fit must be one of {', '.join(FITS)}, not {fit!r}")
    try:
        red, green, blue = ImageColor.getrgb(background)[:3]
    except (ValueError, AttributeError) as error:
        raise UsageError(f"{background!r} is no colour: give a name such as white, or #rrggbb") from error
    return Framing(height, width, channels, known[0], (red, green, blue))


def prepare(read: Callable[[], Stored], framing: Framing, ground: str | None = None) -> Prepared:
    """Read one image, decode it and bring it into the frame.

    `ground` is the colour that already surrounds the image, if there is one: see `_fitted`.

    Raises:
        UnreadableError: this image is damaged, absurdly large or of an unknown kind.
        UsageError: the disk fails, which says nothing about the image.
    """
    with _blamed():
        stored = read()
        with _opened(stored) as image:
            size, mode = image.size, image.mode
            return Prepared(_pixels(image, framing, ground), size, mode, content_digest(stored))


def upright_size(read: Callable[[], Stored]) -> Size:
    """Read the head of one image, and say its (width, height) once it is turned upright.

    Raises:
        UnreadableError, UsageError: as `prepare`.
    """
    with _blamed(), _opened(read()) as image:
        _check_size(image.size)
        width, height = image.size
        as_told = width == height or image.format == "TIFF"  # of which Pillow tells the upright size
        return (width, height) if as_told or _turn(image) not in SIDEWAYS else (height, width)


@contextmanager
def _blamed() -> Iterator[None]:
    """Say of what goes wrong with one image whether it is the image's fault or the disk's."""
    try:
        yield
    except (UnreadableError, UsageError):
        raise
    except UnidentifiedImageError as error:
        raise UnreadableError("not an image of a known kind") from error
    except OSError as error:
        if error.errno not in PER_FILE:
            raise UsageError(f"cannot read {error.filename or 'an image'}: {error.strerror}; try again") from error
        raise UnreadableError(error.strerror or str(error)) from error
    except Exception as error:  # damaged files raise nearly everything from within Pillow's decoders
        raise UnreadableError(f"damaged ({type(error).__name__}: {error})") from error


@lru_cache(maxsize=1)
def readable_formats() -> tuple[str, ...]:
    """Name the formats to offer `Image.open`: plain images only, none that runs another program."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _opened(stored: Stored) -> Image.Image:
    """Open an image file, of which only the head is read by this, or an array."""
    if isinstance(stored, bytes):
        return Image.open(BytesIO(stored), formats=readable_formats())
    return Image.fromarray(np.ascontiguousarray(stored))


def _check_size(size: Size) -> None:
    width, height = size
    if not width * height:
        raise UnreadableError("has no pixels")
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise UnreadableError(f"{width}x{height} is more than the {Image.MAX_IMAGE_PIXELS} pixels that are decoded")


def _pixels(image: Image.Image, framing: Framing, ground: str | None) -> Pixels:
    _check_size(image.size)
    drafted = image.draft(None, (2 * max(framing.height, framing.width),) * 2)  # a JPEG decodes to no less than that
    image.load()
    width, height = drafted[1][2:] if drafted else image.size
    turn = _turn(image)
    fitted = _fitted(_flat(image, framing), width, height, framing.turned() if turn in SIDEWAYS else framing, ground)
    return _to_array(fitted if turn is None else fitted.transpose(turn), framing)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Say how to turn a loaded image upright, by its EXIF orientation where that can be read."""
    try:
        return TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return None  # the pixels are whole, only the metadata is not


def _flat(image: Image.Image, framing: Framing) -> Image.Image:
    """Bring any mode to L or RGB, 8 bits and opaque."""
    if image.mode in DEEP_MODES:
        image = _eight_bits(image)
    elif image.has_transparency_data:
        canvas = Image.new("RGBA", image.size, (*framing.background, 255))
        canvas.alpha_composite(image.convert("RGBA"))
        image = canvas.convert("RGB")
    mode = framing.mode or ("L" if image.mode in GRAY_MODES else "RGB")
    return image if image.mode == mode else image.convert(mode)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale integers from [0, 65535] and floats from [0, 1] to 8 bits, rounded."""
    values = np.asarray(image).astype(np.float32)
    top = 1.0 if image.mode == "F" else 65535.0
    if not (values.min() >= 0 and values.max() <= top):
        raise UnreadableError(f"values from {values.min():g} to {values.max():g}, beyond [0, {top:g}]")
    return Image.fromarray(np.rint(values * (255 / top)).astype(np.uint8))


def _fitted(image: Image.Image, width: float, height: float, framing: Framing, ground: str | None) -> Image.Image:
    """Resize the first `width` x `height` pixels to the frame by `fit`.

    But an image on a plain `ground` that falls short of the frame by a seventh or less is padded, not blurred.
    """
    to_width, to_height = framing.width, framing.height
    if image.size == (width, height) == (to_width, to_height):
        return image
    if ground is not None and width <= to_width <= width * 8 / 7 and height <= to_height <= height * 8 / 7:
        return _centred(image, framing, ground)
    if framing.fit == "stretch":
        return _resized(image, to_width, to_height, (0, 0, width, height))
    if framing.fit == "crop":
        scale = min(width / to_width, height / to_height)
        left, top = max(0.0, width - to_width * scale) / 2, max(0.0, height - to_height * scale) / 2
        return _resized(image, to_width, to_height, (left, top, width - left, height - top))
    scale = min(to_width / width, to_height / height)
    inner = _resized(image, max(1, round(width * scale)), max(1, round(height * scale)), (0, 0, width, height))
    return _centred(inner, framing, "#{:02x}{:02x}{:02x}".format(*framing.background))


def _resized(image: Image.Image, width: int, height: int, box: tuple[float, float, float, float]) -> Image.Image:
    return image.resize((width, height), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)


def _centred(image: Image.Image, framing: Framing, colour: str) -> Image.Image:
    canvas = Image.new(image.mode, (framing.width, framing.height), colour)
    canvas.paste(image, ((framing.width - image.width) // 2, (framing.height - image.height) // 2))
    return canvas


def _to_array(image: Image.Image, framing: Framing) -> Pixels:
    pixels = np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)
    colourless = bool((pixels == pixels[:1]).all())
    return pixels[:1] if colourless and framing.channels is None else pixels
