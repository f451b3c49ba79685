"""One image, from its file to the run's pixels: decoded, made opaque and 8 bits deep, fitted, turned upright."""

import errno
import os
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
from equipoise.errors import UsageError, quoted, reason

Fit = Literal["crop", "pad", "stretch"]
Pixels = NDArray[np.uint8]

FITS: tuple[Fit, ...] = ("crop", "pad", "stretch")
GRAY_MODES = ("1", "L")
DEEP_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")  # gray, of more than 8 bits
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "AVIF", "TGA", "ICO", "PCX")
TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by EXIF orientation
QUARTER_TURNS = [TRANSPOSES[orientation] for orientation in (5, 6, 7, 8)]
FILE_ERRORS = (None, errno.EACCES, errno.EPERM, errno.ENOENT, errno.EISDIR, errno.ELOOP)  # others are the disk's
MAX_WORKERS = 16


class UnreadableError(ValueError):
    """An image that cannot be used; the message is the reason, fit to stand behind the image's name."""


class Prepared(NamedTuple):
    """An image as the run needs it, and facts of its file."""

    pixels: Pixels  # (C, H, W)
    size: Size  # (width, height) in the file
    mode: str  # Pillow's name of the file's pixel format
    digest: int  # of the stored bytes, whatever the framing; see `content_digest`


@dataclass(frozen=True)
class Framing:
    """Shape of all images of a run, and how they are brought to it.

    Its repr is part of the cache keys of packed data and of the fingerprints of shards: a renamed field would make
    every image be packed again.
    """

    height: int
    width: int
    channels: int | None  # 1, 3, or None: 1 for an image without colour, else 3
    fit: Fit
    background: tuple[int, int, int]  # RGB behind transparent pixels and around padded images

    def transposed(self) -> Self:
        """The same with height and width exchanged."""
        return replace(self, height=self.width, width=self.height)

    @property
    def mode(self) -> str | None:
        """Pillow's mode before fitting, or None to keep gray images gray."""
        if self.channels is not None:
            return "L" if self.channels == 1 else "RGB"
        # A gray image padded by a colour has colour.
        return "RGB" if self.fit == "pad" and len(set(self.background)) > 1 else None


def parse_framing(resolution: int | str, channels: int | None, fit: str, background: str) -> Framing:
    """Framing of a run's images, from the options that a user gives.

    Raises:
        UsageError: an option is not one of those offered.
    """
    height, width = parse_resolution(resolution)
    if channels not in (None, 1, 3):
        raise UsageError(f"channels must be 1 (gray), 3 (RGB) or left out to follow the images, not {channels}")
    known = [known for known in FITS if known == fit]
    if not known:
        raise UsageError(f"fit must be one of {', '.join(FITS)}, not {quoted(fit)}")
    try:
        red, green, blue = ImageColor.getrgb(background)[:3]
    except (ValueError, AttributeError) as error:
        raise UsageError(f"{quoted(background)} is no colour: give a name such as white, or #rrggbb") from error
    return Framing(height, width, channels, known[0], (red, green, blue))


def prepare(read: Callable[[], Stored], framing: Framing, border: str | None = None) -> Prepared:
    """Read one image, decode it and bring it into the frame.

    Args:
        read: gives the image as it is stored.
        framing: the shape to bring it to.
        border: the plain colour that already surrounds the image, if there is one: see `_fit`.

    Raises:
        UnreadableError: this image is damaged, absurdly large or of an unknown kind.
        UsageError: the disk fails, which says nothing about the image.
    """
    with _classified_errors():
        stored = read()
        with _open(stored) as image:
            size, mode = image.size, image.mode
            _check_size(size)
            # A JPEG can be decoded to 1/2, 1/4 or 1/8 of its size, which saves most of the work on large photos. Twice
            # the frame is left, so that resampling still decides on the result. The box is what is then left of the
            # image, in fractions of pixels.
            draft = image.draft(None, (2 * max(framing.height, framing.width),) * 2)
            image.load()
            width, height = draft[1][2:] if draft else image.size
            # The image is turned upright after it was fitted, since a small image is turned faster; so one that lies
            # on its side is fitted to a frame that does, too.
            transpose = _upright_transpose(image)
            upright = framing.transposed() if transpose in QUARTER_TURNS else framing
            fitted = _fit(_flatten(image, framing), width, height, upright, border)
            fitted = fitted if transpose is None else fitted.transpose(transpose)
            pixels = np.atleast_3d(np.asarray(fitted)).transpose(2, 0, 1)
            if framing.channels is None and bool((pixels == pixels[:1]).all()):
                pixels = pixels[:1]  # RGB in the file, but without colour
        return Prepared(pixels, size, mode, content_digest(stored))


def upright_size(read: Callable[[], Stored]) -> Size:
    """(width, height) of one image turned upright, of which only the head is read.

    Raises:
        UnreadableError, UsageError: as `prepare`.
    """
    with _classified_errors(), _open(read()) as image:
        _check_size(image.size)
        width, height = image.size
        upright = width == height or image.format == "TIFF"  # of a TIFF, Pillow gives the upright size
        return (width, height) if upright or _upright_transpose(image) not in QUARTER_TURNS else (height, width)


