"""BEGAN against closed forms, and against known bugs of other implementations."""

import math
from typing import Any

import pytest
import torch
from batches import score_batch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from equipoise.networks import Autoencoder
from equipoise.objectives import BEGAN, Batch, State
from equipoise.objectives.began import energy_distance
from equipoise.objectives.ebgan import pulling_away
from equipoise.players import Players
from equipoise.randomness import Draws

energies = st.floats(1e-3, 10)
shares = st.floats(0, 1)
PAPER = BEGAN.paper()


def scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def batch_of(players: Players, real: Tensor, latent: Tensor) -> Batch:
    generator, discriminator = players
    fake = generator(latent)
    draws = Draws(0, 0, len(real), slice(None), dtype=real.dtype)
    return Batch(real, latent, fake, discriminator(real), discriminator(fake.images), discriminator, draws)


def values(objective: BEGAN, batch: Batch, state: State) -> tuple[Tensor, Tensor]:
    """Both losses: the discriminator's and the generator's."""
    return objective.discriminator_loss(batch, state).value, objective.generator_loss(batch, state).value


@pytest.fixture
def players() -> Players:
    torch.manual_seed(0)
    return Players(*(player.double() for player in Autoencoder(width=3, latent=5, init="scaled").build((1, 16, 16))))


@pytest.fixture
def batch(players: Players) -> Batch:
    torch.manual_seed(1)
    return batch_of(players, torch.randn(6, 1, 16, 16).double(), torch.rand(6, 5).double() * 2 - 1)


def test_the_papers_values() -> None:
    assert BEGAN(gamma=0.5, boundary="batch", lambda_k=0.001, relative=False, recover=0, match=0, pull=0) == PAPER
    assert PAPER.initial_state(1) == {"k": torch.zeros(())}


def test_hand_value() -> None:
    real, fake = torch.tensor([1.0, 3.0]).double(), torch.tensor([0.5, 1.5]).double()
    batch = score_batch(real, fake)
    d_loss, g_loss = PAPER.discriminator_loss(batch, {"k": scalar(0.25)}), PAPER.generator_loss(batch, {})
    assert d_loss.value.item() == 2 - 0.25 * 1
    assert g_loss.value.item() == 1
    aux = d_loss.aux | g_loss.aux
    state = PAPER.adapt({"k": scalar(0.25)}, aux)
    assert state["k"].item() == 0.25 + 0.001 * (0.5 * 2 - 1)
    assert PAPER.measures(state, aux)["m_global"].item() == 2
    assert PAPER.measures(state, aux)["balance"].item() == 0.5


def test_hand_value_of_a_boundary_for_each_image() -> None:
    """By default: of three generated images the two below 0.5 * 2 have k = 1, and the third is left alone."""
    objective = BEGAN(gamma=0.5, pull=0)
    batch = score_batch(torch.tensor([1.0, 3.0, 2.0]).double(), torch.tensor([0.5, 0.75, 9.0]).double())
    d_loss, g_loss = objective.discriminator_loss(batch, {}), objective.generator_loss(batch, {})
    assert d_loss.value.item() == pytest.approx(2 + (0.5 + 0.25 + 0) / 3, rel=1e-12)
    assert g_loss.value.item() == pytest.approx(10.25 / 3, rel=1e-12)
    aux = d_loss.aux | g_loss.aux
    state = objective.adapt({"k": scalar(0)}, aux)
    assert state["k"].item() == pytest.approx(2 / 3, rel=1e-12)
    measures = objective.measures(state, aux)
    assert measures["balance"].item() == pytest.approx(10.25 / 3 / 2, rel=1e-12)
    assert measures["k"].item() == state["k"].item()


@given(gamma=st.floats(0.05, 1), seed=st.integers(0, 1000))
def test_an_images_k_is_1_below_the_boundary_and_0_above_it(gamma: float, seed: int) -> None:
    """dL_D / dL(x_i) = 1/N and dL_D / dL(G(z_i)) = -k_i / N: the boundary itself passes no gradient."""
    generator = torch.Generator().manual_seed(seed)
    real, fake = (torch.rand(7, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2))
    loss = BEGAN(gamma=gamma, pull=0).discriminator_loss(score_batch(real, fake), {}).value
    slopes, fake_slopes = torch.autograd.grad(loss, (real, fake))
    torch.testing.assert_close(slopes, torch.full((7,), 1 / 7).double(), rtol=1e-7, atol=0)
    boundary = gamma * real.mean()
    assert fake_slopes.tolist() == [-1 / 7 if energy < boundary else 0 for energy in fake]


