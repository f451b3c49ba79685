"""The only conversions between stored bytes in [0, 255] and what networks compute with, in [-1, 1]."""

import torch
from torch import Tensor


def normalise(images: Tensor) -> Tensor:
    """Map uint8 images of any shape in [0, 255] to float32 in [-1, 1], as x / 127.5 - 1; floats are that already."""
    return images if images.is_floating_point() else images.float().div_(127.5).sub_(1.0)


def channels_last(images: Tensor) -> Tensor:
    """The same images (N, C, H, W), with the channels of a pixel next to each other in memory."""
    # Stacking the planes while they are bytes, a quarter of what floats would be, is the quickest way by far.
    return torch.stack(images.unbind(1), -1).movedim(-1, 1)


def to_uint8(images: Tensor) -> Tensor:
    """Map float images of any shape, nominally in [-1, 1], to uint8 in [0, 255]: clamped, rounded, NaN as 0.

    The inverse of `normalise`, exact for all 256 values.
    """
    values = (images.detach().float() + 1.0) * 127.5
    return values.nan_to_num(nan=0.0).clamp(0.0, 255.0).round().to(torch.uint8)
