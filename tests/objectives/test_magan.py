"""MAGAN's pretraining and its margin's rule, in float64."""

import itertools
import math

import pytest
import torch
from batches import numbers, score_batch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from equipoise.objectives.base import State
from equipoise.objectives.magan import MAGAN, next_margin

energies = st.floats(0.01, 10)
Epoch = list[tuple[float, float | None]]
"""The mean energies that each step of an epoch sees: of real images, and of the generator's where it moves."""


def scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def through(objective: MAGAN, state: State, epoch: Epoch) -> State:
    for real, fake in epoch:
        aux = {"energy_real": scalar(real), "energy_fake": scalar(99.0)}  # the discriminator's own fakes: not counted
        state = objective.adapt(state, aux if fake is None else {**aux, "loss_generator": scalar(fake)})
    return state


def pretrained(objective: MAGAN, last: Epoch) -> State:
    """The state after a pretraining whose last epoch was `last`."""
    state = {name: value.double() for name, value in objective.initial_state(len(last)).items()}
    for _ in range(objective.pretrain - 1):
        state = through(objective, state, [(7.0, None)] * len(last))
    return through(objective, state, last)


def test_hand_values() -> None:
    state = {**MAGAN().initial_state(1), "left": scalar(0), "margin": scalar(2)}
    batch = score_batch(numbers([0.2, 0.6]), numbers([0.5, 3.0]))
    loss = MAGAN().discriminator_loss(batch, state)
    assert loss.value.item() == pytest.approx(0.4 + 1.5 / 2, rel=1e-12)
    assert loss.aux["hinge_active"].item() == 0.5
    assert MAGAN().generator_loss(batch, state).value.item() == 1.75
    measures = MAGAN().measures(state, loss.aux)
    assert measures["m_global"].item() == pytest.approx(0.4 + 1.35, rel=1e-12)
    assert measures["margin"].item() == 2


def test_while_pretraining_the_discriminator_sees_real_images_alone() -> None:
    real, fake = numbers([0.2, 0.6]).requires_grad_(), numbers([0.5, 3.0]).requires_grad_()
    state = {**MAGAN().initial_state(5), "margin": scalar(2)}
    loss = MAGAN().discriminator_loss(score_batch(real, fake), state).value
    assert loss.item() == pytest.approx(0.4, rel=1e-12)
    by_real, by_fake = torch.autograd.grad(loss, [real, fake])
    assert by_real.tolist() == [0.5, 0.5]
    assert by_fake.tolist() == [0, 0]


@pytest.mark.parametrize(("pretrain", "n_critic"), [(1, 1), (2, 1), (3, 4)])
def test_pretraining_takes_whole_epochs_before_the_generators_first_step(pretrain: int, n_critic: int) -> None:
    objective = MAGAN(pretrain=pretrain)
    assert objective.critic_steps(0, n_critic, 10) == pretrain * 10 + n_critic
    assert objective.critic_steps(1, n_critic, 10) == n_critic
    state = objective.initial_state(10)
    for step in range(pretrain * 10):
        assert state["left"].item() > 0, step
        state = objective.adapt(state, {"energy_real": scalar(1), "energy_fake": scalar(1)})
    assert state["left"].item() == 0


def test_the_first_margin_is_the_mean_energy_of_the_last_pretraining_epoch() -> None:
    state = pretrained(MAGAN(pretrain=3), [(3.0, None), (2.0, None), (1.0, None)])
    assert state["margin"].item() == 2
    assert state["left"].item() == 0
    assert state["before_fake"].item() == math.inf


@pytest.mark.parametrize("holds", list(itertools.product([True, False], repeat=3)))
def test_the_margin_falls_only_where_all_three_conditions_hold(holds: tuple[bool, bool, bool]) -> None:
    below, separated, stalled = holds
    real = 1.0
    margin = 2.0 if below else 0.5
    fake = 3.0 if separated else 0.8
    before = 0.5 * fake if stalled else 2 * fake
    after = next_margin(scalar(margin), scalar(real), scalar(fake), scalar(before))
    assert after.item() == (real if all(holds) else margin)

    state = {**pretrained(MAGAN(), [(margin, None)] * 2), "before_fake": scalar(before)}
    assert state["margin"].item() == margin
    state = through(MAGAN(), state, [(real - 0.1, fake - 0.1), (real + 0.1, fake + 0.1)])
    assert state["margin"].item() == pytest.approx(real if all(holds) else margin, rel=1e-12)
    assert state["before_fake"].item() == pytest.approx(fake, rel=1e-12)


def test_the_conditions_at_equality() -> None:
    """Strict, strict, and not strict."""
    assert next_margin(scalar(1), scalar(1), scalar(3), scalar(2)).item() == 1
    assert next_margin(scalar(2), scalar(1), scalar(1), scalar(0.5)).item() == 2
    assert next_margin(scalar(2), scalar(1), scalar(3), scalar(3)).item() == 1


def test_no_update_in_the_first_epoch() -> None:
    """The energy of the epoch before it is infinite."""
    state = pretrained(MAGAN(), [(5.0, None)] * 2)
    state = through(MAGAN(), state, [(1.0, 3.0)] * 2)
    assert state["margin"].item() == 5
    state = through(MAGAN(), state, [(1.0, 3.0)] * 2)
    assert state["margin"].item() == 1


def test_the_margin_is_fixed_within_an_epoch() -> None:
    state = through(MAGAN(), pretrained(MAGAN(), [(5.0, None)] * 3), [(1.0, 3.0)] * 3)
    margins = []
    for _ in range(3):
        state = through(MAGAN(), state, [(1.0, 3.0)])
        margins.append(state["margin"].item())
    assert margins == [5, 5, 1]


def test_steps_without_the_generator_do_not_count_for_it() -> None:
    """Means, not sums: with two steps of the discriminator for one of the generator's both stay comparable."""
    state = pretrained(MAGAN(), [(5.0, None)] * 2)
    state = through(MAGAN(), state, [(1.0, None), (1.0, 1.5)])
    assert state["before_fake"].item() == 1.5
    assert through(MAGAN(), state, [(1.0, None), (1.0, 1.6)])["margin"].item() == 1
    assert through(MAGAN(), state, [(1.0, None), (1.0, 1.4)])["margin"].item() == 5


@settings(max_examples=50)
@given(first=energies, epochs=st.lists(st.lists(st.tuples(energies, energies), min_size=3, max_size=3), max_size=6))
def test_the_margin_never_rises_and_stays_above_0(first: float, epochs: list[list[tuple[float, float]]]) -> None:
    state = pretrained(MAGAN(), [(first, None)] * 3)
    for epoch in epochs:
        before = state["margin"].item()
        state = through(MAGAN(), state, list(epoch))
        assert 0 < state["margin"].item() <= before


def test_nothing_waits_for_the_device() -> None:
    """Tensors without values cannot be looked at: any branch on one would fail."""
    state = {name: value.to("meta") for name, value in MAGAN().initial_state(3).items()}
    aux = {name: torch.zeros((), device="meta") for name in ("energy_real", "energy_fake", "loss_generator")}
    assert MAGAN().adapt(state, aux).keys() == state.keys()
    batch = score_batch(torch.zeros(2, device="meta"), torch.zeros(2, device="meta"))
    assert MAGAN().discriminator_loss(batch, state).value.shape == ()
