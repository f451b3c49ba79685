"""What every feature extractor is: a network in eval mode behind the preprocessing that it was trained with."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from equipoise.errors import UsageError

TOGETHER = 50  # images in one pass
VALUES = 2**25  # of the images in one pass, at most: 128 MiB as float32


class Features(NamedTuple):
    """What an extractor makes of N images; on the CPU.

    Attributes:
        vectors: (N, K) float32.
        probabilities: (N, T) float32, each row summing to 1, for extractors that classify; else None.
    """

    vectors: Tensor
    probabilities: Tensor | None


@dataclass(frozen=True)
class Extractor:
    """A function from images to features, and all that a score must say of it.

    Attributes:
        name: as in EXTRACTORS.
        size: K.
        classes: T, or None.
        identity: the first 16 hexadecimal digits of the sha256 of the weights' file; "none" without weights.
        preprocessing: what is done to an image first, in one line.
        prepare: that, from uint8 (n, 1 or 3, H, W).
        network: from prepared images to vectors, (n, K), and logits, (n, T) or None; in eval mode.
        device: where the network is.
    """

    name: str
    size: int
    classes: int | None
    identity: str
    preprocessing: str
    prepare: Callable[[Tensor], Tensor] = field(repr=False, compare=False)
    network: nn.Module = field(repr=False, compare=False)
    device: torch.device = field(repr=False, compare=False)

    def __call__(self, images: Tensor) -> Features:
        """Extract the features of uint8 (N, C, H, W) images, C = 1 or 3, on any device; N may be 0.

        They are computed in float32 whatever the caller's autocast or TF32. An image's own do not depend on the others
        beside it, but for rounding; they have the same bits if it is the nth of a call again, modulo TOGETHER.

        Raises:
            UsageError: the images are of another type or shape.
        """
        _check(images)
        if not len(images):
            return Features(torch.empty(0, self.size), None if self.classes is None else torch.empty(0, self.classes))
        each = images[0].numel()
        parts = [self._pass(part) for part in torch.split(images, min(TOGETHER, max(1, VALUES // each)))]
        vectors = torch.cat([vectors for vectors, _ in parts])
        logits = [logits for _, logits in parts if logits is not None]
        return Features(vectors, torch.cat(logits).softmax(dim=1) if logits else None)

    def _pass(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        assert not self.network.training  # noqa: S101
        with torch.inference_mode(), _float32(self.device):
            vectors, logits = self.network(self.prepare(images.to(self.device)))
        return vectors.cpu(), None if logits is None else logits.cpu()


def _check(images: Tensor) -> None:
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


@contextmanager
def _float32(device: torch.device) -> Iterator[None]:
    """No autocast, and no TF32 in products and convolutions, which would move features by a thousandth."""
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
