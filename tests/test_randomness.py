"""Draws are functions of seed, purpose and position."""

import pytest
import torch

from equipoise.randomness import keyed_generator, latents, random_places


def test_a_draw_depends_on_nothing_but_its_key() -> None:
    def draw(*key: object) -> torch.Tensor:
        return torch.rand(4, generator=keyed_generator(*key))  # type: ignore[arg-type]

    torch.rand(3)
    assert torch.equal(draw(0, "latents", 16), draw(0, "latents", 16))
    others = [(1, "latents", 16), (0, "samples", 16), (0, "latents", 32), (10, "latents", 6)]
    assert all(not torch.equal(draw(0, "latents", 16), draw(*other)) for other in others)


@pytest.mark.parametrize(("prior", "variance"), [("uniform", 1 / 3), ("normal", 1.0)])
def test_priors(prior: str, variance: float) -> None:
    z = latents(20_000, 10, prior, keyed_generator(0, "test"))  # type: ignore[arg-type]
    assert z.shape == (20_000, 10)
    assert z.mean().item() == pytest.approx(0, abs=0.01)
    assert z.var().item() == pytest.approx(variance, rel=0.02)
    if prior == "uniform":
        assert -1 <= z.min() < -0.999 < 0.999 < z.max() <= 1


def test_random_places_are_in_order_and_differ_by_seed_and_purpose() -> None:
    places = random_places(1000, 100, 0, "one")
    assert places.tolist() == sorted(set(places.tolist()))
    assert len(places) == 100
    assert 0 <= places[0] < 100  # all over
    assert 900 < places[-1] < 1000
    assert places.tolist() != random_places(1000, 100, 1, "one").tolist()
    assert places.tolist() != random_places(1000, 100, 0, "two").tolist()
    assert random_places(5, 100, 0, "one").tolist() == [0, 1, 2, 3, 4]
