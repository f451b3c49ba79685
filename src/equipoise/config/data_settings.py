"""The settings that say what a run is trained on: `DataSettings`, the first part of a `TrainConfig`."""

import os
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from equipoise.config.numbers import Count, HeldOutShare, Resolution
from equipoise.data import TOYS, Fit, Toy, as_text, parse_resolution
from equipoise.data.sizes import MAX_SIDE

Crop = Annotated[Count, Field(le=MAX_SIDE)]
"""Side of a square in pixels."""


def _path_as_text(data: Any) -> Any:
    return as_text(data) if isinstance(data, os.PathLike) else data


DataName = Annotated[str, BeforeValidator(_path_as_text)]
"""Name of data, or a path to them, which is kept as text."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True, extra="forbid"))
class DataSettings:
    """What is trained on, and how images are brought to one shape."""

    data: DataName = "digits"
    """Training data: `digits`, `faces`, a folder or zip of images, .npz, .npy, files of MNIST, CIFAR or CelebA,
    Parquet, hf://owner/name, shards, or a toy: ring8, grid25, swissroll."""
    label: str | None = None
    """Column of labels where the data has several, as `Smiling` in CelebA; by default the usual one."""
    resolution: Resolution = 32
    """Image size in pixels: a side, or width and height as in 64x48."""
    channels: Literal[1, 3] | None = None
    """Colour channels: 1 for grayscale, 3 for RGB; by default grayscale if every image is."""
    crop: Crop | None = None
    """Side in pixels of the centred square that is taken of each image before it is resized; by default all of it."""
    fit: Fit = "crop"
    """Handling of other aspect ratios: centre crop, padding, or stretching."""
    background: str = "white"
    """Background colour of transparent and padded images."""
    held_out: HeldOutShare = "auto"
    """Share of the images held out for evaluation, chosen by a hash of each image's content; auto holds out what the
    data itself does, as CelebA's validation and test, else 0.1."""
    test: Annotated[float, Field(ge=0, le=0.4)] = 0.0
    """Share of the images kept for a last test (`equipoise evaluate --split test`): neither trained on nor scored by
    while training. A search over settings needs them; see docs/studies.md."""
    flip: bool = False
    """Random horizontal flips."""

    @property
    def toy(self) -> Toy | None:
        """The toy called `data`, or None for images."""
        return TOYS.get(self.data)

    @property
    def shapes(self) -> list[list[int]]:
        """Shapes [C, H, W] that the data can have: a toy's points, or gray and colour images of the resolution."""
        if self.toy:
            return [list(self.toy.shape)]
        sides = parse_resolution(self.resolution)
        return [[channels, *sides] for channels in ([self.channels] if self.channels else [1, 3])]
