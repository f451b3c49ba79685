"""Pictures where the user wants them."""

from pathlib import Path

import pytest
from PIL import Image

from equipoise import UsageError
from equipoise.runs.files import LARGEST_JPEG, save_picture


def test_a_jpeg_has_a_largest_side(tmp_path: Path) -> None:
    """Of which the library says that a data stream is broken."""
    save_picture(tmp_path / "whole.jpg", Image.new("L", (LARGEST_JPEG, 1)))
    with Image.open(tmp_path / "whole.jpg") as picture:
        assert picture.size == (LARGEST_JPEG, 1)
    larger = Image.new("L", (1, LARGEST_JPEG + 1))
    with pytest.raises(UsageError, match="larger.jpeg would have 1x65,501 pixels, .* write a .png"):
        save_picture(tmp_path / "larger.jpeg", larger)
    save_picture(tmp_path / "larger.png", larger)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["larger.png", "whole.jpg"]
