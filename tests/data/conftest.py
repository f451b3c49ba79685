from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Saver = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has a cache of its own, which does not exist yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("EQUIPOISE_CACHE", str(folder))
    return folder


@pytest.fixture
def save(tmp_path: Path) -> Saver:
    """Write a noisy image: save("a/b.png", mode="RGB", size=(20, 10), seed=0, **options of Pillow's save)."""

    def write(name: str, mode: str = "RGB", size: tuple[int, int] = (20, 10), seed: int = 0, **options: object) -> Path:
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(mode, size, seed).save(path, **options)
        return path

    return write


@pytest.fixture
def folder(save: Saver) -> Path:
    """Write five colour images of different sizes."""
    for index in range(5):
        path = save(f"{index}.png", size=(20 + index, 30 - index), seed=index)
    return path.parent


@pytest.fixture
def packs(cache: Path) -> Callable[[], list[str]]:
    """Name what lies in the cache beside the lock files."""
    return lambda: sorted(path.name for path in (cache / "images").iterdir() if path.suffix != ".lock")


def noise(mode: str, size: tuple[int, int], seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)
