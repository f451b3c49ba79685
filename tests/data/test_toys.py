"""Toys: their distributions in closed form, and that a point depends on its seed and position alone."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from equipoise.data import TOYS, Toy

MODAL = [TOYS["ring8"], TOYS["grid25"]]
each = pytest.mark.parametrize("toy", TOYS.values(), ids=list(TOYS))
modal = pytest.mark.parametrize("toy", MODAL, ids=["ring8", "grid25"])


def flat(toy: Toy, count: int, seed: int = 0, seen: int = 0) -> Tensor:
    return toy.draw(count, seed, seen).images.flatten(1)


@each
def test_points_are_images_of_one_pixel(toy: Toy) -> None:
    images, labels = toy.draw(6, 0, 0)
    assert (images.shape, images.dtype, toy.shape) == ((6, 2, 1, 1), torch.float32, (2, 1, 1))
    assert toy.count is None
    assert toy.skipped == []
    assert (labels is None) == (toy.classes == 0) == (toy.class_names is None)


@settings(max_examples=25)
@given(
    st.sampled_from(list(TOYS)), st.integers(0, 2**40), st.integers(0, 10**9), st.integers(0, 50), st.integers(1, 50)
)
def test_a_point_depends_on_its_seed_and_position_alone(name: str, seed: int, seen: int, skip: int, count: int) -> None:
    whole, part = TOYS[name].draw(skip + count, seed, seen), TOYS[name].draw(count, seed, seen + skip)
    assert torch.equal(whole.images[skip:], part.images)
    if whole.labels is not None and part.labels is not None:
        assert torch.equal(whole.labels[skip:], part.labels)


@each
@pytest.mark.parametrize("size", [2, 3])
def test_the_shares_of_all_processes_are_the_batch(toy: Toy, size: int) -> None:
    shares = [toy.draw(12, 5, 24, rank, size).images for rank in range(size)]
    assert torch.equal(torch.cat(shares), toy.draw(12, 5, 24).images)


@each
def test_seeds_positions_and_held_out_points_differ(toy: Toy) -> None:
    sets = [flat(toy, 500), flat(toy, 500, seed=1), flat(toy, 500, seen=500), toy.held_out(500)]
    everything = torch.cat([*sets, toy.held_out(500, seed=1)])
    assert len(torch.unique(everything, dim=0)) == 2500
    assert torch.equal(toy.held_out(500)[:20], toy.held_out(20))


def test_the_centres_are_those_of_gan_toy() -> None:
    grid = {(round(x * 2.828, 9), round(y * 2.828, 9)) for x, y in TOYS["grid25"].centres.tolist()}
    assert grid == {(2.0 * x, 2.0 * y) for x in range(-2, 3) for y in range(-2, 3)}
    ring = TOYS["ring8"].centres * 1.414
    root = math.sqrt(2)
    for expected in [(2, 0), (-2, 0), (0, 2), (0, -2), (root, root), (root, -root), (-root, root), (-root, -root)]:
        assert np.abs(ring - expected).max(axis=1).min() < 1e-9
    assert (len(ring), TOYS["ring8"].sigma, TOYS["grid25"].sigma) == (8, 0.02 / 1.414, 0.05 / 2.828)


@modal
def test_every_mode_is_a_gaussian_as_likely_as_the_others(toy: Toy) -> None:
    images, labels = toy.draw(25_000, 3, 0)
    assert labels is not None
    counts = torch.bincount(labels, minlength=toy.classes)
    assert scipy.stats.chisquare(counts.numpy()).pvalue > 1e-3
    normal = (images.flatten(1).double().numpy() - toy.centres[labels.numpy()]) / toy.sigma
    for axis in (0, 1):
        assert scipy.stats.kstest(normal[:, axis], "norm").pvalue > 1e-3
    assert scipy.stats.kstest((normal**2).sum(axis=1), "chi2", args=(2,)).pvalue > 1e-3
    assert abs(np.corrcoef(normal.T)[0, 1]) < 0.03


def test_the_swiss_roll_is_that_of_scikit_learn() -> None:
    """make_swiss_roll written out: t = 1.5 pi (1 + 2 u), (t cos t, ., t sin t), noise of deviation 0.25."""
    random = np.random.default_rng(0)
    t = 1.5 * np.pi * (1 + 2 * random.random(20_000))
    theirs = (np.stack([t * np.cos(t), t * np.sin(t)], axis=1) + 0.25 * random.standard_normal((20_000, 2))) / 7.5
    ours = flat(TOYS["swissroll"], 20_000).double().numpy()
    for direction in ([1, 0], [0, 1], [0.6, 0.8], [0.8, -0.6]):
        assert scipy.stats.ks_2samp(ours @ direction, theirs @ direction).pvalue > 1e-3
    assert scipy.stats.ks_2samp((ours**2).sum(axis=1), (theirs**2).sum(axis=1)).pvalue > 1e-3


@each
def test_held_out_points_follow_the_same_distribution(toy: Toy) -> None:
    seen, unseen = flat(toy, 10_000).numpy(), toy.held_out(10_000).numpy()
    for axis in (0, 1):
        assert scipy.stats.ks_2samp(seen[:, axis], unseen[:, axis]).pvalue > 1e-3


@each
def test_the_density_is_that_of_the_points(toy: Toy) -> None:
    """It integrates to 1, and its integral over a part of the plane is the share of the points there."""
    steps = torch.arange(-toy.extent, toy.extent, toy.sigma, dtype=torch.float64)
    x, y = torch.meshgrid(steps, steps, indexing="ij")
    lattice = torch.stack([x.flatten(), y.flatten()], dim=1)
    mass = torch.cat([toy.density(part) for part in torch.split(lattice, 50_000)]) * (steps[1] - steps[0]) ** 2
    assert float(mass.sum()) == pytest.approx(1, abs=1e-3)
    side = lattice @ torch.tensor([0.3, 1.0], dtype=torch.float64) > 0.4
    points = flat(toy, 40_000).double()
    share = (points @ torch.tensor([0.3, 1.0], dtype=torch.float64) > 0.4).double().mean()
    assert float(mass[side].sum()) == pytest.approx(float(share), abs=0.01)
    assert points.abs().max() < toy.extent
