"""Sizes as users write them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from equipoise.data import open_images, parse_resolution
from equipoise.errors import UsageError


@pytest.mark.parametrize(
    ("given", "expected"), [(64, (64, 64)), ("64", (64, 64)), ("64x48", (48, 64)), ("8x8", (8, 8))]
)
def test_sizes_are_width_by_height(given: int | str, expected: tuple[int, int]) -> None:
    assert parse_resolution(given) == expected


@pytest.mark.parametrize("given", [0, -1, 10**9, "64x", "x64", "0x3", "64x48x3", "64.5", "big", "", "9" * 5000])
def test_other_sizes_are_refused(given: int | str) -> None:
    with pytest.raises(UsageError, match="such as 64x48"):
        parse_resolution(given)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_images_are_packed_at_that_width_and_height(tmp_path: Path, fit: str) -> None:
    gradient = np.tile(np.arange(0, 240, 2, dtype=np.uint8), (80, 1))  # 120 wide, 80 high, brighter to the right
    Image.fromarray(gradient).save(tmp_path / "a.png")
    images = open_images(tmp_path, "24x16", fit=fit)
    assert images.shape == (1, 16, 24)
    (picture,) = images.batch([0])
    assert (picture[0].diff(dim=1).float().mean() > 5).item()
    assert (picture[0].diff(dim=0) == 0).all()  # the sides fit exactly: nothing is cut or padded
