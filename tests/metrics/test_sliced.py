"""Sliced Wasserstein distance: against scipy, closed forms, and the pyramid's own arithmetic."""

import math

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from equipoise.errors import UsageError
from equipoise.metrics import patch_distances, sliced_wasserstein, wasserstein_1d
from equipoise.metrics.pyramid import laplacian_pyramid, patches, patches_per_image


def vectors(count: int, size: int, seed: int) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pictures(count: int, side: int, seed: int = 0) -> Tensor:
    """Smooth colour pictures, uint8."""
    coarse = torch.rand(count, 3, 5, 5, generator=torch.Generator().manual_seed(seed)) * 255
    return torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear").to(torch.uint8)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 1000))
def test_one_dimension_equals_scipy_for_any_two_counts(n: int, m: int, seed: int) -> None:
    a, b = vectors(n, 3, seed).round(decimals=1), vectors(m, 3, seed + 1) * 2
    expected = [scipy.stats.wasserstein_distance(a[:, d].numpy(), b[:, d].numpy()) for d in range(3)]
    np.testing.assert_allclose(wasserstein_1d(a, b).numpy(), expected, rtol=1e-10, atol=1e-13)


def test_two_gaussians_have_the_closed_form() -> None:
    """t sqrt(2/pi) exp(-d²/2t²) + d (1 - 2 Phi(-d/t)) with d the means' and t the deviations' difference."""
    quantiles = torch.special.ndtri((torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000)[:, None]
    d, t = 0.7, 0.5
    expected = t * math.sqrt(2 / math.pi) * math.exp(-(d**2) / (2 * t**2)) + d * (1 - 2 * scipy.stats.norm.cdf(-d / t))
    assert wasserstein_1d(quantiles, 1.5 * quantiles + d).item() == pytest.approx(expected, rel=1e-4)


def test_a_shift_in_the_plane_has_a_closed_form() -> None:
    """A set moved by s: |cos| s on average over directions, 2/pi s."""
    a = vectors(50, 2, 0)
    assert sliced_wasserstein(a, a + torch.tensor([3.0, 4.0]), directions=20_000) == pytest.approx(
        10 / math.pi, rel=0.02
    )


def test_identity_symmetry_and_seed() -> None:
    a, b = vectors(60, 4, 0).float(), vectors(40, 4, 1).float()
    assert sliced_wasserstein(a, a.flip(0)) == 0
    assert sliced_wasserstein(a, torch.cat([a, a])) == pytest.approx(0, abs=1e-15)
    assert sliced_wasserstein(a, b) == pytest.approx(sliced_wasserstein(b, a), rel=1e-12)
    assert sliced_wasserstein(a, b, seed=1) != sliced_wasserstein(a, b, seed=2)


def test_the_pyramid_equals_scipy_and_adds_up() -> None:
    image = torch.randint(0, 256, (2, 3, 65, 70), generator=torch.Generator().manual_seed(0)).double()
    levels = laplacian_pyramid(image)
    assert [tuple(level.shape[2:]) for level in levels] == [(65, 70), (33, 35), (17, 18)]
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    flat = image[1, 2].numpy()
    smaller = scipy.ndimage.convolve(flat, kernel, mode="mirror")[::2, ::2]
    spread = np.zeros_like(flat)
    spread[::2, ::2] = smaller
    np.testing.assert_allclose(
        levels[0][1, 2].numpy(), flat - scipy.ndimage.convolve(spread, 4 * kernel, mode="mirror"), atol=1e-10
    )


@pytest.mark.parametrize(("side", "expected"), [(7, 1), (16, 1), (28, 1), (31, 2), (32, 2), (64, 3), (128, 4)])
def test_levels_go_down_to_sixteen_pixels(side: int, expected: int) -> None:
    assert len(laplacian_pyramid(torch.zeros(1, 1, side, side))) == expected


def test_patches_depend_on_position_and_seed_alone() -> None:
    images = pictures(12, 32)
    whole = patches(images, list(range(12)), 5, seed=1)
    for batch in (1, 5):
        parts = [patches(images[n : n + batch], list(range(n, min(12, n + batch))), 5, 1) for n in range(0, 12, batch)]
        for level, other in zip(whole, map(torch.cat, zip(*parts, strict=True)), strict=True):
            assert torch.equal(level, other)
    assert [level.shape for level in whole] == [(60, 3, 7, 7), (60, 3, 7, 7)]
    assert not torch.equal(whole[0], patches(images, list(range(12)), 5, seed=2)[0])
    assert not torch.equal(patches(images[:1], [0], 5, 1)[0], patches(images[:1], [1], 5, 1)[0])
    assert [level.shape for level in patches(images[:0], [], 5, 1)] == [(0, 3, 7, 7), (0, 3, 7, 7)]


def test_patches_are_the_same_however_many_images_are_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures(9, 40)
    whole = patches(images, list(range(9)), 5, seed=1)
    monkeypatch.setattr("equipoise.metrics.pyramid.VALUES", 2 * images[0].numel())
    for one, other in zip(patches(images, list(range(9)), 5, seed=1), whole, strict=True):
        assert torch.equal(one, other)


def test_patches_are_cut_from_the_image() -> None:
    image = pictures(1, 9)  # too small for a second level, so that patches are the pixels
    every = image[0].unfold(1, 7, 1).unfold(2, 7, 1).permute(1, 2, 0, 3, 4).reshape(9, 3, 7, 7).float()
    cut = patches(image, [0], 100, 0)[0]
    found = {n for one in cut for n in range(9) if torch.equal(one, every[n])}
    assert all(any(torch.equal(one, patch) for patch in every) for one in cut)
    assert found == set(range(9))


def test_how_many_patches_an_image_gives() -> None:
    assert [patches_per_image(total) for total in (1, 512, 513, 10_000, 10**6)] == [128, 128, 127, 6, 1]


def distances(a: Tensor, b: Tensor) -> list[float]:
    return patch_distances(*(patches(x, list(range(len(x))), 64, 0) for x in (a, b)), directions=64)


def test_images_identity_noise_and_dropped_modes() -> None:
    a = pictures(64, 32)
    assert distances(a, a) == [0, 0]
    noise = torch.randn(a.shape, generator=torch.Generator().manual_seed(0))
    noisy = [distances(a, (a + level * noise).clamp(0, 255).to(torch.uint8))[0] for level in (0, 5, 20, 60)]
    assert noisy == sorted(noisy)
    steps = (torch.arange(32) % 8 < 4).to(torch.uint8) * 255  # every other picture has stripes
    striped = a.where((torch.arange(64) % 2 == 0)[:, None, None, None], steps)
    dropped = [
        distances(striped, torch.cat([striped[::2].repeat(2, 1, 1, 1)[:drop], striped[drop:]])) for drop in (0, 64)
    ]
    assert dropped[0] == [0, 0]
    assert min(dropped[1]) > 0.1


def test_brightness_and_contrast_of_a_whole_set_go_unseen() -> None:
    """Each set's patches are normalised by themselves, as published."""
    a = pictures(64, 32)
    assert max(distances(a // 2 * 2, a // 2 + 90)) < 1e-6


def test_a_channel_without_variation_is_no_nan() -> None:
    black = torch.zeros(4, 1, 16, 16, dtype=torch.uint8)
    assert distances(black, black + 7) == [0]
    assert distances(black, pictures(4, 16)[:, :1])[0] > 0


def test_refuses_images_smaller_than_a_patch() -> None:
    with pytest.raises(UsageError, match="7 x 7 pixels"):
        patches(torch.zeros(1, 1, 6, 20, dtype=torch.uint8), [0], 1, 0)