def worker_count() -> int:
    """Threads for decoding: one for each core that this process may use, which in a container are not all."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MAX_WORKERS, cores)


@contextmanager
def _classified_errors() -> Iterator[None]:
    """Raise UnreadableError for the fault of one image, and UsageError for that of the disk."""
    try:
        yield
    except (UnreadableError, UsageError):
        raise
    except UnidentifiedImageError as error:
        raise UnreadableError("not an image of a known kind") from error
    except OSError as error:
        if error.errno not in FILE_ERRORS:
            raise UsageError(f"cannot read {error.filename or 'an image'}: {error.strerror}; try again") from error
        raise UnreadableError(reason(error)) from error
    except Exception as error:  # damaged files raise nearly everything from within Pillow's decoders
        raise UnreadableError(f"damaged ({type(error).__name__}: {reason(error)})") from error


@lru_cache(maxsize=1)
def readable_formats() -> tuple[str, ...]:
    """Formats to offer `Image.open`: plain images only, none that runs another program (as EPS does)."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _open(stored: Stored) -> Image.Image:
    """Open an image file, of which only the head is read by this, or an array."""
    if isinstance(stored, bytes):
        return Image.open(BytesIO(stored), formats=readable_formats())
    return Image.fromarray(np.ascontiguousarray(stored))


def _check_size(size: Size) -> None:
    """Refuse a size before anything is decoded: a file of some bytes can claim to hold terabytes of pixels."""
    width, height = size
    if not width * height:
        raise UnreadableError("has no pixels")
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise UnreadableError(f"{width}x{height} is more than the {Image.MAX_IMAGE_PIXELS} pixels that are decoded")


def _upright_transpose(image: Image.Image) -> Image.Transpose | None:
    """Transposition that turns a loaded image upright, by its EXIF orientation where that can be read."""
    try:
        return TRANSPOSES.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return None  # the pixels are whole, only the metadata is not


def _flatten(image: Image.Image, framing: Framing) -> Image.Image:
    """Convert an image of any mode to L or RGB: 8 bits and opaque."""
    if image.mode in DEEP_MODES:
        # Pillow's own conversion would clip 16 bits to 255. Floats are taken to lie in [0, 1].
        values = np.asarray(image).astype(np.float32)
        top = 1.0 if image.mode == "F" else 65535.0
        if not (values.min() >= 0 and values.max() <= top):
            raise UnreadableError(f"values from {values.min():g} to {values.max():g}, beyond [0, {top:g}]")
        image = Image.fromarray(np.rint(values * (255 / top)).astype(np.uint8))
    elif image.has_transparency_data:
        # Transparent pixels have a colour too, often black, which must not shine through: alpha is blended over the
        # background before anything is resized.
        canvas = Image.new("RGBA", image.size, (*framing.background, 255))
        canvas.alpha_composite(image.convert("RGBA"))
        image = canvas.convert("RGB")
    mode = framing.mode or ("L" if image.mode in GRAY_MODES else "RGB")
    return image if image.mode == mode else image.convert(mode)


def _fit(image: Image.Image, width: float, height: float, framing: Framing, border: str | None) -> Image.Image:
    """Resize the first `width` x `height` pixels to the frame by `fit`.

    But an image with a plain `border` that falls short of the frame by a seventh or less is padded: a digit of 28
    pixels becomes 32 without being blurred.
    """
    to_width, to_height = framing.width, framing.height
    if image.size == (width, height) == (to_width, to_height):
        return image
    if border is not None and width <= to_width <= width * 8 / 7 and height <= to_height <= height * 8 / 7:
        return _centre(image, framing, border)
    if framing.fit == "stretch":
        return _resize(image, to_width, to_height, (0, 0, width, height))
    if framing.fit == "crop":
        scale = min(width / to_width, height / to_height)
        left, top = max(0.0, width - to_width * scale) / 2, max(0.0, height - to_height * scale) / 2
        return _resize(image, to_width, to_height, (left, top, width - left, height - top))
    scale = min(to_width / width, to_height / height)
    inner = _resize(image, max(1, round(width * scale)), max(1, round(height * scale)), (0, 0, width, height))
    return _centre(inner, framing, "#{:02x}{:02x}{:02x}".format(*framing.background))


def _resize(image: Image.Image, width: int, height: int, box: tuple[float, float, float, float]) -> Image.Image:
    # Pillow's Lanczos filter widens with the reduction, so that nothing aliases. `reducing_gap` averages blocks of
    # whole pixels first, down to three times the size, which is quicker and looks the same.
    return image.resize((width, height), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)


def _centre(image: Image.Image, framing: Framing, colour: str) -> Image.Image:
    canvas = Image.new(image.mode, (framing.width, framing.height), colour)
    canvas.paste(image, ((framing.width - image.width) // 2, (framing.height - image.height) // 2))
    return canvas
