"""KID and the squared MMD: against torchmetrics and the formula written out."""

import math

import pytest
import torch
from torch import Tensor
from torchmetrics.image.kid import KernelInceptionDistance

from equipoise.errors import UsageError
from equipoise.metrics import clip_distance, gaussian, kernel_distance, squared_mmd


def vectors(count: int, seed: int, size: int = 6) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def written_out(a: Tensor, b: Tensor) -> float:
    def k(x: Tensor, y: Tensor) -> float:
        return float((x @ y / len(x) + 1) ** 3)

    within = [sum(k(x, y) for i, x in enumerate(v) for j, y in enumerate(v) if i != j) for v in (a, b)]
    between = sum(k(x, y) for x in a for y in b)
    n, m = len(a), len(b)
    return within[0] / (n * (n - 1)) + within[1] / (m * (m - 1)) - 2 * between / (n * m)


def test_equals_the_formula_written_out() -> None:
    a, b = vectors(12, 0), vectors(9, 1) + 0.5
    assert squared_mmd(a, b) == pytest.approx(written_out(a, b), rel=1e-12)


def test_blocks_do_not_change_it() -> None:
    a, b = vectors(150, 0), vectors(90, 1) + 0.5
    assert squared_mmd(a, b, block=32) == pytest.approx(squared_mmd(a, b), rel=1e-12)


def test_equals_torchmetrics_with_features_of_ones_own() -> None:
    class Flat(torch.nn.Module):
        num_features = 12

        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1)

    a, b = vectors(50, 0, 12), vectors(50, 1, 12) + 0.3
    oracle = KernelInceptionDistance(feature=Flat(), subsets=3, subset_size=50).set_dtype(torch.float64)
    oracle.update(a.view(-1, 3, 2, 2), real=True)
    oracle.update(b.view(-1, 3, 2, 2), real=False)
    ours = kernel_distance(a, b, subsets=3, subset_size=50)
    assert ours.value == pytest.approx(oracle.compute()[0].item(), rel=1e-9)
    assert ours.spread == pytest.approx(0, abs=1e-12)  # the subsets are the sets


def test_subsets_average_to_the_full_estimate() -> None:
    a, b = vectors(400, 0), vectors(500, 1) + 0.3
    ours = kernel_distance(a, b, subsets=400, subset_size=50)
    assert ours.count == 400
    assert ours.value == pytest.approx(squared_mmd(a, b), abs=4 * ours.error)
    assert ours.spread > 0


def test_is_unbiased_where_fid_is_not() -> None:
    """Equal distributions: the mean over independent pairs of tiny sets is 0 within its error."""
    values = torch.tensor([squared_mmd(vectors(10, 2 * n), vectors(10, 2 * n + 1)) for n in range(300)])
    assert abs(values.mean()) < 4 * values.std() / 300**0.5


def test_equal_distributions_are_within_the_spread_of_zero() -> None:
    ours = kernel_distance(vectors(1000, 0), vectors(1000, 1))
    assert abs(ours.value) < ours.spread


def test_a_set_and_itself_lie_as_far_below_zero_as_their_shared_images_put_them() -> None:
    """The pairs of an image with itself are left out within a set, and counted between: -2/N (k(x,x) - k(x,y))."""
    a = vectors(200, 0)
    kernels = (a @ a.T / 6 + 1) ** 3
    within = (kernels.sum() - kernels.trace()) / (200 * 199)
    assert squared_mmd(a, a) == pytest.approx((-2 / 200 * (kernels.trace() / 200 - within)).item(), rel=1e-9)


def test_grows_with_noise_and_with_dropped_modes() -> None:
    a, noise = vectors(600, 0), vectors(600, 1)
    noisy = [kernel_distance(a, a + level * noise).value for level in (0.0, 0.5, 1.0, 2.0)]
    assert noisy == sorted(noisy)
    modes = a + 4 * torch.eye(6, dtype=torch.float64)[torch.arange(600) % 6]
    dropped = [kernel_distance(modes, modes[torch.arange(600) % 6 < left]).value for left in (6, 4, 2, 1)]
    assert dropped == sorted(dropped)


def test_the_gaussian_kernel_has_a_closed_form() -> None:
    """Between N(0, I) and N(m, I): (s² / (s² + 2))^(K/2) 2 (1 - exp(-|m|² / (2 (s² + 2))))."""
    a, b, s = vectors(3000, 0, 2), vectors(3000, 1, 2) + torch.tensor([1.0, 0.0]), 1.5
    expected = s**2 / (s**2 + 2) * 2 * (1 - torch.tensor(-1 / (2 * (s**2 + 2))).exp())
    assert squared_mmd(a, b, gaussian(s)) == pytest.approx(expected.item(), rel=0.08)


def test_is_a_function_of_its_seed() -> None:
    a, b = vectors(100, 0), vectors(100, 1)
    torch.rand(3)
    assert kernel_distance(a, b, seed=3) == kernel_distance(a, b, seed=3) != kernel_distance(a, b, seed=4)


def test_refuses_fewer_images_than_a_subset() -> None:
    with pytest.raises(UsageError, match="kid needs 40 images or more, not 30"):
        kernel_distance(vectors(50, 0), vectors(30, 1), subset_size=40)
    with pytest.raises(UsageError, match="kid needs 2 images or more, not 1"):
        kernel_distance(vectors(50, 0), vectors(1, 1))


def test_cmmd_equals_the_authors_formula_written_out() -> None:
    """All pairs, those of a vector with itself too, of vectors of unit length; σ = 10, times 1,000."""
    a, b = vectors(30, 0), vectors(21, 1) + 0.8

    def mean_kernel(x: Tensor, y: Tensor) -> Tensor:
        unit = [rows / rows.norm(dim=1, keepdim=True) for rows in (x, y)]
        return torch.exp(-(unit[0][:, None] - unit[1][None]).square().sum(dim=2) / (2 * 10**2)).mean()

    expected = 1000 * (mean_kernel(a, a) + mean_kernel(b, b) - 2 * mean_kernel(a, b))
    assert clip_distance(a, b) == pytest.approx(expected.item(), rel=1e-9)
    assert clip_distance(a * 3, b) == pytest.approx(clip_distance(a, b), rel=1e-12), "lengths do not count"


def test_cmmd_of_two_opposite_directions() -> None:
    """Points u and -u: |u + u|² = 4, so it is 1000 · 2 (1 - exp(-4 / 200))."""
    u = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    assert clip_distance(u, -u) == pytest.approx(2000 * -math.expm1(-0.02), rel=1e-12)
    assert clip_distance(u.repeat(5, 1), u) == 0


def test_cmmd_is_too_high_by_what_pairs_with_themselves_add() -> None:
    a, b = vectors(40, 0), vectors(60, 1)
    x, y = (rows / rows.norm(dim=1, keepdim=True) for rows in (a, b))
    kernel = gaussian(10.0)

    def within(rows: Tensor) -> float:
        values = kernel(rows, rows)
        return float((values.sum() - values.trace()) / (len(rows) * (len(rows) - 1)))

    bias = (1 - within(x)) / len(x) + (1 - within(y)) / len(y)
    assert clip_distance(a, b) == pytest.approx(1000 * (squared_mmd(x, y, kernel) + bias), rel=1e-8)
