"""EBGAN and its pulling-away term against closed forms, and against the bugs of others, in float64."""

import math
from dataclasses import replace

import pytest
import torch
from batches import image_batch, images, numbers, score_batch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from equipoise.networks import Autoencoder
from equipoise.objectives.base import Batch, Needs
from equipoise.objectives.ebgan import EBGAN, pulling_away
from equipoise.players import DiscriminatorOutput

energies = st.lists(st.floats(0, 20), min_size=2, max_size=8).map(numbers)


def coded(codes: Tensor, fakes: Tensor | None = None) -> Batch:
    """A batch of which only the codes of the generated images, and their pixels, matter."""
    batch = score_batch(torch.ones(len(codes)).double(), torch.ones(len(codes)).double())
    fake = batch.fake if fakes is None else replace(batch.fake, images=fakes)
    return replace(batch, fake=fake, d_fake=DiscriminatorOutput(batch.d_fake.score, codes))


def test_hand_values() -> None:
    batch = score_batch(numbers([0.2, 0.6]), numbers([0.5, 3.0]))
    objective = EBGAN(margin=2, pull=0)
    loss = objective.discriminator_loss(batch, {})
    assert loss.value.item() == pytest.approx(0.4 + (1.5 + 0) / 2, rel=1e-12)
    assert loss.aux["hinge_active"].item() == 0.5
    assert objective.generator_loss(batch, {}).value.item() == 1.75
    assert EBGAN().measures({}, loss.aux)["balance"].item() == pytest.approx(1.75 / 0.4, rel=1e-12)


@given(fake=energies, margin=st.floats(0.1, 20))
def test_each_image_has_a_hinge_of_its_own(fake: Tensor, margin: float) -> None:
    """dL_D / dE_i = -1/N below the margin and 0 above it; a hinge on the batch's mean would treat all alike."""
    fake = fake.requires_grad_()
    batch = score_batch(torch.ones_like(fake), fake)
    (gradient,) = torch.autograd.grad(EBGAN(margin=margin).discriminator_loss(batch, {}).value, fake)
    assert gradient.tolist() == [-1 / len(fake) if energy < margin else 0 for energy in fake.tolist()]


@given(energy=st.floats(0, 7))
def test_at_equilibrium_the_discriminators_loss_is_the_margin(energy: float) -> None:
    """p_g = p and one energy everywhere, anything up to the margin (theorem 2 of the paper)."""
    everywhere = torch.full((5,), energy, dtype=torch.float64)
    loss = EBGAN(margin=7).discriminator_loss(score_batch(everywhere, everywhere), {})
    assert loss.value.item() == pytest.approx(7, rel=1e-12)


def test_the_generators_gradient_flows_through_input_and_reconstruction() -> None:
    """A detached reconstruction, or a detached target, would lose half of it: both are checked by differences."""
    torch.manual_seed(0)
    discriminator = Autoencoder(width=3, latent=5).build((1, 16, 16)).discriminator.double()
    real, fake = images(2, 1, 16, 16), images(2, 1, 16, 16, seed=1).requires_grad_()
    (gradient,) = torch.autograd.grad(EBGAN().generator_loss(image_batch(discriminator, real, fake), {}).value, fake)
    direction, h = images(2, 1, 16, 16, seed=2), 1e-6
    ahead, behind = (
        EBGAN().generator_loss(image_batch(discriminator, real, fake.detach() + step * direction), {}).value.item()
        for step in (h, -h)
    )
    assert (gradient * direction).sum().item() == pytest.approx((ahead - behind) / (2 * h), rel=1e-6)


@pytest.mark.parametrize("side", [16, 32, 64])
def test_the_margin_is_on_the_scale_of_the_energy(side: int) -> None:
    """Whatever the images' size: a fresh network's energy is a few margins, and a trained one's far below."""
    torch.manual_seed(0)
    generator, discriminator = Autoencoder(width=8, latent=8).build((1, side, side))
    with torch.no_grad():
        fresh = discriminator(generator(torch.rand(16, 8) * 2 - 1).images).score.mean().item()
    assert 3 < fresh / EBGAN().margin < 30, "the hinge is off at first, and comes into play as images get better"


