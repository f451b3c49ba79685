"""The boundary-constrained GAN against its own definition, in float64."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from batches import FunctionDiscriminator, image_batch, images, linear, numbers, score_batch
from pydantic import ValidationError
from torch import Tensor, nn

from equipoise.config.defaults import network_for
from equipoise.objectives.base import Batch
from equipoise.objectives.boundary_constrained import BCGAN, boundary_constraint, squared_weights
from equipoise.objectives.gan import GAN
from equipoise.players import GeneratorOutput

PLAIN = BCGAN(weight_penalty=0, constraint=0, constraint_g=0)


def gradients(objective: BCGAN, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Of the discriminator's loss in its scores, where real and generated images are the same."""
    real, fake = real.clone().requires_grad_(), fake.clone().requires_grad_()
    loss = objective.discriminator_loss(score_batch(real, fake), {}).value
    by_real, by_fake = torch.autograd.grad(loss, [real, fake], allow_unused=True)
    return by_real, by_fake


def linear_players(count: int = 4) -> tuple[Batch, Tensor, Tensor]:
    """Linear players: G(z) = A z and s(x) = w'x; with w and A."""
    weight, maker = images(1, 1, 3, 3), images(9, 2, seed=1)
    latent = images(count, 2, seed=2).requires_grad_()
    fake = (latent @ maker.T).view(count, 1, 3, 3)
    batch = image_batch(linear(weight), images(count, 1, 3, 3, seed=3), fake)
    return replace(batch, latent=latent), weight, maker


def test_hand_values() -> None:
    """softplus written out; d is the mean root-mean-square distance of an image and the one beside it."""
    real, fake = numbers([0.5, -1.0]), numbers([0.1, 2.0])
    batch = score_batch(real, fake)
    pixels = torch.stack([torch.zeros(1, 2, 2).double(), torch.full((1, 2, 2), 0.6, dtype=torch.float64)])
    batch = replace(batch, real=torch.zeros(2, 1, 2, 2).double(), fake=GeneratorOutput(pixels))
    l_r = torch.log1p((-real).exp()).mean().item()
    l_f = torch.log1p(fake.exp()).mean().item() - 0.3 / 2
    objective = BCGAN(alpha=0.9, beta=0.4, distance_scale=2, weight_penalty=0, constraint=0)
    expected = 0.9 * l_f + 0.4 * max(l_r - l_f, 0)
    assert objective.discriminator_loss(batch, {}).value.item() == pytest.approx(expected, rel=1e-12)
    assert PLAIN.generator_loss(batch, {}).value.item() == pytest.approx(
        torch.log1p((-fake).exp()).mean().item(), rel=1e-12
    )


def test_weights_of_both_errors_in_each_regime() -> None:
    """(beta, alpha - beta) where l_r > l_f', else (0, alpha)."""
    objective = BCGAN(alpha=0.8, beta=0.3, weight_penalty=0, constraint=0)
    low, high = numbers([-2.0, -1.0]), numbers([1.0, 3.0])
    real, fake = gradients(objective, low, low)  # real images misclassified, generated ones not
    torch.testing.assert_close(real, -0.3 * (-low).sigmoid() / 2, rtol=1e-12, atol=0)
    torch.testing.assert_close(fake, 0.5 * low.sigmoid() / 2, rtol=1e-12, atol=0)
    assert objective.discriminator_loss(score_batch(low, low), {}).aux["mixing_active"].item() == 1
    real, fake = gradients(objective, high, high)
    assert real.tolist() == [0, 0]
    torch.testing.assert_close(fake, 0.8 * high.sigmoid() / 2, rtol=1e-12, atol=0)
    assert objective.discriminator_loss(score_batch(high, high), {}).aux["mixing_active"].item() == 0


