"""WGAN-GP, DRAGAN and WGAN-FD against closed forms for linear critics, and against the bugs of others; in float64."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from batches import FunctionDiscriminator, draws, image_batch, images, linear, minimised, numbers, score_batch
from torch import Tensor, nn

from equipoise.config.defaults import network_for
from equipoise.objectives import Batch, Objective
from equipoise.objectives.gan import GAN
from equipoise.objectives.penalty import gradient_norms, mean_and_variance, total_deviation
from equipoise.objectives.wgan import DRAGAN, WGAN, WGANFD, WGANGP

SHAPES = [(2, 1, 1), (1, 3, 2), (4, 2, 3)]
PENALISED: list[tuple[Objective, Objective]] = [(WGANGP(), WGAN()), (DRAGAN(), GAN()), (WGANFD(probes=64), WGAN())]


def penalty(objective: WGANGP | DRAGAN, batch: Batch) -> Tensor:
    """What the objective adds to the loss without a penalty, over its weight."""
    free = replace(objective, weight=0)
    parts = objective.discriminator_loss(batch, {}).value, free.discriminator_loss(batch, {}).value
    return (parts[0] - parts[1]) / objective.weight


def pair(count: int, *shape: int) -> tuple[Tensor, Tensor]:
    return images(count, *shape), images(count, *shape, seed=1)


def of_length(length: float, *shape: int) -> Tensor:
    weight = images(1, *shape, seed=2)[0]
    return weight * length / weight.norm()


def convolutional(norm: nn.Module) -> FunctionDiscriminator:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), norm, nn.Tanh(), nn.Flatten(), nn.Linear(4 * 9, 1)).double()
    return FunctionDiscriminator(lambda x: layers(x)[:, 0])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("length", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("objective", [WGANGP(), DRAGAN()])
def test_the_penalty_of_a_linear_discriminator(
    objective: WGANGP | DRAGAN, length: float, shape: tuple[int, int, int]
) -> None:
    """(||w|| - 1)^2 over all values of an image at once, at any point; 0 if and only if ||w|| = 1."""
    discriminator = linear(of_length(length, *shape))
    for position in (0, 64):  # other draws of u
        batch = image_batch(discriminator, *pair(5, *shape), position)
        assert penalty(objective, batch).item() == pytest.approx((length - 1) ** 2, abs=1e-11)
        assert objective.discriminator_loss(batch, {}).aux["gradient_norm"].item() == pytest.approx(length, rel=1e-9)


@pytest.mark.parametrize(("objective", "plain"), PENALISED)
def test_the_penalty_is_added_to_the_whole_loss_without_it(objective: Any, plain: Objective) -> None:
    batch = image_batch(linear(of_length(1.0, 2, 2, 2)), *pair(5, 2, 2, 2))
    expected = plain.discriminator_loss(batch, {}).value
    free = replace(objective, weight=0).discriminator_loss(batch, {})
    torch.testing.assert_close(free.value, expected, rtol=1e-13, atol=0)
    torch.testing.assert_close(objective.generator_loss(batch, {}).value, plain.generator_loss(batch, {}).value)


def test_interpolates_lie_between_pairs_each_at_its_own_place() -> None:
    """Several draw one u for a whole batch; then these all agree."""
    discriminator = linear(of_length(1, 3, 2, 2))
    real, fake = pair(6, 3, 2, 2)
    WGANGP().discriminator_loss(image_batch(discriminator, real, fake), {})
    points = discriminator.inputs[-1]
    u = (points - fake) / (real - fake)
    mine = u.flatten(1).mean(1)
    torch.testing.assert_close(u, mine.view(-1, 1, 1, 1).expand_as(u), rtol=1e-9, atol=1e-12)
    assert mine.min() >= 0
    assert mine.max() < 1
    assert len(set(mine.tolist())) == 6
    torch.testing.assert_close(mine, draws(6).uniform("interpolation"), rtol=1e-9, atol=1e-12)


def test_the_penalty_of_a_curved_critic_by_plain_loops() -> None:
    """c = sum k x^2 / 2 has gradient k x: one norm over the whole batch, or over channels only, would differ."""
    k, (real, fake) = images(1, 3, 2, 2, seed=3)[0], pair(4, 3, 2, 2)
    discriminator = FunctionDiscriminator(lambda x: (k * x.square()).flatten(1).sum(1) / 2)
    u = draws(4).uniform("interpolation").tolist()
    total = 0.0
    for share, x, y in zip(u, real.flatten(1).tolist(), fake.flatten(1).tolist(), strict=True):
        squares = [(w * (share * a + (1 - share) * b)) ** 2 for w, a, b in zip(k.flatten().tolist(), x, y, strict=True)]
        total += (math.sqrt(sum(squares)) - 1) ** 2
    assert penalty(WGANGP(), image_batch(discriminator, real, fake)).item() == pytest.approx(total / 4, rel=1e-9)


@pytest.mark.parametrize("weight", [0.1, 10.0])
@pytest.mark.parametrize("distance", [0.5, 3.0])
def test_the_penalty_is_soft(weight: float, distance: float) -> None:
    """Two points at a distance D, a linear critic: ||w*|| = 1 + D / (2 lambda), and the gap is D times that."""
    w = torch.tensor([0.5, 0.1, 0.0], dtype=torch.float64, requires_grad=True)
    along = numbers([2 / 3, 1 / 3, -2 / 3]).view(1, 3, 1, 1)
    real, fake = (along * distance).repeat(4, 1, 1, 1), torch.zeros(4, 3, 1, 1).double()

    def loss() -> Tensor:
        return WGANGP(weight=weight).discriminator_loss(image_batch(linear(w), real, fake), {}).value

    minimised(loss, [w])
    length = 1 + distance / (2 * weight)
    torch.testing.assert_close(w.detach(), length * along.flatten(), rtol=1e-6, atol=1e-6)
    gap = WGANGP().discriminator_loss(image_batch(linear(w.detach()), real, fake), {}).aux["gap"].item()
    assert gap == pytest.approx(distance * length, rel=1e-6)


def test_one_sided_leaves_flat_critics_alone() -> None:
    one_sided = WGANGP(one_sided=True)
    flat, steep = (of_length(length, 2, 2, 1).requires_grad_() for length in (0.7, 1.8))
    loss = penalty(one_sided, image_batch(linear(flat), *pair(5, 2, 2, 1)))
    assert loss.item() == pytest.approx(0, abs=1e-15)
    assert torch.autograd.grad(loss, flat)[0].abs().max() < 1e-15
    batch = image_batch(linear(steep), *pair(5, 2, 2, 1))
    assert penalty(one_sided, batch).item() == pytest.approx(penalty(WGANGP(), batch).item(), rel=1e-12)


def test_a_slope_does_not_depend_on_the_rest_of_the_batch() -> None:
    """Under BatchNorm it does, which is why these objectives refuse it."""
    real, _ = pair(5, 2, 3, 3)
    for norm, alone in ((nn.GroupNorm(1, 4), True), (nn.Identity(), True), (nn.BatchNorm2d(4), False)):
        discriminator = convolutional(norm)
        together, single = gradient_norms(discriminator, real)[:1], gradient_norms(discriminator, real[:1])
        assert torch.allclose(together, single, rtol=1e-9) is alone
    assert all(objective.needs.independent for objective, _ in PENALISED)
    assert not any(plain.needs.independent for _, plain in PENALISED)


@pytest.mark.parametrize(("objective", "plain"), PENALISED)
def test_a_flat_critic_has_a_finite_gradient(objective: Any, plain: Objective) -> None:
    """The root of 0 has an infinite slope: without something beneath it the whole gradient is NaN."""
    weight = torch.zeros(8, dtype=torch.float64, requires_grad=True)
    loss = objective.discriminator_loss(image_batch(linear(weight), *pair(5, 2, 2, 2)), {}).value
    alone = plain.discriminator_loss(score_batch(*torch.zeros(2, 5).double()), {}).value.item()
    assert loss.item() == pytest.approx(10 + alone, rel=1e-4)
    assert torch.autograd.grad(loss, weight)[0].isfinite().all()


@pytest.mark.parametrize(("objective", "plain"), PENALISED)
def test_the_penalty_does_not_reach_the_generator(objective: Any, plain: Objective) -> None:
    real, fake = pair(5, 2, 3, 3)
    made_by = torch.zeros(2, 3, 3, dtype=torch.float64, requires_grad=True)
    batch = image_batch(convolutional(nn.Identity()), real, fake + made_by)
    loss = objective.discriminator_loss(batch, {}).value - plain.discriminator_loss(batch, {}).value
    (gradient,) = torch.autograd.grad(loss, made_by, allow_unused=True)
    assert gradient is None or gradient.abs().max() < 1e-12


def test_dragans_points_lie_around_real_images() -> None:
    """At most half a standard deviation above each value, of all values of the batch; u of an image, r of a value."""
    discriminator = linear(of_length(1, 3, 2, 2))
    real, fake = pair(6, 3, 2, 2)
    real = real * numbers([0.1, 1, 5]).view(3, 1, 1) + 2
    DRAGAN().discriminator_loss(image_batch(discriminator, real, fake), {})
    reach = 0.5 * math.sqrt(sum((v - real.mean().item()) ** 2 for v in real.flatten().tolist()) / real.numel())
    shares = (discriminator.inputs[-1] - real) / reach
    assert shares.min() >= 0
    assert shares.max() < 1
    u, r = draws(6).uniform("reach", 1, 1, 1), draws(6).uniform("perturbation", 3, 2, 2)
    torch.testing.assert_close(shares, u * r, rtol=1e-9, atol=1e-12)
    assert len(set(u.flatten().tolist())) == 6


def test_dragans_deviation_is_that_of_all_processes_images() -> None:
    """Each process's own would be too small where theirs differ in the mean."""
    halves = images(4, 3, 2, 2), 2 * images(4, 3, 2, 2, seed=1) + 7
    gathered = torch.cat([mean_and_variance(half) for half in halves])
    torch.testing.assert_close(total_deviation(gathered), torch.cat(halves).std(correction=0), rtol=1e-12, atol=0)
    discriminator, (real, fake) = linear(of_length(1, 3, 2, 2)), (halves[0], halves[1])
    batch = image_batch(discriminator, real, fake)
    batch = replace(batch, all_gather=lambda rows: torch.cat([rows, mean_and_variance(halves[1])]))
    DRAGAN().discriminator_loss(batch, {})
    u, r = draws(4).uniform("reach", 1, 1, 1), draws(4).uniform("perturbation", 3, 2, 2)
    ratio = (discriminator.inputs[-1] - real) / (u * r)
    torch.testing.assert_close(ratio, torch.full_like(ratio, 0.5 * torch.cat(halves).std(correction=0)))


