"""One image, from its file to the run's pixels: decoded, made opaque and 8 bits deep, fitted, turned upright."""

import errno
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from equipoise.data.digests import Stored, content_digest
from equipoise.data.formats import HEAD, missing_plugin, readable_formats
from equipoise.data.framing import Framing
from equipoise.data.png import without_texts
from equipoise.data.sizes import Size
from equipoise.devices import available_cores
from equipoise.errors import UsageError, reason

Pixels = NDArray[np.uint8]
Result = TypeVar("Result")

GRAY_MODES = ("1", "L")
SHALLOW = {"L;2": 85, "L;4": 17}  # factors by which Pillow brings gray of 2 and 4 bits to 8
DEEP_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")  # gray, of more than 8 bits
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
DENIED, NO_FILE = (errno.EACCES, errno.EPERM), (errno.ENOENT, errno.EISDIR, errno.ENOTDIR)
FILE_ERRORS = (None, *DENIED, *NO_FILE, errno.ELOOP, errno.ENAMETOOLONG)  # others are the disk's
MAX_WORKERS = 16


class UnreadableError(ValueError):
    """An image that cannot be used; the message is the reason, fit to stand behind the image's name."""


class Prepared(NamedTuple):
    """An image as the run needs it, and facts of its file."""

    pixels: Pixels  # (C, H, W)
    size: Size  # (width, height) in the file
    mode: str  # Pillow's name of the file's pixel format
    digest: int  # of the stored bytes, whatever the framing; see `content_digest`
    peak: int | None = None  # the largest value of a gray image of 16 bits


def prepare(read: Callable[[], Stored], framing: Framing) -> Prepared:
    """Read one image, decode it and bring it into the frame.

    Args:
        read: gives the image as it is stored.
        framing: the shape to bring it to.

    Raises:
        UnreadableError: this image is damaged, absurdly large or of an unknown kind.
        UsageError: the disk fails, which says nothing about the image.
    """
    with _classified_errors():
        stored = read()
        prepared = _with_or_without_texts(stored, lambda file: _prepare(file, framing))
        return prepared._replace(digest=content_digest(stored))


def _prepare(stored: Stored, framing: Framing) -> Prepared:
    with _open(stored) as image:
        size, mode = image.size, image.mode
        _check_size(size, framing.crop or 1)
        # A JPEG can be decoded to 1/2, 1/4 or 1/8 of its size, which saves most of the work on large photos. Twice the
        # frame is left, so that resampling still decides on the result. The box is what is then left of the image, in
        # fractions of pixels. A square to crop is counted in the pixels of the whole image, so that is decoded.
        draft = None if framing.crop else image.draft(None, (2 * max(framing.height, framing.width),) * 2)
        image.load()
        # The image is turned upright after it was fitted, since a small image is turned faster; so one that lies on its
        # side is fitted to a frame that does, too.
        transpose = _upright_transpose(image)
        upright = framing.transposed() if transpose in QUARTER_TURNS else framing
        peak = int(np.asarray(image).max()) if image.mode in DEEP_MODES and image.mode != "F" else None
        flat = _flatten(_crop(image, framing.crop) if framing.crop else image, framing)
        width, height = draft[1][2:] if draft else flat.size
        fitted = _fit(flat, width, height, upright)
        fitted = fitted if transpose is None else fitted.transpose(transpose)
        pixels = np.atleast_3d(np.asarray(fitted)).transpose(2, 0, 1)
        if framing.channels is None and bool((pixels == pixels[:1]).all()):
            pixels = pixels[:1]  # RGB in the file, but without colour
    return Prepared(pixels, size, mode, 0, peak)


def upright_size(read: Callable[[], Stored]) -> Size:
    """(width, height) of one image turned upright, of which only the head is read.

    Raises:
        UnreadableError, UsageError: as `prepare`.
    """

    def size_of(stored: Stored) -> Size:
        with _open(stored) as image:
            _check_size(image.size)
            width, height = image.size
            upright = width == height or image.format == "TIFF"  # of a TIFF, Pillow gives the upright size
            return (width, height) if upright or _upright_transpose(image) not in QUARTER_TURNS else (height, width)

    with _classified_errors():
        return _with_or_without_texts(read(), size_of)


def worker_count() -> int:
    """Threads for decoding: one for each core that this process may use."""
    return min(MAX_WORKERS, available_cores())


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Suppress Pillow's warnings on single images: what matters comes as a reason. For the main thread alone."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


