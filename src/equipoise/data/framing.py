"""Framing: the shape of a run's images, and how they are brought to it."""

from dataclasses import dataclass, replace
from typing import Literal, Self

from PIL import ImageColor

from equipoise.data.sizes import MAX_SIDE, parse_resolution
from equipoise.errors import UsageError, quoted

Fit = Literal["crop", "pad", "stretch"]

FITS: tuple[Fit, ...] = ("crop", "pad", "stretch")
YOUNGER = ("crop", "border")  # fields of Framing


@dataclass(frozen=True)
class Framing:
    """Shape of all images of a run, and how they are brought to it.

    Its repr is part of the cache keys of packed data and of the fingerprints of shards: a renamed field would make
    every image be packed again. So `crop` and `border`, which are younger, stand there only where they are set.
    """

    height: int
    width: int
    channels: int | None  # 1, 3, or None: 1 for an image without colour, else 3
    fit: Fit
    background: tuple[int, int, int]  # RGB behind transparent pixels and around padded images
    crop: int | None = None  # side in pixels of the centred square that is taken of each image first, or None for all
    border: str | None = None  # the plain colour that already surrounds every image, where it is known: see `decode`

    def __repr__(self) -> str:
        shown = [f"{name}={value!r}" for name, value in vars(self).items() if name not in YOUNGER or value is not None]
        return f"Framing({', '.join(shown)})"

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


def parse_framing(
    resolution: int | str,
    channels: int | None,
    fit: str,
    background: str,
    crop: int | None = None,
    border: str | None = None,
) -> Framing:
    """Framing of a run's images, from the options that a user gives, and from the data the `border` of its images.

    Raises:
        UsageError: an option is not one of those offered.
    """
    height, width = parse_resolution(resolution)
    if channels not in (None, 1, 3):
        raise UsageError(f"channels must be 1 (gray), 3 (RGB) or left out to follow the images, not {channels}")
    known = [known for known in FITS if known == fit]
    if not known:
        raise UsageError(f"fit must be one of {', '.join(FITS)}, not {quoted(fit)}")
    if crop is not None and not 1 <= crop <= MAX_SIDE:
        raise UsageError(f"crop must be the side of a square from 1 to {MAX_SIDE} pixels, not {crop}")
    try:
        red, green, blue = ImageColor.getrgb(background)[:3]
    except (ValueError, AttributeError) as error:
        raise UsageError(f"{quoted(background)} is no colour: give a name such as white, or #rrggbb") from error
    return Framing(height, width, channels, known[0], (red, green, blue), crop, border)