@pytest.mark.parametrize("reach", [1e-3, 0.1, 5])
def test_finite_differences_of_a_linear_critic_are_exact(reach: float) -> None:
    """d = w'e whatever the length of the step; the slope is the root of its mean square."""
    weight = of_length(1.7, 2, 3, 1)
    batch = image_batch(linear(weight), *pair(4, 2, 3, 1))
    noise = draws(4).normal("probes", 3, 2, 3, 1)
    expected = (noise.flatten(2) @ weight.flatten()).square().mean(1).sqrt()
    got = WGANFD(probes=3, reach=reach).gradient_norms(batch, batch.real)
    torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-10)
    loss = penalty(WGANFD(probes=3, reach=reach), batch)
    torch.testing.assert_close(loss, (expected - 1).square().mean(), rtol=1e-7, atol=1e-10)


def test_finite_differences_have_the_slopes_mean_square() -> None:
    """E d^2 = ||w||^2, and with K probes the mean slope is ||w|| sqrt(2/K) Gamma((K + 1)/2) / Gamma(K/2)."""
    real, fake = pair(20_000, 2, 1, 1)
    slope = WGANFD().gradient_norms(image_batch(linear(of_length(1.3, 2, 1, 1)), real, fake), real)
    squares = slope.square()
    assert squares.mean().item() == pytest.approx(1.3**2, abs=4 * squares.std().item() / math.sqrt(20_000))
    bias = math.sqrt(2 / 4) * math.gamma(5 / 2) / math.gamma(2)
    assert bias == pytest.approx(0.94, abs=1e-3)
    assert slope.mean().item() == pytest.approx(1.3 * bias, abs=4 * slope.std().item() / math.sqrt(20_000))


