"""Fréchet distance: against scipy's matrix root and torchmetrics, at full and at deficient rank."""

from functools import reduce

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor
from torchmetrics.image.fid import FrechetInceptionDistance

from equipoise.errors import UsageError
from equipoise.metrics import Moments, extrapolated_distance, frechet_distance
from equipoise.randomness import keyed_generator


def vectors(count: int, size: int, seed: int, *, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(size, size, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    return torch.randn(count, size, generator=generator, dtype=torch.float64) @ mixing * scale + shift


def distance(a: Tensor, b: Tensor) -> float:
    return frechet_distance(Moments.from_vectors(a), Moments.from_vectors(b))


def by_scipy(a: Tensor, b: Tensor) -> float:
    x, y = a.numpy(), b.numpy()
    s, t = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(s @ t).real
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s + t - 2 * root))


def test_equals_the_matrix_root_of_scipy() -> None:
    a, b = vectors(300, 12, 0), vectors(200, 12, 1, scale=1.3, shift=0.4)
    assert distance(a, b) == pytest.approx(by_scipy(a, b), rel=1e-9)
    assert distance(a, b) == pytest.approx(distance(b, a), rel=1e-12)


def test_equals_torchmetrics_with_features_of_ones_own() -> None:
    class Flat(torch.nn.Module):
        num_features = 12

        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1).to(torch.float64)

    a, b = vectors(300, 12, 0), vectors(200, 12, 1, scale=1.3, shift=0.4)
    oracle = FrechetInceptionDistance(feature=Flat(), input_img_size=(3, 2, 2)).set_dtype(torch.float64)
    oracle.update(a.view(-1, 3, 2, 2), real=True)
    oracle.update(b.view(-1, 3, 2, 2), real=False)
    assert distance(a, b) == pytest.approx(oracle.compute().item(), rel=1e-9)


def test_equals_the_closed_form_of_two_gaussians() -> None:
    """Diagonal covariances: |m_a - m_b|² + sum (s_a - s_b)²."""
    scatters = [torch.diag(torch.tensor(s, dtype=torch.float64) ** 2) * 9 for s in ([1.0, 2.0, 3.0], [2.0, 2.0, 1.0])]
    means = [torch.tensor(m, dtype=torch.float64) for m in ([0.0, 0.0, 0.0], [1.0, -2.0, 0.0])]
    a, b = (Moments(10, mean, scatter) for mean, scatter in zip(means, scatters, strict=True))
    assert frechet_distance(a, b) == pytest.approx(5 + 1 + 0 + 4, rel=1e-12)


@pytest.mark.parametrize(("count", "size"), [(500, 20), (10, 200), (2, 64)])
def test_a_set_is_at_no_distance_from_itself(count: int, size: int) -> None:
    a = vectors(count, size, 0).float()
    assert distance(a, a.flip(0)) <= 1e-10 * float(a.double().var(dim=0).sum())


def test_fewer_vectors_than_dimensions_is_exact() -> None:
    """Two sets in orthogonal subspaces share nothing: the distance is that of the means, and both traces."""
    a, b = torch.zeros(5, 30, dtype=torch.float64), torch.zeros(7, 30, dtype=torch.float64)
    a[:, :4], b[:, 10:16] = vectors(5, 4, 0), vectors(7, 6, 1)
    expected = (a.mean(0) - b.mean(0)).square().sum() + a.var(0).sum() + b.var(0).sum()
    assert distance(a, b) == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("batch", [1, 40, 90])
def test_few_vectors_of_many_features_equal_their_whole_covariances(batch: int) -> None:
    """As moments of so many that the covariance is kept are: nothing of (K, K) is made, or factored."""
    a, b = vectors(90, 100, 0, shift=3), vectors(70, 100, 1)
    whole = [Moments(len(x), x.mean(0), torch.cov(x.T) * (len(x) - 1)) for x in (a, b)]
    few = [reduce(Moments.merge, map(Moments.from_vectors, x.split(batch))) for x in (a, b)]
    assert all(moments.scatter is None for moments in few)
    assert frechet_distance(*few) == pytest.approx(frechet_distance(*whole), rel=1e-10)
    assert few[0].covariance_factor is few[0].covariance_factor, "computed once"
    merged = few[0].merge(few[1])  # more vectors than features
    torch.testing.assert_close(merged.scatter, torch.cov(torch.cat([a, b]).T) * 159, rtol=1e-11, atol=1e-11)
    again = Moments.from_tensors(few[0].tensors())
    assert frechet_distance(again, few[1]) == frechet_distance(*few)


