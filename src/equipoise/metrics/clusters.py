"""Clusters of the data that samples leave out: k-means of real images, and how often samples fall to each centre.

After Richardson and Weiss (2018), "On GANs and GMMs", arXiv:1805.12462, who count the clusters whose share differs;
here those count that are nearly empty, which is what a person calls missing.
"""

import math

import torch
from torch import Tensor

from equipoise.randomness import keyed_generator

ROUNDS = 30  # of Lloyd's algorithm, at most
SHARE = 0.25  # of the samples that a cluster should have: with fewer it is missing ...
CHANCE = 1e-4  # ... unless equal distributions would leave it so few with this probability or more


def k_means(vectors: Tensor, count: int, seed: int = 0) -> Tensor:
    """Centres (count, K) of a local optimum of k-means: Lloyd's algorithm from k-means++ (Arthur, Vassilvitskii 2007).

    Args:
        vectors: (N, K) float64, N >= count.
        count: number of centres.
        seed: of the first centres.
    """
    generator = keyed_generator(seed, "k-means")
    chosen = [int(torch.randint(len(vectors), (1,), generator=generator))]
    nearest = _squared_distances(vectors, vectors[chosen])[:, 0]
    while len(chosen) < count:
        weights = nearest if nearest.sum() > 0 else torch.ones_like(nearest)  # all vectors may be alike
        chosen.append(int(torch.multinomial(weights, 1, generator=generator)))
        nearest = torch.minimum(nearest, _squared_distances(vectors, vectors[chosen[-1:]])[:, 0])
    centres = vectors[chosen]
    for _ in range(ROUNDS):
        members = torch.nn.functional.one_hot(_squared_distances(vectors, centres).argmin(dim=1), count).double()
        sizes = members.sum(dim=0)[:, None]
        moved = torch.where(sizes > 0, members.T @ vectors / sizes.clamp(min=1), centres)
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres


def cluster_sizes(vectors: Tensor, centres: Tensor) -> Tensor:
    """Number of vectors (N, K) to which each of the centres (M, K) is the nearest one; (M,) int64."""
    return torch.bincount(_squared_distances(vectors, centres).argmin(dim=1), minlength=len(centres))


def missing_clusters(real: Tensor, samples: Tensor) -> Tensor:
    """Which clusters the samples leave out, (M,) bool: below SHARE of what is due, and not by chance.

    The chance is exact: of all images in the cluster, real and generated, each is a sample as likely as any image is
    (Fisher's one-sided test), and the samples would be so few with a probability below CHANCE.

    Args:
        real: (M,) numbers of real images in each cluster.
        samples: (M,) numbers of samples.
    """
    total_real, total = int(real.sum()), int(samples.sum())
    missing = []
    for there, here in zip(real.tolist(), samples.tolist(), strict=True):
        few = here < SHARE * total * there / total_real
        missing.append(few and _chance(here, total, there, total_real) < CHANCE)
    return torch.tensor(missing)


def _chance(here: int, samples: int, there: int, real: int) -> float:
    """Probability of `here` samples or fewer among the images of a cluster, of a hypergeometric distribution."""
    members = here + there
    ways = sum(math.comb(samples, count) * math.comb(real, members - count) for count in range(here + 1))
    return ways / math.comb(samples + real, members)


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x, y, compute_mode="use_mm_for_euclid_dist").square()
