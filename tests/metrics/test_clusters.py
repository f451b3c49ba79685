"""Clusters of the data, and which of them samples leave out."""

import numpy as np
import pytest
import torch
from scipy.cluster.vq import kmeans2
from scipy.stats import hypergeom

from equipoise.metrics.clusters import CHANCE, SHARE, cluster_sizes, k_means, missing_clusters


def mixture(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Points of five Gaussians in the plane, far from one another, and the number of each point's own."""
    generator = torch.Generator().manual_seed(seed)
    own = torch.randint(5, (count,), generator=generator)
    centres = torch.tensor([[0, 0], [9, 0], [0, 15], [15, 15], [40, 20]]).double()
    return centres[own] + torch.randn(count, 2, generator=generator).double(), own


def test_k_means_finds_separate_clusters() -> None:
    points, own = mixture(500)
    centres = k_means(points, 5)
    means = torch.stack([points[own == number].mean(dim=0) for number in range(5)])
    assert torch.allclose(*(rows[rows.sum(dim=1).argsort()] for rows in (centres, means)))
    assert sorted(cluster_sizes(points, centres).tolist()) == sorted(torch.bincount(own).tolist())


def test_k_means_stays_where_scipys_stays() -> None:
    points = torch.randn(400, 6, generator=torch.Generator().manual_seed(1)).double()
    centres = k_means(points, 3)
    again, _ = kmeans2(points.numpy(), centres.numpy(), iter=100, minit="matrix")
    assert np.square(again - centres.numpy()).sum() < 0.05, "30 rounds are nearly, or exactly, a fixed point"


def test_k_means_of_vectors_that_are_alike() -> None:
    assert torch.equal(k_means(torch.ones(20, 3).double(), 4), torch.ones(4, 3).double())


def test_missing_is_few_of_what_is_due_and_by_scipy_no_chance() -> None:
    real = torch.tensor([100, 60, 30, 10, 3, 309])
    for samples in ([0, 0, 0, 0, 0, 256], [12, 7, 3, 1, 0, 233], [13, 8, 4, 2, 0, 229], [50, 30, 15, 5, 2, 154]):
        expected = []
        for there, here in zip(real.tolist(), samples, strict=True):
            chance = hypergeom.cdf(here, 512 + 256, there + here, 256)
            expected.append(bool(here < SHARE * 256 * there / 512 and chance < CHANCE))
        assert missing_clusters(real, torch.tensor(samples)).tolist() == expected
    assert not missing_clusters(torch.tensor([509, 3]), torch.tensor([256, 0])).any(), (
        "3 of 512 may well be none of 256"
    )


def test_equal_distributions_hardly_ever_miss_anything() -> None:
    generator = torch.Generator().manual_seed(0)
    alarms = 0
    for _ in range(300):
        real, samples = (
            torch.randint(16, (count,), generator=generator).bincount(minlength=16) for count in (512, 256)
        )
        alarms += bool(missing_clusters(real, samples).any())
    assert alarms <= 3


@pytest.mark.parametrize("lost", range(5))
def test_a_cluster_that_is_left_out_is_found(lost: int) -> None:
    points, own = mixture(512)
    others, group = mixture(400, seed=1)
    centres = k_means(points, 5)
    missing = missing_clusters(cluster_sizes(points, centres), cluster_sizes(others[group != lost], centres))
    assert missing.sum() == 1
    nearest = torch.cdist(points[own == lost].mean(dim=0)[None], centres).argmin()
    assert missing[nearest]
