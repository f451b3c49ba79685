"""WGAN with clipped weights against exact Wasserstein distances, in float64."""

import math

import pytest
import torch
from batches import image_batch, images, linear, minimised, numbers, quantiles, score_batch
from scipy.stats import norm
from torch import Tensor, nn

from equipoise.objectives.gan import GAN
from equipoise.objectives.wgan import WGAN
from equipoise.players import DiscriminatorOutput, GeneratorOutput, Players
from equipoise.randomness import Draws
from equipoise.training.batch import StepInputs
from equipoise.training.distributed import Distributed
from equipoise.training.step import Optimizers, train_step


class Shift(nn.Module):
    """A generator that moves its latent by weights of its own."""

    def __init__(self, by: Tensor) -> None:
        super().__init__()
        self.by = nn.Parameter(by)

    def forward(self, latent: Tensor) -> GeneratorOutput:
        return GeneratorOutput(latent.view(-1, *self.by.shape) + self.by)


class Critic(nn.Module):
    """A linear critic behind a layer whose weights begin at 1."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm, self.last = nn.LayerNorm(size), nn.Linear(size, 1)

    def forward(self, images: Tensor) -> DiscriminatorOutput:
        return DiscriminatorOutput(self.last(self.norm(images.flatten(1)))[:, 0])


class LinearCritic(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.last = nn.Linear(size, 1)

    def forward(self, images: Tensor) -> DiscriminatorOutput:
        return DiscriminatorOutput(self.last(images.flatten(1))[:, 0])


def steps(count: int, players: Players, real: Tensor, latent: Tensor, *, generator_moves: bool = False) -> None:
    optimizers = Optimizers(*(torch.optim.RMSprop(player.parameters(), 5e-3) for player in players))
    for step in range(count):
        given = StepInputs(real, latent, Draws(0, step, len(real), slice(0, len(real)), dtype=torch.float64))
        train_step(
            players,
            optimizers,
            WGAN(clip=0.02),
            {},
            given,
            Distributed(),
            order="alternating",
            generator_moves=generator_moves,
        )


def test_hand_values() -> None:
    """The gap counts whole: some halve it, as if it were an average of two losses."""
    batch = score_batch(numbers([0.5, -1.0]), numbers([-2.0, 0.25]))
    loss = WGAN().discriminator_loss(batch, {})
    assert loss.value.item() == (-2.0 + 0.25) / 2 - (0.5 - 1.0) / 2
    assert loss.aux["gap"].item() == -loss.value.item()
    assert WGAN().generator_loss(batch, {}).value.item() == -(-2.0 + 0.25) / 2


def test_every_weight_of_the_critic_is_clipped_and_none_of_the_generators() -> None:
    torch.manual_seed(0)
    players = Players(Shift(torch.full((2, 2, 2), 5.0).double()), Critic(8).double())
    steps(1, players, images(6, 2, 2, 2), images(6, 8, seed=1), generator_moves=True)
    assert all(weight.abs().max() <= 0.02 for weight in players.discriminator.parameters())
    assert players.generator.by.min() > 1


def test_a_linear_critic_finds_the_largest_gap_that_clipping_allows() -> None:
    """The gap is then clip * ||mu_r - mu_g||_1."""
    torch.manual_seed(0)
    real, latent = images(32, 2, 3, 1), images(32, 6, seed=1)
    players = Players(Shift(torch.zeros(2, 3, 1).double()), LinearCritic(6).double())
    steps(60, players, real, latent)
    fake = players.generator(latent).images.detach()
    gap = WGAN().discriminator_loss(image_batch(players.discriminator, real, fake), {}).aux["gap"].item()
    assert gap == pytest.approx(0.02 * (real.mean(0) - fake.mean(0)).abs().sum().item(), rel=1e-9)


@pytest.mark.parametrize(("mu_1", "sigma_1", "mu_2", "sigma_2"), [(0, 1, 1, 2), (2, 0.5, -1, 0.7), (0, 1, 0, 3)])
def test_the_best_critic_of_two_gaussians_measures_their_wasserstein_distance(
    mu_1: float, sigma_1: float, mu_2: float, sigma_2: float
) -> None:
    """|x - x0|, x0 where the distribution functions cross: slope 1 everywhere, up or down where the mass must go."""
    x0 = (mu_1 * sigma_2 - mu_2 * sigma_1) / (sigma_2 - sigma_1)
    sign = math.copysign(1, sigma_1 - sigma_2)
    real, fake = quantiles(50_000, mu_1, sigma_1), quantiles(50_000, mu_2, sigma_2)
    batch = score_batch(sign * (real - x0).abs(), sign * (fake - x0).abs())
    gap = WGAN().discriminator_loss(batch, {}).aux["gap"].item()
    shift, t = mu_1 - mu_2, abs(sigma_1 - sigma_2)
    exact = t * math.sqrt(2 / math.pi) * math.exp(-(shift**2) / (2 * t**2)) + shift * (1 - 2 * norm.cdf(-shift / t))
    assert gap == pytest.approx(exact, rel=1e-3)
    assert (real - fake).abs().mean().item() == pytest.approx(exact, rel=1e-3)  # the transport itself


@pytest.mark.parametrize("theta", [-3.0, 0.01, 2.0])
def test_apart_the_gap_is_a_distance_and_the_gans_loss_says_nothing(theta: float) -> None:
    """Point masses at 0 and theta: W1 = |theta|; JS = ln 2 at any distance."""
    real, fake = torch.zeros(4, 1, 1, 1).double(), torch.full((4, 1, 1, 1), theta).double()
    steepest = linear(numbers([-math.copysign(1, theta)]))
    gap = WGAN().discriminator_loss(image_batch(steepest, real, fake), {}).aux["gap"].item()
    assert gap == pytest.approx(abs(theta))
    logits = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    least = minimised(
        lambda: GAN().discriminator_loss(score_batch(logits[:1].expand(4), logits[1:].expand(4)), {}).value, [logits]
    )
    assert (2 * math.log(2) - least) / 2 == pytest.approx(math.log(2), rel=1e-6)


def test_the_critics_schedule() -> None:
    phases = [WGAN(long_phases=True).critic_steps(generator_steps, 5, 10) for generator_steps in range(1_002)]
    assert phases[:25] == [100] * 25
    assert [step for step in range(25, 1_002) if phases[step] == 100] == [500, 1000]
    assert set(phases) == {5, 100}
    assert {WGAN().critic_steps(step, 3, 10) for step in range(1_002)} == {3}


def test_the_generator_follows_the_critic() -> None:
    """A linear critic c has gradient c; the generator climbs it."""
    theta = torch.zeros(3, 1, 1, dtype=torch.float64, requires_grad=True)
    weight = numbers([1.0, -2.0, 0.5])
    discriminator = linear(weight)
    fake = images(5, 3, 1, 1) + theta
    batch = image_batch(discriminator, images(5, 3, 1, 1), fake)
    (gradient,) = torch.autograd.grad(WGAN().generator_loss(batch, {}).value, theta)
    torch.testing.assert_close(gradient.flatten(), -weight)
