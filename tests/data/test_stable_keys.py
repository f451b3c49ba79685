"""What is on users' disks stays valid: cache keys, fingerprints and the order of batches are pinned by value.

A key or fingerprint is a hash of facts that include the repr of a dataclass, so that renaming a field is enough to
change it, and then everybody's images are packed again and no run on them resumes. If such a change is meant, raise the
number in FORMAT beside it and pin the new values here.
"""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from equipoise.data import TOYS, open_dataset, open_images
from shard_tools import tar

COLOURS = np.random.default_rng(0).bytes(24 * 3 * 6 * 8)
PIXELS = np.frombuffer(COLOURS, np.uint8).reshape(24, 3, 6, 8)  # (N, C, H, W), which need no resampling


def bitmap(image: np.ndarray) -> bytes:
    """An image (C, H, W) in a file without compression, which every version of Pillow writes alike."""
    file = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(file, "BMP")
    return file.getvalue()


def array(path: Path) -> str:
    np.save(path / "a.npy", PIXELS)
    return str(path / "a.npy")


def labelled(path: Path) -> str:
    np.savez(path / "a.npz", images=PIXELS, labels=np.arange(24) % 3)
    return str(path / "a.npz")


def folders(path: Path) -> str:
    for number, image in enumerate(PIXELS):
        file = path / "images" / "abc"[number % 3] / f"{number}.bmp"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bitmap(image))
    return str(path / "images")


def shards(path: Path) -> str:
    for shard in range(2):
        files = {}
        for number in range(12 * shard, 12 * shard + 12):
            files |= {f"{number:02d}.bmp": bitmap(PIXELS[number]), f"{number:02d}.cls": str(number % 3).encode()}
        tar(path / f"s-{shard}.tar", files)
    return f"{path}/s-{{0..1}}.tar"


@pytest.mark.parametrize(
    ("write", "key", "packed", "fingerprint", "batch", "labels"),
    [  # a key of None: it depends on the files' times, or on how numpy writes a zip
        (array, "82d72b452100d44e", "4ede03723ff09c32", "a1ffe292a7b5b283", "9c6891af1224e311", None),
        (labelled, None, "1d41d8533d6e2df9", "ab1042aa8cf347d9", "9c6891af1224e311", [1, 2, 1, 0, 1, 0, 2, 1]),
        (folders, None, "4dee9dd6caaa1e07", "75892d284eb9649a", "7ac553c4817e4f72", [1, 0, 0, 0, 2, 0, 0, 1]),
        (
            shards,
            "c694745bf68983e2",
            "1d41d8533d6e2df9",
            "17bf0c6b016b2ee3",
            "5bbd4e115a1c207b",
            [2, 2, 1, 0, 0, 0, 2, 0],
        ),
    ],
    ids=["array", "labelled", "folders", "shards"],
)
def test_keys_fingerprints_and_batches_do_not_change(
    write: Callable[[Path], str],
    key: str | None,
    packed: str,
    fingerprint: str,
    batch: str,
    labels: list[int] | None,
    tmp_path: Path,
) -> None:
    data = write(tmp_path)
    images = open_images(data, "8x6")
    assert images.path.parent.name.startswith(key or "")
    assert images.fingerprint.startswith(packed)
    feed = open_dataset(data, "8x6", held_out=0.25).feed
    assert feed.fingerprint.startswith(fingerprint)
    drawn = feed.draw(8, seed=3, images_seen=16)
    feed.close()
    assert hashlib.sha256(drawn.images.numpy().tobytes()).hexdigest().startswith(batch)
    assert (None if drawn.labels is None else drawn.labels.tolist()) == labels


def test_fingerprints_of_toys_do_not_change() -> None:
    assert {name: toy.fingerprint for name, toy in TOYS.items()} == {
        "ring8": "toy-ring8-1",
        "grid25": "toy-grid25-1",
        "swissroll": "toy-swissroll-1",
    }
