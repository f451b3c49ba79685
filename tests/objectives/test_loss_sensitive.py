"""LS-GAN and GLS-GAN against closed forms, in float64."""

from dataclasses import replace

import pytest
import torch
from batches import FunctionDiscriminator, image_batch, images, linear, numbers, score_batch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from equipoise.objectives.base import Batch, Needs
from equipoise.objectives.loss_sensitive import LSGAN
from equipoise.objectives.wgan import WGAN
from equipoise.players import DiscriminatorOutput, GeneratorOutput

losses = st.floats(0, 20)


def pair(real: float, fake: float, apart: float = 0.0) -> Batch:
    """One real image and one generated one, their losses, and their mean absolute difference."""
    batch = score_batch(numbers([real]), numbers([fake]))
    real_image = batch.real.double()
    return replace(batch, real=real_image, fake=GeneratorOutput(real_image + apart))


def test_hand_values() -> None:
    real, fake = numbers([1.0, 0.5]), numbers([2.5, 0.25])
    batch = score_batch(real, fake)
    shifted = torch.zeros(2, 1, 1, 1).double()
    shifted[1] = 0.5
    batch = replace(batch, real=torch.zeros(2, 1, 1, 1).double(), fake=GeneratorOutput(shifted))
    objective = LSGAN(a=0.3, weight=2, nu=-0.5, tau=0.8)
    loss = objective.discriminator_loss(batch, {})
    violations = [0 + 1.0 - 2.5, 0.4 + 0.5 - 0.25]
    cost = [-0.5 * violations[0], violations[1]]
    assert loss.value.item() == pytest.approx(0.3 * 0.75 + 2 * sum(cost) / 2, rel=1e-12)
    assert loss.aux["margin"].item() == pytest.approx(0.2, rel=1e-12)
    assert loss.aux["hinge_active"].item() == 0.5
    assert (loss.aux["loss_real"].item(), loss.aux["loss_fake"].item()) == (0.75, 1.375)
    assert objective.generator_loss(batch, {}).value.item() == 1.375


@given(real=losses, apart=st.floats(0, 2), beyond=st.floats(1e-6, 5))
def test_a_kept_margin_costs_nothing(real: float, apart: float, beyond: float) -> None:
    """L(x~) >= L(x) + Delta: no loss and no gradient."""
    batch = pair(real, real + 2.4576 * apart + beyond, apart)
    scores = [score.requires_grad_() for score in (batch.d_real.score, batch.d_fake.score)]
    loss = LSGAN().discriminator_loss(batch, {})
    assert loss.value.item() == 0
    assert loss.aux["hinge_active"].item() == 0
    assert [gradient.item() for gradient in torch.autograd.grad(loss.value, scores)] == [0, 0]


