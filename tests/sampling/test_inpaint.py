"""Runs with auxiliary tasks, from the command line to pictures: classes to draw, holes to fill in."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command import Command

TINY = ["--resolution", 16, "--width", 4, "--latent", 6, "--precision", "fp32", "--device", "cpu", "--quiet"]
SHORT = ["--images", 64, "--batch", 16, "--log-every", 32, "--sample-every", 64, "--checkpoint-every", 32]


def test_a_run_with_classes_draws_the_class_asked_for(within: Command, tmp_path: Path) -> None:
    tasks = ["--classify-d", 1, "--classify-g", 1, "--rotate-d", 1, "--rotate-g", 0.2]
    done = within("train", "gan", *TINY, *SHORT, *tasks, "--out", "run")
    assert done.returncode == 0, done.stderr
    rows = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert "classify_accuracy_real" in rows
    assert "rotate_loss_real" in rows
    for label, count in ((3, 5), (4, 5)):
        assert within("sample", "run", "--label", label, "--count", count, "--out", f"{label}.npz").returncode == 0
    threes, fours = (np.load(tmp_path / f"{label}.npz")["images"] for label in (3, 4))
    assert threes.shape == (5, 1, 16, 16)
    assert not np.array_equal(threes, fours), "the class has no say in the image"
    refused = within("sample", "run", "--label", 10)
    assert refused.returncode == 2
    assert "classes 0 to 9" in refused.stderr


def test_a_run_without_classes_refuses_a_label(within: Command) -> None:
    assert within("train", "gan", *TINY, *SHORT, "--out", "run").returncode == 0
    refused = within("sample", "run", "--label", 1)
    assert (refused.returncode, "--classify-d" in refused.stderr) == (2, True)
    refused = within("inpaint", "run", "any.png")
    assert (refused.returncode, "--inpaint" in refused.stderr) == (2, True)


@pytest.fixture
def inpainter(within: Command) -> Command:
    tasks = ["--inpaint", 0.999, "--adversarial", 0.001]
    done = within("train", "gan", *TINY, *SHORT, *tasks, "--out", "run")
    assert done.returncode == 0, done.stderr
    return within


def test_what_is_not_hidden_stays(inpainter: Command, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    mask = np.zeros((16, 16), np.uint8)
    mask[2:6, 3:9] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    for given in ("mask.png", "3,2,9,6"):
        done = inpainter("inpaint", "run", "photo.png", "--mask", given, "--count", 3, "--out", "out.npz")
        assert done.returncode == 0, done.stderr
        images = np.load(tmp_path / "out.npz")["images"]
        assert images.shape == (5, 1, 16, 16)
        np.testing.assert_array_equal(images[0, 0], pixels)
        for filled in images[2:, 0]:
            np.testing.assert_array_equal(filled[mask == 0], pixels[mask == 0])
            assert not np.array_equal(filled[mask > 0], pixels[mask > 0])
    assert inpainter("sample", "run", "--count", 4, "--out", "grid.png").returncode == 0


def test_a_mask_is_cropped_as_its_image(within: Command, tmp_path: Path) -> None:
    """Both are drawn on the whole photograph, of which the run has the centre."""
    images = np.random.default_rng(0).integers(0, 256, (60, 64, 64), np.uint8)
    np.save(tmp_path / "photos.npy", images)
    tasks = ["--inpaint", 0.999, "--adversarial", 0.001, "--data", "photos.npy", "--crop", 32]
    done = within("train", "gan", *TINY, *SHORT, *tasks, "--preset", "default", "--out", "run")
    assert done.returncode == 0, done.stderr
    square = np.zeros((64, 64), np.uint8)
    square[24:40, 24:40] = 255
    Image.fromarray(square).save(tmp_path / "square.png")
    assert within("inpaint", "run", "square.png", "--mask", "square.png", "--out", "out.npz").returncode == 0
    shown, holed = np.load(tmp_path / "out.npz")["images"][:2, 0]
    np.testing.assert_array_equal(holed[4:12, 4:12], 128)
    np.testing.assert_array_equal(shown > 127, np.pad(np.ones((8, 8), bool), 4))
    assert (holed[shown <= 127] < 64).all(), "nothing else is hidden"


def test_bad_images_and_masks(inpainter: Command, tmp_path: Path) -> None:
    Image.new("L", (20, 20), 7).save(tmp_path / "photo.png")
    Image.new("L", (16, 16), 0).save(tmp_path / "dark.png")
    (tmp_path / "text.png").write_text("no image")
    for words, said in (
        (["missing.png"], "there is no"),
        (["photo.png", "--mask", "0,0,99,4"], "within 16x16"),
        (["photo.png", "--mask", "-1,0,4,4"], "within 16x16"),
        (["photo.png", "--mask", f"0,0,4,{'9' * 5_000}"], "cannot read"),  # of more digits than Python reads
        (["photo.png", "--out", "/dev/full"], "is no file"),
        (["photo.png", "--mask", "dark.png"], "hides nothing"),
        (["text.png"], "cannot read"),
        (["photo.png", "--count", 10_001], "count"),
    ):
        refused = inpainter("inpaint", "run", *words)
        assert refused.returncode == 2
        assert said in refused.stderr
        assert not (tmp_path / "inpainted.png").exists()
