"""One image, from its file to the run's pixels: oriented, flattened, fitted, in the right mode at every step."""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from equipoise.errors import UsageError

Fit = Literal["crop", "pad", "stretch"]
Pixels = NDArray[np.uint8]

FITS: tuple[Fit, ...] = ("crop", "pad", "stretch")
LARGEST_SIDE = 8192  # of a run's images, in pixels
GRAY_MODES = ("1", "L")
DEEP_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")  # gray, of more than 8 bits
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "AVIF", "TGA", "ICO", "PCX")
PER_FILE = (None, errno.EACCES, errno.EPERM, errno.ENOENT, errno.EISDIR, errno.ELOOP)  # other errors are the disk's


class UnreadableError(ValueError):
    """One image cannot be used; the message is the reason, fit to stand behind the image's name."""


class Prepared(NamedTuple):
    """An image as the run needs it, and what it was."""

    pixels: Pixels  # (C, H, W)
    size: tuple[int, int]  # (width, height) in the file
    mode: str  # Pillow's name of its pixel format


@dataclass(frozen=True)
class Framing:
    """The shape that every image takes, and how."""

    height: int
    width: int
    channels: int | None  # 1, 3, or None: 1 for an image without colour, else 3
    fit: Fit
    background: tuple[int, int, int]  # RGB behind transparent pixels and around padded images

    @property
    def mode(self) -> str | None:
        """Pillow's mode before fitting, or None to keep gray images gray."""
        if self.channels is not None:
            return "L" if self.channels == 1 else "RGB"
        return "RGB" if self.fit == "pad" and len(set(self.background)) > 1 else None


def frame(resolution: int, channels: int | None, fit: str, background: str) -> Framing:
    """Check the options and make the frame of square images.

    Raises:
        UsageError: an option is not one of those offered.
    """
    if not 1 <= resolution <= LARGEST_SIDE:
        raise UsageError(f"the resolution must be from 1 to {LARGEST_SIDE} pixels, not {resolution}")
    if channels not in (None, 1, 3):
        raise UsageError(f"channels must be 1 (gray), 3 (RGB) or left out to follow the images, not {channels}")
    known = [known for known in FITS if known == fit]
    if not known:
        raise UsageError(f"fit must be one of {', '.join(FITS)}, not {fit!r}")
    try:
        red, green, blue = ImageColor.getrgb(background)[:3]
    except (ValueError, AttributeError) as error:
        raise UsageError(f"{background!r} is no colour: give a name such as white, or #rrggbb") from error
    return Framing(resolution, resolution, channels, known[0], (red, green, blue))


def prepare(opened: Callable[[], Image.Image], framing: Framing, ground: str | None = None) -> Prepared:
    """Open one image and bring it into the frame.

    `ground` is the colour that already surrounds the image, if there is one: see `_fitted`.

    Raises:
        UnreadableError: this image is damaged, absurdly large or of an unknown kind.
        UsageError: the disk fails, which says nothing about the image.
    """
    try:
        with opened() as image:
            size, mode = image.size, image.mode
            _check_size(size)
            image.draft(None, (2 * max(framing.height, framing.width),) * 2)  # JPEG: decode no larger than twice that
            return Prepared(_to_array(_fitted(_flat(_upright(image), framing), framing, ground), framing), size, mode)
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


def _check_size(size: tuple[int, int]) -> None:
    width, height = size
    if not width * height:
        raise UnreadableError("has no pixels")
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise UnreadableError(f"{width}x{height} is more than the {Image.MAX_IMAGE_PIXELS} pixels that are decoded")


def _upright(image: Image.Image) -> Image.Image:
    """Load `image` and turn it as its EXIF orientation says, where that can be read."""
    image.load()
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:
        return image  # the pixels are whole, only the metadata is not
    return image


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
    values = np.asarray(image).astype(np.float64)
    top = 1.0 if image.mode == "F" else 65535.0
    if not (values.min() >= 0 and values.max() <= top):
        raise UnreadableError(f"values from {values.min():g} to {values.max():g}, beyond [0, {top:g}]")
    return Image.fromarray(np.rint(values * (255 / top)).astype(np.uint8))


def _fitted(image: Image.Image, framing: Framing, ground: str | None) -> Image.Image:
    """Resize to the frame by `fit`; but an image on a plain `ground` at most 1/7 short of it is padded, not blurred."""
    (width, height), (to_width, to_height) = image.size, (framing.width, framing.height)
    if (width, height) == (to_width, to_height):
        return image
    if ground is not None and width <= to_width <= width * 8 / 7 and height <= to_height <= height * 8 / 7:
        return _centred(image, framing, ground)
    if framing.fit == "stretch":
        return _resized(image, to_width, to_height)
    if framing.fit == "crop":
        scale = min(width / to_width, height / to_height)
        left, top = max(0.0, width - to_width * scale) / 2, max(0.0, height - to_height * scale) / 2
        return _resized(image, to_width, to_height, (left, top, width - left, height - top))
    scale = min(to_width / width, to_height / height)
    inner = _resized(image, max(1, round(width * scale)), max(1, round(height * scale)))
    return _centred(inner, framing, "#{:02x}{:02x}{:02x}".format(*framing.background))


def _resized(
    image: Image.Image, width: int, height: int, box: tuple[float, float, float, float] | None = None
) -> Image.Image:
    return image.resize((width, height), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)


def _centred(image: Image.Image, framing: Framing, colour: str) -> Image.Image:
    canvas = Image.new(image.mode, (framing.width, framing.height), colour)
    canvas.paste(image, ((framing.width - image.width) // 2, (framing.height - image.height) // 2))
    return canvas


def _to_array(image: Image.Image, framing: Framing) -> Pixels:
    pixels = np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)
    if (
        framing.channels is None
        and len(pixels) == 3
        and (pixels[0] == pixels[1]).all()
        and (pixels[0] == pixels[2]).all()
    ):
        return pixels[:1]
    return pixels
