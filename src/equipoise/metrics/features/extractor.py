"""What every feature extractor is: a network in evaluation mode behind the preprocessing that it was trained with."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from equipoise.errors import UsageError

MAX_VALUES = 2**25  # of the images in one pass: 128 MiB as float32


class Features(NamedTuple):
    """Features of N images; on the CPU.

    Attributes:
        vectors: (N, K) float32.
        probabilities: (N, T) float32, each row summing to 1, for extractors that classify; else None.
    """

    vectors: Tensor
    probabilities: Tensor | None


@dataclass(frozen=True)
class Extractor:
    """A function from images to features, and all that a score's protocol says of it.

    Attributes:
        name: as in EXTRACTORS.
        size: K.
        classes: T, or None.
        identity: the first 16 hexadecimal digits of the sha256 of the weights' file; "none" without weights.
        preprocessing: what is done to an image first, in one line.
        prepare: the preprocessing, from uint8 (n, 1 or 3, H, W).
        network: from prepared images to vectors, (n, K), and logits, (n, T) or None; in eval mode.
        device: where the network is.
        batch: number of images in one pass, if they are not too large.
    """

    name: str
    size: int
    classes: int | None
    identity: str
    preprocessing: str
    prepare: Callable[[Tensor], Tensor] = field(repr=False, compare=False)
    network: nn.Module = field(repr=False, compare=False)
    device: torch.device = field(repr=False, compare=False)
    batch: int = field(default=50, repr=False, compare=False)

    def __call__(self, images: Tensor) -> Features:
        """Features of uint8 (N, C, H, W) images, C = 1 or 3, on any device; N may be 0.

        They are computed in float32 whatever the caller's autocast or TF32. An image's features do not depend on the
        other images but for rounding; they have the same bits if it stands at the same place of a batch again.

        Raises:
            UsageError: the images are of another type or shape.
        """
        if (
            images.dtype != torch.uint8
            or images.dim() != 4
            or images.shape[1] not in (1, 3)
            or not images.shape[2:].numel()
        ):
            raise UsageError(
                f"features are of uint8 images, (N, 1 or 3, H, W), not of {images.dtype} {tuple(images.shape)}: "
                "convert them first"
            )
        if not len(images):
            return Features(torch.empty(0, self.size), None if self.classes is None else torch.empty(0, self.classes))
        assert not self.network.training  # noqa: S101
        size = min(self.batch, max(1, MAX_VALUES // images[0].numel()))
        vectors, logits = [], []
        with torch.inference_mode(), _float32(self.device):
            for part in torch.split(images, size):
                outputs = self.network(self.prepare(part.to(self.device)))
                vectors.append(outputs[0].cpu())
                if outputs[1] is not None:
                    logits.append(outputs[1].cpu())
        return Features(torch.cat(vectors), torch.cat(logits).softmax(dim=1) if logits else None)


@contextmanager
def _float32(device: torch.device) -> Iterator[None]:
    """Float32 throughout: no autocast, and no TF32, whose ten bits would move features by a thousandth.

    Convolutions are deterministic, so that the same images have the same scores again.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with (
            torch.autocast(device.type, enabled=False),
            torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, deterministic=True, allow_tf32=False),
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