@pytest.mark.parametrize("settings", [{"lambda_k": 1e-3}, {"relative": False}])
def test_what_moves_the_batchs_k_is_refused_without_one(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="--boundary batch"):
        BEGAN(**settings)
    assert BEGAN(boundary="batch", **settings).boundary == "batch"


@given(
    k=shares, real=energies, fake=energies, gamma=st.floats(0.01, 1), gain=st.floats(1e-4, 1), relative=st.booleans()
)
def test_k_stays_in_its_range_and_moves_with_the_sign_of_the_error(
    k: float, real: float, fake: float, gamma: float, gain: float, relative: bool
) -> None:
    objective = BEGAN(gamma=gamma, boundary="batch", lambda_k=gain, relative=relative)
    after = objective.adapt({"k": scalar(k)}, {"energy_real": scalar(real), "energy_fake": scalar(fake)})["k"].item()
    error = gamma * real - fake
    assert 0 <= after <= 1
    assert (after - k) * error >= 0
    if error == 0:
        assert after == k


@given(real=energies, fake=energies, gamma=st.floats(0.01, 1))
def test_m_global_is_never_below_the_energy_of_real_images(real: float, fake: float, gamma: float) -> None:
    objective, aux = BEGAN(gamma=gamma), {"energy_real": scalar(real), "energy_fake": scalar(fake)}
    m_global = objective.measures(objective.initial_state(1), aux)["m_global"].item()
    assert m_global >= real
    at_balance = {"energy_real": scalar(real), "energy_fake": scalar(gamma) * scalar(real)}
    assert objective.measures(objective.initial_state(1), at_balance)["m_global"].item() == real


@pytest.mark.parametrize(("fake", "end"), [(0.9, 0.0), (0.1, 1.0)])
def test_k_saturates_at_the_end_that_the_balance_names(fake: float, end: float) -> None:
    state, aux = {"k": scalar(0.5)}, {"energy_real": scalar(1.0), "energy_fake": scalar(fake)}
    for _ in range(3000):
        state = PAPER.adapt(state, aux)
    assert state["k"].item() == end


def test_an_unclipped_k_leaves_its_range_as_compare_gans_did() -> None:
    """By hand: 0.5 + 0.001 (0.75 * 2 - 1002) = -0.5005, and back up by 0.001 (0.75 * 2 - 0.5)."""
    objective = BEGAN(boundary="batch", gamma=0.75, lambda_k=1e-3, relative=False, clip_k=False)
    state: State = {"k": torch.tensor(0.5, dtype=torch.float64)}
    for fake, expected in ((1002.0, -0.5005), (0.5, -0.4995)):
        aux = {"energy_real": torch.tensor(2.0), "energy_fake": torch.tensor(fake)}
        state = objective.adapt(state, {name: value.double() for name, value in aux.items()})
        assert state["k"].item() == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match="boundary batch"):
        BEGAN(clip_k=False)


def test_a_relative_k_has_no_unit() -> None:
    objective = BEGAN(gamma=0.9, boundary="batch", lambda_k=0.01, relative=True)
    steps = [
        objective.adapt({"k": scalar(0.5)}, {"energy_real": scalar(unit), "energy_fake": scalar(0.5 * unit)})[
            "k"
        ].item()
        for unit in (1.0, 0.05, 1e-4)
    ]
    assert steps == pytest.approx([0.5 + 0.01 * 0.4] * 3, rel=1e-12)


@pytest.mark.parametrize("k", [0.0, 0.3, 1.0])
def test_the_discriminators_gradient_is_that_of_its_own_loss(players: Players, batch: Batch, k: float) -> None:
    """Never contaminated by L_G: one backward pass of both losses' sum would give L(x) + (1 - k) L(G(z))."""
    weights = list(players.discriminator.parameters())
    loss, _ = values(PAPER, batch, {"k": scalar(k)})
    got = torch.autograd.grad(loss, weights, retain_graph=True)
    real = torch.autograd.grad(batch.d_real.score.mean(), weights, retain_graph=True)
    fake = torch.autograd.grad(batch.d_fake.score.mean(), weights)
    for g, r, f in zip(got, real, fake, strict=True):
        torch.testing.assert_close(g, r - k * f, rtol=1e-10, atol=1e-14)


