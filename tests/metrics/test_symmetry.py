"""The asymmetry of sets of images, beside sets for which it is known."""

import math

import pytest
import torch

from equipoise.metrics.symmetry import mirror_asymmetry


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_equal_asymmetric_images_are_as_asymmetric_as_can_be() -> None:
    image = noise(1, 3, 8, 8)
    assert mirror_asymmetry(image.expand(5, 3, 8, 8)) == pytest.approx(1)


def test_symmetric_images_and_a_single_one_are_not_asymmetric() -> None:
    half = noise(6, 1, 8, 4)
    assert mirror_asymmetry(torch.cat([half, half.flip(-1)], dim=-1)) == 0
    assert mirror_asymmetry(noise(1, 1, 8, 8)) == 0


@pytest.mark.parametrize("shift", [0.0, 0.5, 2.0])
def test_it_is_the_closed_form_of_a_normal_distribution(shift: float) -> None:
    """Of images 2 wide, (a, -a) with a from N(shift, 1): sums are from N(2 shift, 2), differences from N(0, 2)."""
    a = noise(2000, 1, 1, 1) + shift
    mean, sigma = 2 * shift, math.sqrt(2)
    folded = sigma * math.sqrt(2 / math.pi) * math.exp(-(mean**2) / (2 * sigma**2))
    folded += mean * math.erf(mean / math.sqrt(2 * sigma**2))
    apart = sigma * math.sqrt(2 / math.pi)
    expected = (folded - apart) / (folded + apart)
    assert mirror_asymmetry(torch.cat([a, -a], dim=-1)) == pytest.approx(expected, abs=0.02)


def test_a_sign_in_one_corner_shows() -> None:
    images = noise(300, 1, 8, 8)
    plain = mirror_asymmetry(images)
    images[:90, :, :3, 0] += 3
    assert abs(plain) < 0.002
    assert mirror_asymmetry(images) > 0.01