def test_with_nothing_else_it_is_half_a_gan() -> None:
    real, fake = numbers([-2.0, -1.0]), numbers([-0.5, -3.0])
    ours = gradients(PLAIN, real, fake)
    real, fake = real.requires_grad_(), fake.requires_grad_()
    theirs = torch.autograd.grad(GAN().discriminator_loss(score_batch(real, fake), {}).value, [real, fake])
    for half, whole in zip(ours, theirs, strict=True):
        torch.testing.assert_close(half, whole / 2, rtol=1e-12, atol=0)


def test_the_regime_is_the_whole_batchs() -> None:
    """l_r - l_f' is compared over every process's images; here the others' turn it."""
    low = numbers([-2.0, -1.0])
    batch = replace(score_batch(low, low), all_gather=lambda rows: torch.cat([rows, torch.full((2,), -50.0).double()]))
    assert PLAIN.discriminator_loss(batch, {}).aux["mixing_active"].item() == 0


def test_the_convex_mix() -> None:
    objective = BCGAN(mix="convex", alpha=0.3, weight_penalty=0, constraint=0)
    real, fake = gradients(objective, numbers([0.4]), numbers([-0.7]))
    assert real.item() == pytest.approx(-0.3 * numbers([-0.4]).sigmoid().item(), rel=1e-12)
    assert fake.item() == pytest.approx(0.7 * numbers([-0.7]).sigmoid().item(), rel=1e-12)


def test_the_distance_is_not_a_path_for_gradients() -> None:
    fake = images(2, 1, 3, 3).requires_grad_()
    batch = replace(score_batch(numbers([0.1, 0.2]).requires_grad_(), numbers([0.3, 0.4])), fake=GeneratorOutput(fake))
    batch = replace(batch, real=images(2, 1, 3, 3, seed=1))
    assert torch.autograd.grad(PLAIN.discriminator_loss(batch, {}).value, fake, allow_unused=True) == (None,)


def test_a_constant_discriminator_has_no_boundary() -> None:
    points = images(3, 1, 2, 2).requires_grad_()
    slope, steepest = boundary_constraint(0 * points.sum((1, 2, 3)) + 1.5, points)
    assert (slope.item(), steepest.item()) == (0, 0)


def test_the_boundarys_slope_of_a_linear_logit() -> None:
    """B_i = softplus(-s_i) D_i (1 - D_i) max |w|, at the real images moved by the noise."""
    batch, weight, _ = linear_players()
    discriminator = batch.discriminator
    objective = BCGAN(weight_penalty=0)
    aux = objective.discriminator_loss(batch, {}).aux
    assert isinstance(discriminator, FunctionDiscriminator)
    moved = discriminator.inputs[-1]
    s = moved.flatten(1) @ weight.flatten()
    steepest = s.sigmoid() * (1 - s.sigmoid()) * weight.abs().max()
    assert aux["boundary_real"].item() == pytest.approx((F.softplus(-s) * steepest).mean().item(), rel=1e-12)
    assert aux["gradient_norm"].item() == pytest.approx(steepest.mean().item(), rel=1e-12)
    noise = moved - batch.real
    assert 0.03 < noise.max().item() <= 0.05
    assert -0.03 > noise.min().item() >= -0.05
    objective.discriminator_loss(batch, {})
    assert torch.equal(discriminator.inputs[-1], moved)  # drawn anew, and the same


def test_the_generators_slope_is_in_the_latent() -> None:
    """Through G: max over the latent's numbers of |D' A'w|; its gradient reaches the generator."""
    batch, weight, maker = linear_players()
    loss = BCGAN(constraint_g=0.7).generator_loss(batch, {})
    assert isinstance(batch.discriminator, FunctionDiscriminator)
    s = batch.discriminator.inputs[-1].flatten(1) @ weight.flatten()
    steepest = s.sigmoid() * (1 - s.sigmoid()) * (maker.T @ weight.flatten()).abs().max()
    slope = (F.softplus(-s) * steepest).mean().item()
    adversarial = F.softplus(-batch.d_fake.score).mean().item()
    assert loss.aux["boundary_fake"].item() == pytest.approx(slope, rel=1e-12)
    assert loss.value.item() == pytest.approx(adversarial + 0.7 * slope, rel=1e-12)
    assert torch.autograd.grad(loss.value, batch.latent)[0].abs().sum().item() > 0