class Bowl(nn.Module):
    """Energies |x - 1|^2 / 2, whose gradient at x is x - 1."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, images: Tensor) -> DiscriminatorOutput:
        return DiscriminatorOutput(self.scale * (images - 1).square().flatten(1).sum(1) / 2)


def test_the_penalty_is_of_the_squared_gradients_at_real_and_generated_images() -> None:
    real, fake, bowl = images(3, 1, 2, 2), images(3, 1, 2, 2, seed=1).requires_grad_(), Bowl()
    batch = image_batch(bowl, real, fake)
    plain, objective = EBGAN(pull=0), EBGAN(pull=0, penalty=0.3)
    loss = objective.discriminator_loss(batch, {})
    slopes = [(points.detach() - 1).square().flatten(1).sum(1).mean().item() for points in (real, fake)]
    added = loss.value - plain.discriminator_loss(batch, {}).value
    assert added.item() == pytest.approx(0.3 / 2 * sum(slopes), rel=1e-9)
    of_scale, of_images = torch.autograd.grad(added, [bowl.scale, fake], allow_unused=True)
    assert of_scale.item() == pytest.approx(0.3 * sum(slopes), rel=1e-9), "a second derivative, which a copy lacks"
    assert of_images is None or of_images.abs().max() == 0, "the points are where they are"
    assert objective.generator_loss(batch, {}).value == plain.generator_loss(batch, {}).value
    assert objective.needs.independent
    assert not plain.needs.independent


def test_pulling_away_can_be_off_and_needs_codes() -> None:
    plain, batch = EBGAN(pull=0), coded(images(4, 3))
    assert plain.needs == Needs("energy")
    assert EBGAN(pull=0.1).needs == Needs("energy", codes=True)
    assert torch.equal(plain.generator_loss(batch, {}).value, batch.d_fake.score.mean())
    assert "pulling_away" not in plain.generator_loss(batch, {}).aux


def test_pulling_away_moves_the_generator_only_and_by_its_codes() -> None:
    """Not by pixels: identical images with orthogonal codes are not pulled, different ones with one code are."""
    pulled, plain = EBGAN(pull=0.1), EBGAN(pull=0)
    codes = images(4, 3)
    batch = coded(codes)
    assert torch.equal(pulled.discriminator_loss(batch, {}).value, plain.discriminator_loss(batch, {}).value)
    expected = plain.generator_loss(batch, {}).value + 0.1 * pulling_away(codes)
    torch.testing.assert_close(pulled.generator_loss(batch, {}).value, expected, rtol=1e-12, atol=0)

    alike, different = torch.ones(3, 1, 4, 4).double(), images(3, 1, 4, 4)
    apart = pulled.generator_loss(coded(torch.eye(3).double(), alike), {})
    together = pulled.generator_loss(coded(torch.ones(3, 3).double(), different), {})
    assert apart.aux["pulling_away"].item() == 0
    assert together.aux["pulling_away"].item() == pytest.approx(1, rel=1e-12)


def test_pulling_away_is_over_the_codes_of_every_process() -> None:
    mine, theirs = images(3, 4), images(3, 4, seed=1)
    batch = replace(coded(mine), all_gather=lambda rows: torch.cat([rows, theirs]))
    aux = EBGAN(pull=1).generator_loss(batch, {}).aux["pulling_away"]
    torch.testing.assert_close(aux, pulling_away(torch.cat([mine, theirs])))


def test_pulling_away_by_a_plain_double_loop() -> None:
    codes = images(5, 3)
    total = 0.0
    for i in range(5):
        for j in range(5):
            if i != j:  # the diagonal is 1 whatever the codes are
                total += (codes[i] @ codes[j]).item() ** 2 / (codes[i] @ codes[i] * (codes[j] @ codes[j])).item()
    assert pulling_away(codes).item() == pytest.approx(total / 20, rel=1e-12)


@given(
    scales=st.lists(st.floats(0.01, 100), min_size=5, max_size=5),
    signs=st.lists(st.sampled_from([-1.0, 1.0]), min_size=5, max_size=5),
)
def test_pulling_away_does_not_depend_on_a_codes_length_or_sign(scales: list[float], signs: list[float]) -> None:
    """It would, normalised over the batch, or with cosines that are not squared."""
    codes = images(5, 3)
    changed = codes * (numbers(scales) * numbers(signs))[:, None]
    assert pulling_away(changed).item() == pytest.approx(pulling_away(codes).item(), rel=1e-9)


@given(count=st.integers(2, 9), size=st.integers(1, 6), seed=st.integers(0, 99))
def test_pulling_away_has_a_least_value_for_more_codes_than_dimensions(count: int, size: int, seed: int) -> None:
    """(N - d) / (d (N - 1)), the Welch bound."""
    least = max(0.0, (count - size) / (size * (count - 1)))
    assert pulling_away(images(count, size, seed=seed)).item() >= least - 1e-12


@pytest.mark.parametrize("count", [3, 4, 7])
def test_tight_frames_reach_that_value(count: int) -> None:
    """Equally spaced directions of a plane."""
    angles = torch.arange(count).double() * 2 * math.pi / count
    plane = torch.stack([angles.cos(), angles.sin()], 1)
    assert pulling_away(plane).item() == pytest.approx((count - 2) / (2 * (count - 1)), rel=1e-9)