def test_the_pixels_of_few_images_in_colour_take_no_time() -> None:
    """The covariance of 12,288 features would take 1.2 GB."""
    a, b = (Moments.from_vectors(torch.randn(100, 3 * 64 * 64)) for _ in range(2))
    assert frechet_distance(a, b) > 0


def test_constant_features() -> None:
    ones = torch.ones(5, 3)
    assert distance(ones, ones) == 0
    assert distance(ones, ones + 1) == pytest.approx(3)


def test_grows_with_noise_and_with_dropped_modes() -> None:
    a = vectors(2000, 8, 0)
    noise = torch.randn(2000, 8, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    noisy = [distance(a, a + level * noise) for level in (0.0, 0.5, 1.0, 2.0, 4.0)]
    assert noisy == sorted(noisy)
    modes = a + 10 * torch.eye(8, dtype=torch.float64)[torch.arange(2000) % 8]
    dropped = [distance(modes, modes[torch.arange(2000) % 8 < left]) for left in (8, 6, 4, 2, 1)]
    assert dropped == sorted(dropped)


@pytest.mark.parametrize("batch", [1, 7, 64, 300])
def test_merged_moments_are_those_of_the_whole(batch: int) -> None:
    a = vectors(300, 12, 0, shift=100)
    parts = [Moments.from_vectors(part) for part in a.split(batch)]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    assert merged.count == 300
    torch.testing.assert_close(merged.mean, a.mean(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(merged.scatter / 299, torch.cov(a.T), rtol=1e-11, atol=1e-11)


def test_moments_survive_as_tensors() -> None:
    a = Moments.from_vectors(vectors(30, 4, 0))
    b = Moments.from_tensors(a.tensors())
    assert b.count == a.count
    assert torch.equal(b.mean, a.mean)
    assert torch.equal(b.scatter, a.scatter)


def test_refuses_a_single_image_and_features_that_are_not_finite() -> None:
    with pytest.raises(UsageError, match="fid needs 2 images or more, not 1"):
        distance(vectors(1, 4, 0), vectors(5, 4, 0))
    bad = vectors(5, 4, 0)
    bad[3, 2], bad[4, 0] = torch.nan, torch.inf
    with pytest.raises(UsageError, match="2 of 5 images are NaN or infinite"):
        Moments.from_vectors(bad)


def test_extrapolation_equals_a_line_fitted_to_scipys_distances() -> None:
    samples, real = vectors(600, 6, 0, scale=1.1), vectors(900, 6, 1)
    numbers = np.linspace(60, 600, 4).astype(int)
    subsets = [
        samples[torch.randperm(600, generator=keyed_generator(3, "fid-infinity", int(number)))[:number]]
        for number in numbers
    ]
    slope, expected = np.polyfit(1 / numbers, [by_scipy(subset, real) for subset in subsets], 1)
    ours = extrapolated_distance(samples, Moments.from_vectors(real), sizes=4, seed=3)
    assert ours == pytest.approx(expected, rel=1e-8)
    assert slope > 0


def test_extrapolation_takes_the_bias_of_few_samples_away() -> None:
    """Of N(0, I) and N(0, 4 I) in 24 dimensions, whose distance is 24 (2 - 1)², by 20 draws of 400 samples each."""
    real = Moments(10_000, torch.zeros(24, dtype=torch.float64), torch.eye(24, dtype=torch.float64) * 9999 * 4)
    plain, extrapolated = [], []
    for seed in range(20):
        samples = torch.randn(400, 24, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        plain.append(frechet_distance(Moments.from_vectors(samples), real))
        extrapolated.append(extrapolated_distance(samples, real))
    errors = [np.mean(values) - 24 for values in (plain, extrapolated)]
    assert errors[0] > 0.3, "few samples seem farther than they are"
    assert abs(errors[1]) < errors[0] / 3


def test_extrapolation_refuses_too_few() -> None:
    with pytest.raises(UsageError, match="fid-infinity needs 20"):
        extrapolated_distance(vectors(19, 4, 0), Moments.from_vectors(vectors(50, 4, 1)))