@pytest.mark.parametrize("norm", ["default", "batch"])
def test_the_generators_slope_is_of_each_latent_alone_on_the_default_networks(norm: str) -> None:
    """Beside one image at a time; under BatchNorm it would not be, which is why that is refused."""
    network = replace(network_for(BCGAN(), "dcgan"), width=4, latent=5)
    network = network if norm == "default" else replace(network, generator_norm="batch")
    torch.manual_seed(0)
    generator, discriminator = (player.double() for player in network.build((1, 16, 16)))
    latent = images(6, 5).requires_grad_()

    def constraint(rows: Tensor) -> Tensor:
        scores = discriminator(generator(latent).images[rows]).score
        (gradient,) = torch.autograd.grad(scores.sigmoid().sum(), latent)
        return F.softplus(-scores) * gradient[rows].abs().amax(1)

    alone = torch.cat([constraint(torch.tensor([row])) for row in range(len(latent))]).mean()
    batch = replace(image_batch(discriminator, images(6, 1, 16, 16), generator(latent).images), latent=latent)
    together = BCGAN(noise=0).generator_loss(batch, {}).aux["boundary_fake"]
    assert (abs(together.item() / alone.item() - 1) < 1e-9) == (norm == "default")


def test_the_constraint_is_linear_in_its_weight_and_never_negative() -> None:
    batch, _, _ = linear_players()
    losses = [
        BCGAN(weight_penalty=0, constraint=weight).discriminator_loss(batch, {}).value.item() for weight in (0, 1, 3)
    ]
    assert losses[1] > losses[0]
    assert losses[2] - losses[0] == pytest.approx(3 * (losses[1] - losses[0]), rel=1e-9)


def test_the_constraint_moves_the_discriminator() -> None:
    """Its gradient is the whole of it, by differences: through softplus(-s), and through the slope."""
    weight, real, fake = images(1, 1, 3, 3), images(4, 1, 3, 3, seed=3), images(4, 1, 3, 3, seed=4)
    objective = BCGAN(weight_penalty=0, constraint=1)

    def constraint(weight: Tensor) -> Tensor:
        batch = image_batch(linear(weight), real, fake)
        return objective.discriminator_loss(batch, {}).value - PLAIN.discriminator_loss(batch, {}).value

    leaf = weight.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(constraint(leaf), leaf)
    direction, h = images(1, 1, 3, 3, seed=5), 1e-6
    change = (constraint(weight + h * direction) - constraint(weight - h * direction)) / (2 * h)
    assert (gradient * direction).sum().item() == pytest.approx(change.item(), rel=1e-6)


def test_the_weight_penalty_is_half_the_squares_once() -> None:
    network = nn.Linear(3, 2).double()
    total = sum(value**2 for weight in network.parameters() for value in weight.flatten().tolist())
    assert squared_weights(network).item() == pytest.approx(total, rel=1e-12)
    batch = replace(score_batch(numbers([0.5]), numbers([0.1])), discriminator=network)
    with_penalty = BCGAN(weight_penalty=0.2, constraint=0).discriminator_loss(batch, {}).value
    without = BCGAN(weight_penalty=0, constraint=0).discriminator_loss(batch, {}).value
    assert (with_penalty - without).item() == pytest.approx(0.1 * total, rel=1e-9)


@pytest.mark.parametrize(
    ("values", "words"), [({"beta": 1.1}, "from 0 to alpha"), ({"mix": "convex", "alpha": 2}, "1")]
)
def test_weights_that_reward_a_bad_critic_are_refused(values: dict[str, float | str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        BCGAN(**values)  # type: ignore[arg-type]