def test_finite_differences_step_as_far_as_they_say() -> None:
    discriminator = linear(of_length(1, 3, 8, 8))
    real, fake = pair(50, 3, 8, 8)
    WGANFD(reach=0.3).gradient_norms(image_batch(discriminator, real, fake), real)
    points = discriminator.inputs[-1]
    torch.testing.assert_close(points[:50], real)
    steps = points[50:].view(50, 4, -1) - real.flatten(1)[:, None]
    assert steps.square().sum(2).mean().sqrt().item() == pytest.approx(0.3, rel=0.03)


class Once(torch.autograd.Function):
    """A square that refuses a backward pass that is itself recorded, to be gone through a second time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            raise RuntimeError("recorded")
        return 2 * ctx.saved_tensors[0] * gradient


def test_finite_differences_need_no_double_backward_pass() -> None:
    weight = of_length(1, 2, 2, 1).flatten().requires_grad_()
    discriminator = FunctionDiscriminator(lambda x: Once.apply(x.flatten(1) * weight).sum(1))
    batch = image_batch(discriminator, *pair(4, 2, 2, 1))
    (gradient,) = torch.autograd.grad(WGANFD().discriminator_loss(batch, {}).value, weight)
    assert gradient.isfinite().all()
    with pytest.raises(RuntimeError, match="recorded"):
        WGANGP().discriminator_loss(batch, {})


def test_finite_differences_approach_the_slope() -> None:
    discriminator = convolutional(nn.Identity())
    real, fake = pair(6, 2, 3, 3)
    batch = image_batch(discriminator, real, fake)
    got = WGANFD(probes=64, reach=1e-4).gradient_norms(batch, real)
    noise = draws(6).normal("probes", 64, 2, 3, 3).flatten(2)
    at = real.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(at).score.sum(), at)
    expected = (noise @ gradient.flatten(1)[:, :, None]).square().mean((1, 2)).sqrt()
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=0)
    torch.testing.assert_close(got, gradient_norms(discriminator, real), rtol=0.3, atol=0)


def weight_gradient(objective: WGANGP, discriminator: nn.Module) -> Tensor:
    """Of the penalty, in all weights of the critic, as one vector."""
    batch = image_batch(discriminator, *pair(32, 1, 16, 16))
    gradients = torch.autograd.grad(penalty(objective, batch), list(discriminator.parameters()), materialize_grads=True)
    return torch.cat([gradient.flatten() for gradient in gradients])


@pytest.mark.parametrize("activation", ["default", "leaky"])
def test_on_the_default_critic_the_gradient_is_that_of_the_slope(activation: str) -> None:
    """Where the critic is too steep; an activation with kinks has gradients of its own in every difference."""
    network = replace(network_for(WGANFD(), "dcgan"), width=16)  # type: ignore[type-var]
    network = network if activation == "default" else replace(network, activation=activation)
    torch.manual_seed(0)
    discriminator = network.build((1, 16, 16)).discriminator.double()
    with torch.no_grad():
        discriminator.score.weight.mul_(20)  # to slopes of about 2
    exact = weight_gradient(WGANGP(), discriminator)
    estimate, precise = (weight_gradient(WGANFD(probes=probes), discriminator) for probes in (4, 64))
    cosines = [torch.cosine_similarity(exact, each, 0).item() for each in (estimate, precise)]
    if activation == "default":
        assert cosines[0] > 0.4
        assert cosines[1] > 0.85
    else:
        assert max(cosines) < 0.3


def test_finite_differences_are_not_rounded_to_bf16() -> None:
    network = replace(network_for(WGANFD(), "dcgan"), width=16)  # type: ignore[type-var]
    torch.manual_seed(0)
    discriminator = network.build((1, 16, 16)).discriminator
    real, fake = (each.float() for each in pair(8, 1, 16, 16))
    batch = image_batch(discriminator, real, fake)
    batch = replace(batch, draws=replace(batch.draws, dtype=torch.float32))
    plain = WGANFD().gradient_norms(batch, real)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(WGANFD().gradient_norms(batch, real), plain)
