"""Every command of docs/tutorial.md, in its order, on a small folder of photographs and in small numbers."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from command import Command
from exporting.conftest import onnxruntime_web as onnxruntime_web  # noqa: PLC0414  # a fixture

PAGE = Path(__file__).parents[1] / "docs" / "tutorial.md"
SMALLER = {
    "--resolution 64": "--resolution 16 --network autoencoder --width 4 --latent 6 --batch 16 --device cpu --quiet",
    "--images 500k": "--images 160",
    "--images 600k": "--images 320 --quiet",
    "--json scores.json": "--json scores.json --count 50 --features pixels --device cpu --quiet",
}


@pytest.mark.usefixtures("onnxruntime_web")
def test_the_tutorial(within: Command, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(300):  # skies above grounds, as JPEGs
        colours = rng.integers(0, 256, (2, 3))
        pixels = np.where(np.arange(40)[:, None, None] < rng.integers(10, 30), *colours).repeat(48, 1)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photos" / f"{number}.jpg")
    text = PAGE.read_text()
    commands = [line for block in re.findall(r"```sh\n(.*?)```", text, flags=re.S) for line in block.splitlines()]
    used = set()
    for line in commands:
        if not line.startswith("equipoise "):
            continue
        small = line
        for large, smaller in SMALLER.items():
            used |= {large} if large in line else set()
            small = small.replace(large, smaller)
        done = within(*shlex.split(small)[1:])
        assert done.returncode == 0, (small, done.stderr)
    assert used == set(SMALLER)
    for made in ("sheet.png", "grid.png", "scores.json", "page/index.html", "hub/README.md"):
        assert (tmp_path / made).is_file(), made
        assert made.split("/")[0] in text
    assert "My photographs" in (tmp_path / "page" / "about.js").read_text()
    assert "kid" in (tmp_path / "hub" / "README.md").read_text()
    (python,) = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    names: dict[str, object] = {}
    exec(python, names)  # the page's own
    images = names["images"]
    assert isinstance(images, torch.Tensor)
    assert images.shape == (16, 3, 16, 16)