@contextmanager
def _classified_errors() -> Iterator[None]:
    """Raise UnreadableError for the fault of one image, and UsageError for that of the disk."""
    try:
        yield
    except (UnreadableError, UsageError):
        raise
    except OSError as error:
        if error.errno not in FILE_ERRORS:
            raise UsageError(f"cannot read {error.filename or 'an image'}: {error.strerror}; try again") from error
        raise UnreadableError(reason(error)) from error
    except MemoryError as error:
        raise UsageError("there is no memory left to decode an image: end other programs, or use less") from error
    except Image.DecompressionBombError as error:  # by Pillow, from twice as many pixels on
        raise UnreadableError(
            f"has more than the {Image.MAX_IMAGE_PIXELS} pixels that are decoded: make it smaller"
        ) from error
    except Exception as error:  # damaged files raise nearly everything from within Pillow's decoders
        raise UnreadableError(f"damaged ({type(error).__name__}: {reason(error)})") from error


def _open(stored: Stored) -> Image.Image:
    """Open an image file, of which only the head is read by this, or an array."""
    if not isinstance(stored, bytes):
        return Image.fromarray(np.ascontiguousarray(stored))
    try:
        image = Image.open(BytesIO(stored), formats=readable_formats())
    except UnidentifiedImageError as error:
        plugin = missing_plugin(stored[:HEAD])
        if plugin is None:
            raise UnreadableError("not an image of a known kind") from error
        raise UnreadableError(f"{plugin.format}, which is read after `pip install {plugin.package}`") from error
    transparent, stored_as = image.info.get("transparency"), image.tile[0].args if image.tile else None
    if isinstance(transparent, int) and isinstance(stored_as, str):
        image.info["transparency"] = transparent * SHALLOW.get(stored_as, 1)  # which Pillow leaves at 2 or 4 bits
    return image


def _with_or_without_texts(stored: Stored, work: Callable[[Stored], Result]) -> Result:
    """`work` on an image, or if Pillow refuses a PNG for the size of its texts or its profile, on its pixels alone."""
    try:
        return work(stored)
    except ValueError:
        bare = without_texts(stored) if isinstance(stored, bytes) else None
        if bare is None:
            raise
        return work(bare)


def _check_size(size: Size, at_least: int = 1) -> None:
    """Refuse a size before anything is decoded: a file of some bytes can claim to hold terabytes of pixels."""
    width, height = size
    if not width * height:
        raise UnreadableError("has no pixels")
    if min(size) < at_least:
        raise UnreadableError(f"{width}x{height}, too small to crop {at_least}x{at_least} pixels of it")
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
        image = _shallow(image)
    transparent = image.info.get("transparency")
    if isinstance(transparent, tuple) and max(transparent) > 255:
        # Of colours of 16 bits Pillow keeps the upper 8, and of the transparent one among them all 16.
        image.info["transparency"] = tuple(value >> 8 for value in transparent)
    if image.has_transparency_data:
        # Transparent pixels have a colour too, often black, which must not shine through: alpha is blended over the
        # background before anything is resized.
        canvas = Image.new("RGBA", image.size, (*framing.background, 255))
        canvas.alpha_composite(image.convert("RGBA"))
        image = canvas.convert("RGB")
    if image.mode == "LAB":
        image = image.convert("RGB")  # Pillow converts it to nothing else
    mode = framing.mode or ("L" if image.mode in GRAY_MODES else "RGB")
    return image if image.mode == mode else image.convert(mode)


def _shallow(image: Image.Image) -> Image.Image:
    """Convert a gray image of more than 8 bits to L, or LA where one value is transparent."""
    # Pillow's own conversion would clip 16 bits to 255. Floats are taken to lie in [0, 1].
    values = np.asarray(image).astype(np.float32)
    top = 1.0 if image.mode == "F" else 65535.0
    if not (values.min() >= 0 and values.max() <= top):
        raise UnreadableError(f"values from {values.min():g} to {values.max():g}, beyond [0, {top:g}]")
    shallow = Image.fromarray(np.rint(values * (255 / top)).astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        shallow.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return shallow


def _crop(image: Image.Image, side: int) -> Image.Image:
    """The centred square of `side` pixels, whose corner is rounded down, so that no pixel is resampled."""
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _fit(image: Image.Image, width: float, height: float, framing: Framing) -> Image.Image:
    """Resize the first `width` x `height` pixels to the frame by `fit`.

    But an image with a plain `border` that falls short of the frame by a seventh or less is padded: a digit of 28
    pixels becomes 32 without being blurred.
    """
    to_width, to_height, border = framing.width, framing.height, framing.border
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