@given(real=st.floats(-5, 5), fake=st.floats(-5, 5), apart=st.floats(0, 2), nu=st.floats(-1, 1))
def test_the_cost_is_never_below_the_violation_of_the_margin_and_equals_it_where_positive(
    real: float, fake: float, apart: float, nu: float
) -> None:
    violation = 2.4576 * apart + real - fake
    cost = LSGAN(nu=nu, relu=False).discriminator_loss(pair(real, fake, apart), {}).value.item()
    assert cost >= violation - 1e-12
    if violation >= 0:
        assert cost == pytest.approx(violation, rel=1e-12, abs=1e-12)
    else:
        assert cost == pytest.approx(nu * violation, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("tau", [0.0, 2.4576, 50.0])
def test_with_slope_1_it_is_wgan_with_the_sign_turned(tau: float) -> None:
    """nu = 1: the gradient is that of a critic c = -L, and the margin drops out."""
    weight = images(1, 2, 3, 3).requires_grad_()
    real, fake = images(4, 2, 3, 3, seed=1), images(4, 2, 3, 3, seed=2)
    loss = LSGAN(nu=1, relu=False, tau=tau).discriminator_loss(image_batch(linear(weight), real, fake), {}).value
    critic = WGAN().discriminator_loss(image_batch(linear(-weight), real, fake), {}).value
    expected = torch.autograd.grad(critic, weight)
    torch.testing.assert_close(torch.autograd.grad(loss, weight), expected, rtol=1e-12, atol=1e-14)
    distance = tau * (real - fake).abs().mean().item()
    assert loss.item() == pytest.approx(critic.item() + distance, rel=1e-12)


def test_the_margin_is_the_authors_whatever_the_images_size() -> None:
    """2e-4 times the sum of absolute differences over 3 x 64 x 64 values, image by image."""
    real, fake = images(3, 3, 64, 64).clamp(-1, 1), images(3, 3, 64, 64, seed=1).clamp(-1, 1)
    batch = image_batch(FunctionDiscriminator(lambda x: x.sum((1, 2, 3))), real, fake)
    margin = LSGAN().discriminator_loss(batch, {}).aux["margin"]
    assert margin.item() == pytest.approx(2e-4 * (real - fake).abs().sum().item() / 3, rel=1e-12)


def test_no_gradient_through_the_margin() -> None:
    """The discriminator's loss must not reach what made the images by their distance."""
    fake = images(3, 1, 4, 4).requires_grad_()
    discriminator = FunctionDiscriminator(lambda x: x.detach().sum((1, 2, 3)).requires_grad_())
    batch = image_batch(discriminator, images(3, 1, 4, 4, seed=1), fake)
    loss = LSGAN(relu=False, nu=0.5).discriminator_loss(batch, {}).value
    assert torch.autograd.grad(loss, fake, allow_unused=True) == (None,)


@given(score=st.floats(-5, 5))
def test_losses_end_in_a_relu_which_leaves_energies_alone(score: float) -> None:
    batch = pair(1.0, score)
    assert LSGAN().generator_loss(batch, {}).value.item() == max(score, 0)
    assert LSGAN(relu=False).generator_loss(batch, {}).value.item() == score


def test_the_penalty_is_the_length_of_the_slope_at_real_images() -> None:
    """A linear loss has the slope w everywhere; a quadratic one shows where it was asked."""
    weight = images(1, 2, 3, 3)
    real, fake = images(4, 2, 3, 3, seed=1), images(4, 2, 3, 3, seed=2)
    batch = image_batch(linear(weight), real, fake)
    plain, penalised = (LSGAN(relu=False, penalty=p).discriminator_loss(batch, {}) for p in (0.0, 10.0))
    assert penalised.value.item() == pytest.approx(plain.value.item() + 10 * weight.norm().item(), rel=1e-9)
    bowl: Tensor = (
        LSGAN(relu=False, penalty=1)
        .discriminator_loss(image_batch(FunctionDiscriminator(lambda x: x.square().sum((1, 2, 3)) / 2), real, fake), {})
        .aux["gradient_norm"]
    )
    assert bowl.item() == pytest.approx(real.flatten(1).norm(dim=1).mean().item(), rel=1e-9)


def test_a_flat_loss_has_a_finite_penalty() -> None:
    weight = torch.zeros(1, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    batch = image_batch(linear(weight), images(2, 1, 2, 2), images(2, 1, 2, 2, seed=1))
    (gradient,) = torch.autograd.grad(LSGAN(relu=False, penalty=10).discriminator_loss(batch, {}).value, weight)
    assert gradient.isfinite().all()


def test_presets() -> None:
    presets = LSGAN.presets()
    assert list(presets) == ["authors", "gls", "gp", "seed", "toy"]
    authors, gls, gp, seed, toy = (objective for objective, _ in presets.values())
    assert authors == LSGAN(a=0, weight=1, nu=0, relu=True, penalty=0, clip=0)
    assert (gls.clip, gls.needs) == (0.08, Needs("critic"))
    assert gp.needs == Needs("critic", independent=True)
    assert toy == LSGAN(relu=False)
    assert (authors.needs, seed) == (Needs("loss"), LSGAN(a=1, weight=1, nu=0))
    assert {**LSGAN.published, **presets["gls"][1]}["lr"] == 2e-4
    assert {**LSGAN.published, **presets["gp"][1]}["prior"] == "normal"
    assert (LSGAN.published["lr"], LSGAN.published["prior"]) == (1e-4, "uniform")


def test_the_seeds_formula() -> None:
    """The preset `seed`, the paper's equation 6: L_D = L(x) + max(0, Delta + L(x) - L(G(z))), L_G = L(G(z))."""
    batch, seed = pair(1.5, 2.0, 0.5), LSGAN.presets()["seed"][0]
    assert seed.discriminator_loss(batch, {}).value.item() == pytest.approx(1.5 + 2.4576 * 0.5 + 1.5 - 2.0, rel=1e-12)
    assert seed.generator_loss(batch, {}).value.item() == 2


def test_energies_serve_as_losses() -> None:
    outputs = DiscriminatorOutput(numbers([0.3, 0.4]), images(2, 5))
    batch = replace(score_batch(numbers([0.1, 0.2]), outputs.score), d_fake=outputs)
    assert LSGAN().generator_loss(batch, {}).value.item() == pytest.approx(0.35, rel=1e-12)
