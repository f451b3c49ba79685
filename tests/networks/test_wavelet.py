"""The Haar transform: against functions written out one by one, its spreading to pixels, and its precision."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from equipoise.networks.wavelet import HaarTransform


def haar_functions(levels: int) -> NDArray[np.float64]:
    """Haar's functions on a block of 2^levels x 2^levels pixels, (4^levels, rows, columns), in order of scale."""
    side, functions = 2**levels, []
    for level in range(1, levels + 1):
        size = 2**level
        mean, difference = np.ones(size), np.repeat([1.0, -1.0], size // 2)
        for down, across in ((mean, difference), (difference, mean), (difference, difference)):
            for row in range(0, side, size):
                for column in range(0, side, size):
                    function = np.zeros((side, side))
                    function[row : row + size, column : column + size] = np.outer(down, across) / size
                    functions.append(function)
    return np.array([*functions, np.full((side, side), 1 / side)])


@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_coefficients_are_products_with_haars_functions(levels: int, channels: int) -> None:
    side, functions = 2**levels, haar_functions(levels)
    images = torch.randn(2, channels, 3 * side, 2 * side, dtype=torch.float64)
    blocks = images.numpy().reshape(2, channels, 3, side, 2, side)
    expected = np.einsum("kij,nchiwj->nhwkc", functions, blocks).reshape(2, 6, -1)
    for layout in (torch.contiguous_format, torch.channels_last):
        got = HaarTransform(levels, channels).double()(images.contiguous(memory_format=layout))
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_the_basis_is_orthonormal(levels: int) -> None:
    basis = HaarTransform(levels, 3).basis
    assert torch.equal(basis @ basis.t(), torch.eye(len(basis)))


def test_a_coefficient_is_spread_evenly_over_its_pixels() -> None:
    """Of one block of 4x4: a difference of 2x2 pixels, one of the whole block, and the mean."""
    transform = HaarTransform(2, 1)
    for number, start in ((3, 2), (13, 0), (15, 0)):
        values = torch.zeros(1, 2, 16)
        values[0, 1, number] = 16.0
        expected = torch.zeros(4, 4)
        expected[start:, start:] = 16.0 / (4 - start) ** 2
        spread = transform.spread(values, 4, 8)
        assert torch.equal(spread[0], torch.cat([torch.zeros(4, 4), expected], dim=1))


def test_channels_share_what_is_spread() -> None:
    values = torch.rand(2, 6, 12, dtype=torch.float64)
    spread = HaarTransform(1, 3).double().spread(values, 4, 6)
    torch.testing.assert_close(spread.mean((1, 2)), values.mean((1, 2)), rtol=1e-12, atol=0)


def test_autocast_does_not_round_coefficients() -> None:
    images, transform = torch.randn(2, 3, 8, 8), HaarTransform(2, 3)
    with torch.autocast("cpu", torch.bfloat16):
        coefficients = transform(images)
    assert coefficients.dtype == torch.float32
    assert torch.equal(coefficients, transform(images))


def test_slopes_are_laid_out_as_images_are_in_training() -> None:
    images = torch.randn(2, 3, 8, 8).contiguous(memory_format=torch.channels_last).requires_grad_()
    (slopes,) = torch.autograd.grad(HaarTransform(2, 3)(images).abs().sum(), images)
    assert slopes.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("height", "width", "wanted", "levels"),
    [(32, 32, 2, 2), (12, 20, 3, 2), (14, 28, 2, 1), (7, 28, 2, 0), (8, 8, 0, 0)],
)
def test_levels_are_as_many_as_both_sides_halve(height: int, width: int, wanted: int, levels: int) -> None:
    transform = HaarTransform.of_images(wanted, 3, height, width)
    assert (transform.side if transform else 1) == 2**levels
