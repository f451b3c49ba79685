"""The extractor `pixels`: the images themselves, for a score that rests on no network."""

from pathlib import Path

import torch
from torch import Tensor, nn

from equipoise.errors import UsageError
from equipoise.metrics.features.extractor import Extractor
from equipoise.metrics.features.resize import area

MAX_VALUES = 12_288  # of an image that is taken as it is: 64x64 in colour
SIDE = 64  # to which larger images are shrunk


class _Flat(nn.Module):
    def forward(self, pixels: Tensor) -> tuple[Tensor, None]:
        return pixels.flatten(1), None


def pixels(file: Path | None, device: torch.device, shape: tuple[int, int, int]) -> Extractor:
    """The extractor for images of one shape, (C, H, W).

    Raises:
        UsageError: a weights file is given; the extractor is called with images of another shape.
    """
    if file is not None:
        raise UsageError("the extractor pixels has no weights: leave the file out")
    channels, height, width = shape
    small = channels * height * width <= MAX_VALUES
    to_height, to_width = (height, width) if small else (min(height, SIDE), min(width, SIDE))

    def prepare(images: Tensor) -> Tensor:
        if images.shape[1:] != shape:
            raise UsageError(f"pixels are of {shape} images here, not of {tuple(images.shape[1:])}: use one shape")
        values = images.float() if small else area(images.float(), to_height, to_width)
        return values / 127.5 - 1

    return Extractor(
        name="pixels",
        size=channels * to_height * to_width,
        classes=None,
        identity="none",
        preprocessing=("" if small else f"mean over areas to {to_width}x{to_height}, ") + "x / 127.5 - 1",
        prepare=prepare,
        network=_Flat().eval(),
        device=device,
    )