def test_k_is_not_a_path_for_gradients(batch: Batch) -> None:
    k = scalar(0.5)
    aux = PAPER.discriminator_loss(batch, {"k": k}).aux | PAPER.generator_loss(batch, {"k": k}).aux
    assert not PAPER.adapt({"k": k}, aux)["k"].requires_grad
    assert not any(value.requires_grad for value in aux.values())


def test_recovery_is_added_to_both_losses(batch: Batch) -> None:
    state = {"k": scalar(0.3)}
    plain, losses = (
        values(PAPER, batch, state),
        values(BEGAN(boundary="batch", recover=0.7, match=0, pull=0), batch, state),
    )
    assert batch.d_fake.code is not None
    error = ((batch.latent - batch.d_fake.code) ** 2).mean()
    torch.testing.assert_close(losses[0], plain[0] + 0.7 * error)
    torch.testing.assert_close(losses[1], plain[1] + 0.7 * error)


def test_matching_moves_the_discriminator_and_pulling_away_the_generator(batch: Batch) -> None:
    state = {"k": scalar(0.3)}
    plain = values(PAPER, batch, state)
    matched = values(BEGAN(boundary="batch", recover=0, match=0.5, pull=0), batch, state)
    pulled = values(BEGAN(boundary="batch", recover=0, match=0, pull=0.1), batch, state)
    assert batch.d_real.code is not None
    assert batch.d_fake.code is not None
    distance = energy_distance(batch.d_real.code, batch.latent)
    torch.testing.assert_close(matched[0], plain[0] + 0.5 * distance)
    torch.testing.assert_close(matched[1], plain[1])
    torch.testing.assert_close(pulled[0], plain[0])
    torch.testing.assert_close(pulled[1], plain[1] + 0.1 * pulling_away(batch.d_fake.code))


def test_energy_distance_against_a_plain_double_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    codes, latents = (torch.randn(7, 3, generator=generator, dtype=torch.float64) for _ in range(2))

    def mean(a: Tensor, b: Tensor, *, distinct: bool) -> float:
        pairs = [
            math.dist(u, v)
            for i, u in enumerate(a.tolist())
            for j, v in enumerate(b.tolist())
            if not distinct or i != j
        ]
        return sum(pairs) / len(pairs)

    expected = 2 * mean(codes, latents, distinct=False)
    expected -= mean(codes, codes, distinct=True) + mean(latents, latents, distinct=True)
    assert energy_distance(codes, latents).item() == pytest.approx(expected / math.sqrt(3), rel=1e-12)


def test_energy_distance_is_zero_on_average_for_one_distribution_and_above_for_two() -> None:
    generator = torch.Generator().manual_seed(0)
    draws = torch.rand(2, 400, 16, 4, generator=generator, dtype=torch.float64)
    same = torch.stack([energy_distance(a, b) for a, b in zip(*draws, strict=True)])
    other = torch.stack([energy_distance(2 * a, b) for a, b in zip(*draws, strict=True)])
    assert abs(same.mean()) < 4 * same.std() / 20
    assert other.mean() > 10 * other.std() / 20


def test_energy_distance_has_a_finite_gradient_where_codes_coincide() -> None:
    codes = torch.zeros(4, 3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(energy_distance(codes, torch.zeros(4, 3, dtype=torch.float64)), codes)
    assert gradient.isfinite().all()


def test_pulling_away_closed_forms() -> None:
    eye = torch.eye(4, dtype=torch.float64)
    assert pulling_away(eye).item() == 0
    assert pulling_away(eye[:1].repeat(5, 1)).item() == pytest.approx(1)
    rows = torch.randn(6, 4, dtype=torch.float64)
    scaled = rows * torch.tensor([1, -2, 3, -4, 5, -6]).double()[:, None]
    assert pulling_away(scaled).item() == pytest.approx(pulling_away(rows).item(), rel=1e-12)
    tight = torch.cat([eye, eye])  # a tight frame: N = 8 rows in d = 4 dimensions
    assert pulling_away(tight).item() == pytest.approx((8 - 4) / (4 * 7), rel=1e-12)


@given(st.integers(5, 9), st.integers(2, 4), st.integers(0, 1000))
def test_pulling_away_is_never_below_its_bound(count: int, size: int, seed: int) -> None:
    rows = torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert pulling_away(rows).item() >= (count - size) / (size * (count - 1)) - 1e-12
