"""The first GAN against the closed forms of its theory, in float64."""

import math

import pytest
import torch
from batches import P, Q, enumerated, minimised, numbers, quantiles, score_batch
from torch import Tensor

from equipoise.objectives.gan import GAN

SOME = numbers([-1.5, 0.0, 0.3, 2.0])


def sigmoid(s: float) -> float:
    return 1 / (1 + math.exp(-s))


def test_hand_values() -> None:
    real, fake = [0.5, -1.0], [-2.0, 0.25]
    batch = score_batch(numbers(real), numbers(fake))
    d_loss = -sum(math.log(sigmoid(s)) for s in real) / 2 - sum(math.log(1 - sigmoid(s)) for s in fake) / 2
    assert GAN().discriminator_loss(batch, {}).value.item() == pytest.approx(d_loss, rel=1e-12)
    assert GAN(minimax=True).discriminator_loss(batch, {}).value.item() == pytest.approx(d_loss, rel=1e-12)
    aux = GAN().discriminator_loss(batch, {}).aux
    assert aux["accuracy"].item() == 0.5
    assert aux["probability_fake"].item() == pytest.approx((sigmoid(-2.0) + sigmoid(0.25)) / 2, rel=1e-12)
    assert (aux["score_real"].item(), aux["score_fake"].item()) == (-0.25, -0.875)
    saturating = sum(math.log(1 - sigmoid(s)) for s in fake) / 2
    other = -sum(math.log(sigmoid(s)) for s in fake) / 2
    assert GAN(minimax=True).generator_loss(batch, {}).value.item() == pytest.approx(saturating, rel=1e-12)
    assert GAN().generator_loss(batch, {}).value.item() == pytest.approx(other, rel=1e-12)


@pytest.mark.parametrize("minimax", [True, False])
def test_the_generators_gradient(minimax: bool) -> None:
    """Minimax -D(x~), which vanishes where D is sure; non-saturating -(1 - D(x~)); over N."""
    fake = SOME.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(GAN(minimax=minimax).generator_loss(score_batch(SOME, fake), {}).value, fake)
    expected = [-sigmoid(s) / 4 if minimax else -(1 - sigmoid(s)) / 4 for s in SOME.tolist()]
    torch.testing.assert_close(gradient, numbers(expected), rtol=1e-12, atol=0)


@pytest.mark.parametrize("minimax", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sure_discriminators_leave_everything_finite(minimax: bool, dtype: torch.dtype) -> None:
    """Logs of a sigmoid are infinite from a logit of 17 on."""
    real, fake = (torch.tensor([1e4, -1e4, 17, -90], dtype=dtype, requires_grad=True) for _ in range(2))
    objective, batch = GAN(minimax=minimax), score_batch(real, fake)
    losses = objective.discriminator_loss(batch, {}).value, objective.generator_loss(batch, {}).value
    gradients = torch.autograd.grad(losses[0], [real, fake]) + torch.autograd.grad(losses[1], [fake])
    assert all(value.isfinite().all() for value in (*losses, *gradients))
    assert losses[0].item() == pytest.approx(5000 + 90 / 4 + 17 / 4, rel=1e-5)


def test_the_best_discriminator_is_the_share_of_the_real() -> None:
    """D* = p / (p + q), and there L_D = 2 ln 2 - 2 JS(p, q)."""
    logits = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    least = minimised(lambda: GAN().discriminator_loss(enumerated(logits), {}).value, [logits])
    p, q = numbers(P) / 10, numbers(Q) / 10
    torch.testing.assert_close(logits.detach().sigmoid(), p / (p + q), rtol=1e-7, atol=0)
    mean = (p + q) / 2
    divergence = ((p * (p / mean).log()).sum() + (q * (q / mean).log()).sum()) / 2
    assert least == pytest.approx(2 * math.log(2) - 2 * divergence.item(), rel=1e-12)


def test_the_best_logit_between_two_gaussians_is_linear() -> None:
    """s* = (mu_p - mu_q) / sigma^2 (x - (mu_p + mu_q) / 2) for one sigma."""
    mu_p, mu_q, sigma = 1.0, -0.5, 1.3
    real, fake = quantiles(20_000, mu_p, sigma), quantiles(20_000, mu_q, sigma)
    weights = torch.zeros(2, dtype=torch.float64, requires_grad=True)

    def loss() -> Tensor:
        logits = [weights[0] * x + weights[1] for x in (real, fake)]
        return GAN().discriminator_loss(score_batch(*logits), {}).value

    minimised(loss, [weights])
    slope = (mu_p - mu_q) / sigma**2
    torch.testing.assert_close(weights.detach(), numbers([slope, -slope * (mu_p + mu_q) / 2]), rtol=1e-3, atol=0)


def test_the_values_at_equilibrium() -> None:
    batch = score_batch(torch.zeros(3).double(), torch.zeros(3).double())
    assert GAN().discriminator_loss(batch, {}).value.item() == pytest.approx(2 * math.log(2), rel=1e-15)
    assert GAN().generator_loss(batch, {}).value.item() == pytest.approx(math.log(2), rel=1e-15)
    assert GAN().discriminator_loss(batch, {}).aux["probability_real"].item() == 0.5


@pytest.mark.parametrize("minimax", [True, False])
def test_a_generator_against_the_best_discriminator_finds_the_data(minimax: bool) -> None:
    """It shifts a Gaussian; the discriminator is replaced by its closed form before each step."""
    mu, latent = 1.0, quantiles(200)
    theta = torch.tensor(-0.5, dtype=torch.float64, requires_grad=True)
    for _ in range(200):
        slope, middle = mu - theta.item(), (mu + theta.item()) / 2
        fake = slope * (latent + theta - middle)
        (gradient,) = torch.autograd.grad(GAN(minimax=minimax).generator_loss(score_batch(fake, fake), {}).value, theta)
        with torch.no_grad():
            theta -= 0.3 * gradient
    assert theta.item() == pytest.approx(mu, abs=1e-6)
