"""A picture that a stranger sends: of three formats alone, bounded before anything is decoded."""

from io import BytesIO

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from equipoise.config.datasets import picture_framing
from equipoise.data.decode import UnreadableError, prepare
from equipoise.errors import reason
from equipoise.runs.run import Run
from equipoise.serving.refusal import Refusal

FORMATS = ("PNG", "JPEG", "WEBP")
SIGNS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")  # with which their files begin


def read_picture(data: bytes, run: Run, channels: int, most_pixels: int) -> Tensor:
    """A picture as the run sees it, turned upright and fitted as its own were: (1, C, H, W) uint8.

    Raises:
        Refusal: it is of another kind, moves, is too large, or damaged.
    """
    if not data.startswith(SIGNS):
        raise Refusal(415, "that is no PNG, JPEG or WebP: send a picture of one of these kinds")
    too_large = Refusal(413, f"the picture has more than {most_pixels:,} pixels: send a smaller one")
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:  # reads the head alone
            width, height = image.size
            # What cameras put behind a photograph, in one file (MPO), are previews of it.
            moves = bool(getattr(image, "is_animated", False)) and image.format != "MPO"
    except Image.DecompressionBombError as error:
        raise too_large from error
    except UnidentifiedImageError as error:  # whose message is of our buffer
        raise Refusal(415, "the picture cannot be read: send another") from error
    except Exception as error:  # damaged files raise nearly everything from within Pillow
        raise Refusal(415, f"the picture cannot be read ({reason(error)}): send another") from error
    if moves:
        raise Refusal(415, "the picture moves: send one that does not")
    if width * height > most_pixels:
        raise too_large
    framing = picture_framing(run.config, channels, run.place)
    try:
        prepared = prepare(lambda: data, framing)
    except UnreadableError as error:
        raise Refusal(415, f"the picture cannot be used: {error}") from error
    return torch.from_numpy(prepared.pixels.copy())[None]
