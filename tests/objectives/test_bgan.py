"""The boundary-seeking GANs against closed forms and full enumeration, in float64."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from batches import P, Q, numbers, quantiles, score_batch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from equipoise.objectives.base import Batch, Loss, Needs
from equipoise.objectives.bgan import BGAN, BGANDiscrete, log_mean_exp
from equipoise.players import GeneratorOutput

SEED, AUTHORS = (BGAN.presets()[name][0] for name in ("seed", "authors"))
START = {"log_z": torch.zeros((), dtype=torch.float64)}
SOME = numbers([-1.5, 0.0, 0.3, 2.0])


def test_hand_values() -> None:
    """1/2 (log D - log(1 - D))^2: a plus in place of the minus would not be 0 at the boundary."""
    d = SOME.sigmoid()
    written_out = (0.5 * (d.log() - (1 - d).log()).square()).mean()
    batch = score_batch(SOME, SOME)
    assert SEED.generator_loss(batch, START).value.item() == pytest.approx(written_out.item(), rel=1e-12)
    assert SEED.discriminator_loss(batch, START).value.item() == pytest.approx(
        -(d.log() + (1 - d).log()).mean().item(), rel=1e-12
    )
    other = AUTHORS.generator_loss(batch, {"log_z": torch.tensor(0.7)}).value
    assert other.item() == pytest.approx((SOME - 0.7).square().mean().item(), rel=1e-6)
    assert SEED.generator_loss(score_batch(SOME, torch.zeros(4)), START).value.item() == 0


def test_the_generators_gradient_points_to_the_boundary() -> None:
    """s / N: exactly 0 at D = 1/2, and of opposite signs on either side."""
    fake = SOME.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(SEED.generator_loss(score_batch(SOME, fake), START).value, fake)
    torch.testing.assert_close(gradient, SOME / 4, rtol=1e-12, atol=0)
    assert gradient[1].item() == 0


@pytest.mark.parametrize("logit", [17.0, -17.0, 1000.0])
def test_sure_discriminators_leave_everything_finite(logit: float) -> None:
    """In single precision the log of 1 - sigmoid(17) is infinite, and its gradient is not a number."""
    fake = torch.tensor([logit], requires_grad=True)
    batch = score_batch(torch.tensor([-logit]), fake)
    loss = SEED.generator_loss(batch, {"log_z": torch.zeros(())})
    assert loss.value.item() == logit**2 / 2
    assert torch.autograd.grad(loss.value, fake)[0].item() == logit
    assert all(value.isfinite() for value in loss.aux.values())
    assert SEED.discriminator_loss(batch, START).value.isfinite()


@pytest.mark.parametrize("delta", [0.3, 1.0, 2.0])
def test_the_loss_between_gaussians(delta: float) -> None:
    """Of one width, apart by delta widths, under the best discriminator: 1/2 (delta^2 + delta^4 / 4)."""
    sigma, middle = 0.7, 1.3
    real, fake = middle + delta * sigma / 2, middle - delta * sigma / 2
    points = quantiles(100_001, fake, sigma)
    logits = (real - fake) / sigma**2 * (points - (real + fake) / 2)
    expected = (delta**2 + delta**4 / 4) / 2
    assert SEED.generator_loss(score_batch(logits, logits), START).value.item() == pytest.approx(expected, rel=1e-3)


def test_log_z_is_a_moving_mean_of_the_whole_batchs() -> None:
    mine, theirs = SOME, numbers([3.0, -2.0, 1.0, 0.5])
    batch = replace(score_batch(SOME, mine), all_gather=lambda rows: torch.cat([rows, theirs]))
    loss = AUTHORS.generator_loss(batch, START)
    expected = math.log(torch.cat([mine, theirs]).exp().mean().item())
    assert loss.aux["log_mean_weight"].item() == pytest.approx(expected, rel=1e-12)
    state = AUTHORS.adapt({"log_z": torch.tensor(2.0).double()}, loss.aux)
    assert state["log_z"].item() == pytest.approx(0.995 * 2 + 0.005 * expected, rel=1e-12)
    assert AUTHORS.measures(state, loss.aux)["log_z"] is state["log_z"]
    assert SEED.adapt(START, loss.aux)["log_z"].item() == 0
    only_d = AUTHORS.discriminator_loss(batch, START).aux
    assert AUTHORS.adapt(state, only_d) == state


@given(scores=st.lists(st.floats(-900, 900), min_size=1, max_size=6))
def test_log_mean_exp_does_not_overflow(scores: list[float]) -> None:
    most = max(scores)
    expected = most + math.log(sum(math.exp(score - most) for score in scores) / len(scores))
    assert log_mean_exp(numbers(scores)).item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


# Discrete: a generator that draws one of a few points, by the softmax of its logits.


def drawn(logits: Tensor, points: Sequence[int], score: Tensor) -> Batch:
    """The batch of one latent in which just these points were drawn, with the scores `score` (K,)."""
    where = torch.tensor(points)
    batch = score_batch(torch.zeros(1).double(), score[where])
    return replace(batch, fake=GeneratorOutput(where.view(-1, 1, 1, 1).double(), logits.log_softmax(0)[where]))


def gradient(logits: Tensor, points: Sequence[int], score: Tensor) -> Tensor:
    loss = BGANDiscrete(samples=len(points)).generator_loss(drawn(logits, points, score), START)
    return torch.autograd.grad(loss.value, logits)[0]


def weighed(scores: Tensor, samples: int) -> tuple[Loss, Tensor]:
    """The loss of given logits (N * M,), and its gradient in the log-probabilities."""
    log_prob = torch.zeros_like(scores).requires_grad_()
    batch = replace(score_batch(torch.zeros(2).double(), scores), fake=GeneratorOutput(scores, log_prob))
    loss = BGANDiscrete(samples=samples).generator_loss(batch, START)
    return loss, torch.autograd.grad(loss.value, log_prob)[0]


def test_needs_a_generator_of_discrete_images() -> None:
    assert BGANDiscrete(levels=4, samples=7).needs == Needs("logit", spectral=True, levels=4, samples=7)
    assert BGANDiscrete().needs == Needs("logit", spectral=True, levels=2, samples=20)


@given(scores=st.lists(st.floats(-30, 30), min_size=6, max_size=6).map(numbers))
def test_the_weights_of_a_latents_images_sum_to_1(scores: Tensor) -> None:
    loss, gradients = weighed(scores, samples=3)
    weights = -2 * gradients.view(2, 3)
    torch.testing.assert_close(weights, scores.view(2, 3).softmax(1), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(weights.sum(1), numbers([1, 1]))
    assert 1 - 1e-9 <= loss.aux["effective_sample_size"].item() <= 3 + 1e-9


def test_effective_sample_size_at_its_ends() -> None:
    assert weighed(numbers([2.0] * 8), 4)[0].aux["effective_sample_size"].item() == pytest.approx(4, rel=1e-12)
    one = numbers([0, 0, 0, 60.0] * 2)
    assert weighed(one, 4)[0].aux["effective_sample_size"].item() == pytest.approx(1, rel=1e-12)
    assert weighed(one, 4)[0].aux["log_weight_variance"].item() == pytest.approx(15**2 * 3, rel=1e-12)


def test_the_weights_are_not_a_path_for_gradients() -> None:
    scores = SOME.clone().requires_grad_()
    loss = BGANDiscrete(samples=4).generator_loss(drawn(SOME.clone().requires_grad_(), [0, 1, 2, 3], scores), START)
    assert torch.autograd.grad(loss.value, scores, allow_unused=True) == (None,)


def test_one_sample_teaches_nothing_on_average() -> None:
    """Its weight is 1 whatever the discriminator says; the expected gradient of log g is 0."""
    logits = SOME.clone().requires_grad_()
    probabilities = SOME.softmax(0)
    mean = sum(p * gradient(logits, [point], numbers([9, -3, 1, 0])) for point, p in enumerate(probabilities.tolist()))
    torch.testing.assert_close(mean, torch.zeros(4).double(), rtol=0, atol=1e-12)


def test_with_the_best_discriminator_the_gradient_is_q_minus_p() -> None:
    """By full enumeration: every point drawn as often as the generator q draws it, with exp s = p / q."""
    p, q = numbers(P) / 10, numbers(Q) / 10
    logits = q.log().requires_grad_()
    best = p.log() - q.log()
    points = [point for point, times in enumerate(Q) for _ in range(times)]
    torch.testing.assert_close(gradient(logits, points, best), q - p, rtol=1e-12, atol=1e-14)
    aux = BGANDiscrete(samples=10).generator_loss(drawn(logits, points, best), START).aux
    assert aux["log_mean_weight"].item() == pytest.approx(0, abs=1e-12)  # E_q w = 1


def test_the_bias_of_the_normalised_weights_halves_with_twice_the_samples() -> None:
    """O(1/M), exactly: over all ways in which M draws of two points can fall."""
    p, q = numbers([0.7, 0.3]), numbers([0.4, 0.6])
    logits, best = q.log().requires_grad_(), p.log() - q.log()

    def bias(samples: int) -> float:
        mean = torch.zeros(2).double()
        for first in range(samples + 1):
            chance = math.comb(samples, first) * 0.4**first * 0.6 ** (samples - first)
            mean += chance * gradient(logits, [0] * first + [1] * (samples - first), best)
        return (mean - (q - p)).norm().item()

    biases = [bias(samples) for samples in (10, 20, 40)]
    assert biases[1] / biases[0] == pytest.approx(0.5, abs=0.05)
    assert biases[2] / biases[1] == pytest.approx(0.5, abs=0.03)


def test_the_discrete_discriminators_loss_is_that_of_a_gan_over_all_samples() -> None:
    real, fake = numbers([0.5, -1.0]), numbers([0.1, 0.2, -0.3, 2.0])
    loss = BGANDiscrete(samples=2).discriminator_loss(score_batch(real, fake), START)
    expected = torch.log1p((-real).exp()).mean() + torch.log1p(fake.exp()).mean()
    assert loss.value.item() == pytest.approx(expected.item(), rel=1e-12)
