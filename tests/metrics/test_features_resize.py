"""Each resize against another implementation: Pillow's, or the definition in numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from equipoise.metrics.features.resize import area, bicubic, gray, rgb, tensorflow_bilinear

SIZES = [(28, 28), (64, 48), (1, 1), (300, 217), (3, 500)]


def picture(height: int, width: int, channels: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, channels), np.uint8)


def tensor(pixels: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("side", [32, 224])
def test_bicubic_is_pillows(size: tuple[int, int], side: int) -> None:
    channel = Image.fromarray(picture(*size, 1)[..., 0]).convert("F")  # Pillow would round bytes after each pass
    theirs = np.asarray(channel.resize((side, side), Image.Resampling.BICUBIC)).clip(0, 255)
    ours = bicubic(tensor(picture(*size, 1)).double(), side)[0, 0].numpy()
    assert ours == pytest.approx(theirs, abs=1e-4)


def test_bicubic_of_bytes_is_pillows_within_its_rounding() -> None:
    pixels = picture(100, 150)
    theirs = np.asarray(Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC))
    ours = bicubic(tensor(pixels).float(), 64)[0].permute(1, 2, 0).numpy()
    assert np.abs(ours - theirs).max() < 1.5


def test_bicubic_of_the_right_size_changes_nothing() -> None:
    images = tensor(picture(32, 32)).float()
    assert torch.equal(bicubic(images, 32), images)


def test_colour_becomes_pillows_luma_and_gray_becomes_equal_channels() -> None:
    pixels = picture(40, 30)
    theirs = np.asarray(Image.fromarray(pixels).convert("L"))
    assert gray(tensor(pixels))[0, 0].numpy() == pytest.approx(theirs, abs=0.51)
    one = tensor(picture(5, 6, 1))
    assert torch.equal(gray(one), one.float())
    assert torch.equal(rgb(one), one.float().repeat(1, 3, 1, 1))
    assert torch.equal(rgb(tensor(pixels)), tensor(pixels).float())


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_area_is_the_mean_over_what_each_pixel_covers(height: int, width: int, down: int, across: int) -> None:
    to = min(height, down), min(width, across)
    pixels = picture(height, width, 1)[..., 0].astype(np.float64)
    fine = pixels.repeat(to[0], 0).repeat(to[1], 1)  # each pixel in so many parts that all edges fall between parts
    means = fine.reshape(to[0], height, to[1], width).mean(axis=(1, 3))
    assert area(torch.from_numpy(pixels)[None, None].float(), *to)[0, 0].numpy() == pytest.approx(means, abs=1e-3)


def tensorflow_1(pixels: NDArray[np.uint8], side: int) -> NDArray[np.float64]:
    """The loop of tensorflow/core/kernels/resize_bilinear_op.cc, align_corners and half_pixel_centers false."""
    height, width = pixels.shape
    new = np.empty((side, side))
    for i in range(side):
        for j in range(side):
            y, x = i * height / side, j * width / side
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            old = pixels.astype(float)
            upper = old[top, left] + (old[top, right] - old[top, left]) * (x - left)
            lower = old[bottom, left] + (old[bottom, right] - old[bottom, left]) * (x - left)
            new[i, j] = upper + (lower - upper) * (y - top)
    return new


@pytest.mark.parametrize("size", [(28, 28), (64, 48), (1, 1), (90, 31)])
@pytest.mark.parametrize("side", [16, 67])
def test_tensorflow_bilinear_is_tensorflows(size: tuple[int, int], side: int) -> None:
    pixels = picture(*size, 1)
    ours = tensorflow_bilinear(tensor(pixels).float(), side)[0, 0].numpy()
    assert ours == pytest.approx(tensorflow_1(pixels[..., 0], side), abs=5e-3)


def test_tensorflow_bilinear_is_not_todays_bilinear() -> None:
    images = tensor(picture(32, 32)).float()
    today = torch.nn.functional.interpolate(images, size=(299, 299), mode="bilinear", align_corners=False)
    assert (tensorflow_bilinear(images, 299) - today).abs().max() > 20
