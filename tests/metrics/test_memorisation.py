"""Nearest training images, and memorisation as the share of samples that are too near."""

import pytest
import scipy.stats
import torch
from torch import Tensor

from equipoise.errors import UsageError
from equipoise.metrics import crowding, memorisation, nearest


def vectors(count: int, seed: int, size: int = 5) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("chunk", [1, 7, 64, 200])
def test_equals_every_pair_compared_whatever_the_chunks(chunk: int) -> None:
    queries, base = vectors(30, 0), vectors(200, 1)
    every = (queries.double()[:, None] - base.double()).norm(dim=2)
    found = nearest(queries, base.split(chunk), max_distances=500)
    assert torch.equal(found.indices, every.argmin(dim=1))
    torch.testing.assert_close(found.distances, every.amin(dim=1), rtol=1e-14, atol=0)


def test_processes_that_search_a_part_each_find_the_same() -> None:
    queries, base = vectors(30, 0), vectors(200, 1)
    base[150:] = base[50:100]  # of equal images the first one is named
    whole = nearest(queries, [base])
    parts = nearest(queries, base[:120].split(50)).merge(nearest(queries, base[120:].split(30), first=120))
    assert torch.equal(parts.indices, whole.indices)
    assert torch.equal(parts.distances, whole.distances)


def test_a_copy_is_found_at_distance_zero() -> None:
    base = vectors(200, 1) * 3 + 1000
    found = nearest(base[[17, 180, 3]], base.split(64))
    assert found.indices.tolist() == [17, 180, 3]
    assert found.distances.tolist() == [0, 0, 0]


def test_pixels_serve_as_well() -> None:
    images = torch.randint(0, 256, (50, 3, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    changed = images[[20, 30]].clone()
    changed[0, 0, 0, 0] ^= 3
    found = nearest(changed, images.split(20))
    assert found.indices.tolist() == [20, 30]
    assert 0 < found.distances[0] <= 3
    assert found.distances[1] == 0


def test_memorisation_is_a_rank_statistic() -> None:
    samples, held_out = vectors(80, 0, 1)[:, 0].abs(), vectors(60, 1, 1)[:, 0].abs() + 0.2
    u = scipy.stats.mannwhitneyu(held_out.numpy(), samples.numpy()).statistic
    ours = memorisation(samples, held_out)
    assert ours.nearer == pytest.approx(u / (80 * 60), rel=1e-12)
    third, fourth = held_out.double().sort().values[2:4].tolist()  # for 0.05 (60 + 1) is 3.05
    assert ours.share == (samples.double() < third + 0.05 * (fourth - third)).double().mean()


def test_new_images_are_ideal_and_copies_are_noticed() -> None:
    training, held_out, fresh = (vectors(count, seed) for seed, count in enumerate((1000, 500, 1000)))
    far = nearest(held_out, [training]).distances
    shares, chances = [], []
    for copied in (0, 100, 300, 1000):
        noise = 0.01 * vectors(copied, 9)
        samples = torch.cat([training[:copied] + noise, fresh[copied:]])
        ours = memorisation(nearest(samples, [training]).distances, far)
        shares.append(ours.share)
        chances.append(ours.nearer)
    assert shares[0] == pytest.approx(0.05, abs=0.025)
    assert chances[0] == pytest.approx(0.5, abs=0.04)
    assert shares[1] == pytest.approx(0.1 + 0.9 * 0.05, abs=0.03)
    assert (shares, chances) == (sorted(shares), sorted(chances))
    assert shares[3] == 1
    assert chances[3] > 0.99


def test_equal_distances_are_even_chances() -> None:
    same = torch.arange(100.0)
    ours = memorisation(same, same)
    assert ours.nearer == pytest.approx(0.5, abs=1e-12)
    assert ours.share == pytest.approx(0.05)


def test_refuses_too_few_held_out_images() -> None:
    with pytest.raises(UsageError, match="20 images or more, not 19"):
        memorisation(torch.ones(5), torch.ones(19))


def test_crowding_equals_every_pair_compared() -> None:
    samples, training = vectors(40, 0), vectors(90, 1)
    samples[:3] = training[[4, 4, 50]]
    to_training = torch.cdist(samples.double(), training.double(), compute_mode="donot_use_mm_for_euclid_dist")
    apart = torch.cdist(training.double(), training.double(), compute_mode="donot_use_mm_for_euclid_dist")
    apart.fill_diagonal_(torch.inf)
    expected = to_training.amin(dim=1) / apart.amin(dim=1)[to_training.argmin(dim=1)]
    ours = crowding(nearest(samples, [training]), training, max_distances=300)
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)
    assert ours[:3].tolist() == [0, 0, 0]


def test_crowding_beside_duplicates_in_the_data() -> None:
    training = torch.tensor([[0.0], [0.0], [5.0], [6.0]])
    samples = torch.tensor([[0.0], [0.5], [5.25]])
    assert crowding(nearest(samples, [training]), training).tolist() == [1.0, torch.inf, 0.25]


def test_new_images_are_as_authentic_as_held_out_ones_and_copies_are_not() -> None:
    training, held_out, fresh = (vectors(count, seed) for seed, count in enumerate((1000, 500, 1000)))

    def share(samples: Tensor) -> float:
        return (crowding(nearest(samples, [training]), training) > 1).double().mean().item()

    assert share(fresh) == pytest.approx(share(held_out), abs=0.06)
    assert share(training + 0.01 * vectors(1000, 9)) < 0.01


@pytest.mark.parametrize("held_out", [20, 50, 500])
def test_the_share_of_new_images_is_what_is_said(held_out: int) -> None:
    """Of distances that are all drawn alike, however few images are held out."""
    generator = torch.Generator().manual_seed(0)
    draws = [torch.rand(2000 + held_out, generator=generator).split([2000, held_out]) for _ in range(2000)]
    mean = sum(memorisation(samples, others).share for samples, others in draws) / len(draws)
    assert mean == pytest.approx(0.05, abs=0.004)
