"""Least squares GAN against its closed forms, in float64."""

import pytest
import torch
from batches import P, Q, enumerated, minimised, numbers, score_batch
from pydantic import ValidationError
from torch import Tensor

from equipoise.objectives.least_squares import LeastSquares

PEARSON = LeastSquares.presets()["pearson"][0]
SCHEMES = [LeastSquares(), PEARSON, LeastSquares(a=-2, b=3, c=0.5)]


def best(objective: LeastSquares) -> Tensor:
    """The discriminator of least loss, found by minimising it."""
    scores = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    minimised(lambda: objective.discriminator_loss(enumerated(scores), {}).value, [scores])
    return scores.detach()


@pytest.mark.parametrize("objective", SCHEMES)
def test_hand_values(objective: LeastSquares) -> None:
    real, fake = [0.75, -1.0, 4.0], [-2.0, 0.25, 1.0]
    batch = score_batch(numbers(real), numbers(fake))
    a, b, c = objective.a, objective.b, objective.c
    d_loss = sum((s - b) ** 2 for s in real) / 6 + sum((s - a) ** 2 for s in fake) / 6
    g_loss = sum((s - c) ** 2 for s in fake) / 6
    loss = objective.discriminator_loss(batch, {})
    assert loss.value.item() == pytest.approx(d_loss, rel=1e-12)
    assert objective.generator_loss(batch, {}).value.item() == pytest.approx(g_loss, rel=1e-12)
    right = sum(s > (a + b) / 2 for s in real) / 6 + sum(s < (a + b) / 2 for s in fake) / 6
    assert loss.aux["accuracy"].item() == pytest.approx(right, rel=1e-12)


@pytest.mark.parametrize("objective", SCHEMES)
def test_the_best_discriminator_weighs_its_targets(objective: LeastSquares) -> None:
    """D* = (b p + a q) / (p + q)."""
    p, q = numbers(P), numbers(Q)
    torch.testing.assert_close(best(objective), (objective.b * p + objective.a * q) / (p + q), rtol=1e-6, atol=1e-6)


def test_the_pearson_scheme_leaves_the_generator_a_divergence() -> None:
    """The integral of (p + q) D*^2 is that of (p - q)^2 / (p + q); for c = 0 that is twice L_G on both kinds."""
    scores = best(PEARSON)
    batch = enumerated(scores)
    swapped = score_batch(batch.d_fake.score, batch.d_real.score)
    both = 2 * sum(PEARSON.generator_loss(each, {}).value for each in (batch, swapped))
    p, q = numbers(P) / 10, numbers(Q) / 10
    torch.testing.assert_close(both, ((p - q) ** 2 / (p + q)).sum(), rtol=1e-6, atol=0)


@pytest.mark.parametrize(("objective", "d_loss", "g_loss"), [(LeastSquares(), 1 / 4, 1 / 8), (PEARSON, 1.0, 0.0)])
def test_the_values_where_p_is_q(objective: LeastSquares, d_loss: float, g_loss: float) -> None:
    middle = torch.full((5,), (objective.a + objective.b) / 2, dtype=torch.float64)
    batch = score_batch(middle, middle)
    assert objective.discriminator_loss(batch, {}).value.item() == d_loss
    assert objective.generator_loss(batch, {}).value.item() == g_loss


def test_the_schemes_of_the_paper() -> None:
    assert (LeastSquares().a, LeastSquares().b, LeastSquares().c) == (0, 1, 1)
    assert LeastSquares(a=-1, b=1, c=0) == PEARSON
    assert PEARSON.b - PEARSON.c == 1
    assert PEARSON.b - PEARSON.a == 2


def test_targets_must_be_apart() -> None:
    with pytest.raises(ValidationError, match=r"a = 1 must be below b = 1"):
        LeastSquares(a=1)
