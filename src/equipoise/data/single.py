"""One image by itself, brought into a frame as those of a whole set are."""

from pathlib import Path

from equipoise.data.decode import Fit, Pixels, UnreadableError, frame, prepare
from equipoise.data.sources.base import reading
from equipoise.data.sources.files import read_file
from equipoise.errors import UsageError


def read_image(
    path: Path, resolution: int | str, *, channels: int | None = None, fit: Fit = "crop", background: str = "white"
) -> Pixels:
    """Read an image file as uint8 (C, H, W); the options are those of `open_images`.

    Raises:
        UsageError: an option is wrong, or the file is missing, no image, or damaged.
    """
    framing = frame(resolution, channels, fit, background)
    with reading(path):
        stored = read_file(path)
    try:
        return prepare(lambda: stored, framing).pixels
    except UnreadableError as error:
        raise UsageError(f"cannot read {path}: {error}; give another image") from error
