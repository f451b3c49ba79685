"""Feature extractors by name. Every score of images rests on one of them, and names it."""

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

import torch

from equipoise.errors import UsageError, quoted
from equipoise.metrics.features.clip import clip
from equipoise.metrics.features.digits import digits
from equipoise.metrics.features.dinov2 import SIZES, dinov2
from equipoise.metrics.features.effnet import effnet_lite0
from equipoise.metrics.features.extractor import Extractor, Features
from equipoise.metrics.features.inception import inception
from equipoise.metrics.features.pixels import pixels
from equipoise.metrics.features.sscd import sscd

__all__ = ["EXTRACTORS", "Extractor", "Features", "load_extractor"]

EXTRACTORS: dict[str, Callable[[Path | None, torch.device, tuple[int, int, int]], Extractor]] = {
    "inception": inception,
    **{f"dinov2-{variant}": dinov2(variant) for variant in SIZES},
    "clip-vitl14-336": clip,
    "effnet-lite0": effnet_lite0,
    "sscd": sscd,
    "digits": digits,
    "pixels": pixels,
}
"""By name: from a file of weights, or None for the usual one, the device and the images' (C, H, W) to an extractor."""


def load_extractor(
    name: str, *, file: Path | None = None, device: str | torch.device = "cpu", shape: tuple[int, int, int]
) -> Extractor:
    """Feature extractor by its name.

    Args:
        name: of EXTRACTORS.
        file: its weights, if not those in the usual place.
        device: where it computes.
        shape: (C, H, W) of the images; only `pixels` depends on it.

    Raises:
        UsageError: there is no such extractor, a package is missing, or the weights are missing, damaged or of others.
    """
    if name not in EXTRACTORS:
        similar = get_close_matches(name, EXTRACTORS, n=3, cutoff=0.5)  # of dinov2 all three sizes
        hint = f"did you mean {' or '.join(similar)}?" if similar else f"choose from {', '.join(EXTRACTORS)}"
        raise UsageError(f"there is no feature extractor {quoted(name)}: {hint}")
    return EXTRACTORS[name](file, torch.device(device), shape)
