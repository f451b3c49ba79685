"""Fine detail, beside signals whose spectra and noise are known."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from equipoise.metrics.detail import fine_share, noise_share, octave_powers


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def radii(height: int, width: int) -> np.ndarray:
    return np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 32, 32), (3, 24, 40)])
def test_white_noise_has_power_as_each_octave_has_frequencies(channels: int, height: int, width: int) -> None:
    powers, away = octave_powers(2 * noise(600, channels, height, width)), radii(height, width)
    edges = [np.inf, 1 / 4, 1 / 8, 1 / 16]
    for power, (outer, inner) in zip(powers.tolist(), pairwise(edges), strict=False):
        share = ((away > inner) & (away <= outer)).sum() / (height * width)
        assert power == pytest.approx(4 * share, rel=0.02)


@pytest.mark.parametrize(("cycles", "octave"), [(48, 0), (24, 1), (12, 2)])
def test_a_wave_lies_in_its_octave(cycles: int, octave: int) -> None:
    wave = torch.cos(2 * math.pi * cycles * torch.arange(128, dtype=torch.float64) / 128).expand(1, 1, 128, 128)
    powers = octave_powers(0.7 * wave + 0.5)
    assert powers[octave] == pytest.approx(0.7**2 / 2, rel=0.02)
    assert powers.sum() - powers[octave] < 0.01 * powers[octave], "the mean and the jump at the edge count nowhere"


def test_all_octaves_together_are_the_variance_under_the_window() -> None:
    images = noise(5, 2, 20, 28).cumsum(dim=3)
    window = np.hanning(22)[1:-1, None] * np.hanning(30)[1:-1]
    values = images.numpy()
    means = (values * window).sum(axis=(2, 3), keepdims=True) / window.sum()
    expected = (((values - means) * window) ** 2).sum(axis=(2, 3)).mean() / (window**2).sum()
    assert float(octave_powers(images).sum()) == pytest.approx(expected, rel=1e-10)


def test_fine_share_of_plain_images_is_0() -> None:
    assert fine_share(torch.ones(3, 1, 8, 8)) == 0
    assert fine_share(noise(200, 1, 32, 32)) == pytest.approx((radii(32, 32) > 1 / 4).mean(), rel=0.02)


@pytest.mark.parametrize("deviation", [0.02, 0.1, 0.3])
def test_noise_share_of_edges_in_known_noise(deviation: float) -> None:
    """A chequered corner: its diagonal coefficients are known, and so is the noise that is added."""
    checks = torch.zeros(200, 1, 48, 48, dtype=torch.float64)
    checks[..., :8, :8] = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(4, 4)
    expected = deviation**2 / (deviation**2 + 4 * 49 / 47**2)  # 7 x 7 coefficients of ±2, and some at the border
    assert noise_share(checks + deviation * noise(200, 1, 48, 48)) == pytest.approx(expected, rel=0.2)
    assert noise_share(checks) == 0


def test_noise_share_of_noise_alone_and_of_plain_images() -> None:
    assert noise_share(noise(100, 3, 32, 32)) == pytest.approx(1, abs=0.02)
    assert noise_share(torch.ones(3, 1, 8, 8)) == 0


def test_parts_are_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = noise(7, 3, 20, 24)
    images = torch.where(drawn > 1.5, 255, 100 + 5 * drawn).to(torch.uint8)  # spots, of which noise is a part only
    whole = octave_powers(images), noise_share(images)
    assert 0 < whole[1] < 0.5
    monkeypatch.setattr("equipoise.metrics.detail.VALUES", 3 * images[0].numel())
    torch.testing.assert_close(octave_powers(images), whole[0], rtol=1e-13, atol=0)
    assert noise_share(images) == pytest.approx(whole[1], rel=1e-13)
