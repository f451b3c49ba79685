"""Multi-scale structural similarity: against torchmetrics at the same settings, and by hand for each channel."""

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure as ssim

from equipoise.errors import UsageError
from equipoise.metrics import ms_ssim, ms_ssim_diversity
from equipoise.metrics.similarity import WEIGHTS, scales


def pictures(count: int, shape: tuple[int, int, int], seed: int = 0) -> Tensor:
    channels, *size = shape
    coarse = torch.rand(count, channels, 6, 6, generator=torch.Generator().manual_seed(seed)) * 255
    return torch.nn.functional.interpolate(coarse, size=size, mode="bilinear").to(torch.uint8)


def by_torchmetrics(a: Tensor, b: Tensor) -> Tensor:
    """The mean of the channels' own: torchmetrics' is of all channels at once."""
    planes = [by_torchmetrics_of_one_plane(a[:, c : c + 1], b[:, c : c + 1]) for c in range(a.shape[1])]
    return torch.stack(planes).mean(dim=0)


def by_torchmetrics_of_one_plane(a: Tensor, b: Tensor) -> Tensor:
    """Its SSIM and contrast at each scale. Its own MS-SSIM (1.9) lets mirrored borders into the last scale's mean."""
    settings = {"data_range": 255.0, "reduction": "none"}
    count = scales(*a.shape[-2:])
    product = torch.ones(len(a), dtype=torch.float64)
    for scale in range(count):
        factor = ssim(a, b, return_contrast_sensitivity=True, **settings)[1]
        if scale == count - 1:
            factor = ssim(a, b, return_full_image=True, **settings)[1][..., 5:-5, 5:-5].mean(dim=(1, 2, 3))
        product *= factor.relu() ** (WEIGHTS[scale] / sum(WEIGHTS[:count]))
        a, b = torch.nn.functional.avg_pool2d(a, 2), torch.nn.functional.avg_pool2d(b, 2)
    return product


@pytest.mark.parametrize("shape", [(3, 176, 180), (1, 64, 64), (3, 48, 41), (1, 28, 28), (3, 12, 12)])
def test_equals_torchmetrics(shape: tuple[int, int, int]) -> None:
    a, noise = pictures(4, shape), torch.randn(4, *shape, generator=torch.Generator().manual_seed(1))
    b = torch.cat([(a[:2] + 20 * noise[:2]).clamp(0, 255).to(torch.uint8), pictures(4, shape, 2)[2:]])
    torch.testing.assert_close(ms_ssim(a, b), by_torchmetrics(a.double(), b.double()), rtol=1e-9, atol=1e-12)


def test_flat_channels_by_hand() -> None:
    """Structure is 1 everywhere, and luminance counts at the coarsest of two scales alone, for each channel alone."""
    flat = [torch.tensor(levels).view(1, 3, 1, 1).expand(1, 3, 24, 24) for levels in ([10, 100, 250], [20, 110, 0])]
    c1, power = (0.01 * 255) ** 2, WEIGHTS[1] / (WEIGHTS[0] + WEIGHTS[1])
    luminances = [(2 * p * q + c1) / (p * p + q * q + c1) for p, q in ((10, 20), (100, 110), (250, 0))]
    expected = sum(luminance**power for luminance in luminances) / 3
    assert ms_ssim(*flat).item() == pytest.approx(expected, rel=1e-9)
    assert abs(expected - (sum(luminances) / 3) ** power) > 0.03, "which the powers of the channels' mean would not be"


def test_a_colour_image_has_the_mean_of_its_channels() -> None:
    a, b = pictures(4, (3, 64, 64)), pictures(4, (3, 64, 64), 1)
    planes = [ms_ssim(a[:, c : c + 1], b[:, c : c + 1]) for c in range(3)]
    torch.testing.assert_close(ms_ssim(a, b), torch.stack(planes).mean(dim=0), rtol=1e-12, atol=0)


def test_how_many_scales() -> None:
    assert [scales(side, side + 1) for side in (10, 11, 21, 22, 28, 64, 175, 176, 1024)] == [0, 1, 1, 2, 2, 3, 4, 5, 5]


def test_equal_images_are_one_and_noise_takes_away() -> None:
    a, noise = pictures(3, (3, 64, 64)), torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(ms_ssim(a, a), torch.ones(3, dtype=torch.float64))
    values = torch.stack([ms_ssim(a, a + level * noise) for level in (0, 5, 20, 80)])
    assert (values.diff(dim=0) < 0).all()
    inverted = ms_ssim(a, 255 - a)
    assert ((inverted >= 0) & (inverted < 0.2)).all()


def test_blocks_do_not_change_it() -> None:
    a, b = pictures(9, (3, 32, 32)), pictures(9, (3, 32, 32), 1)
    torch.testing.assert_close(ms_ssim(a, b, max_values=2 * 3 * 32 * 32), ms_ssim(a, b), rtol=1e-12, atol=0)


def test_fewer_modes_are_more_alike() -> None:
    modes = pictures(16, (1, 32, 32))
    values = [ms_ssim_diversity(modes[torch.arange(200) % left]) for left in (16, 8, 4, 1)]
    assert [one.value for one in values] == sorted(one.value for one in values)
    assert values[-1].value == pytest.approx(1, abs=1e-12)
    assert values[-1].spread == pytest.approx(0, abs=1e-12)
    assert values[0].count == 100


def test_pairs_are_keyed_and_an_odd_image_waits() -> None:
    images = pictures(31, (1, 16, 16))
    assert ms_ssim_diversity(images, seed=1) == ms_ssim_diversity(images, seed=1) != ms_ssim_diversity(images, seed=2)
    assert ms_ssim_diversity(images).count == 15


def test_refuses_tiny_images_and_single_ones() -> None:
    with pytest.raises(UsageError, match="11 x 11 pixels"):
        ms_ssim(torch.zeros(1, 1, 8, 20), torch.zeros(1, 1, 8, 20))
    with pytest.raises(UsageError, match="ms-ssim needs 2 images or more, not 1"):
        ms_ssim_diversity(pictures(1, (1, 16, 16)))
