"""Does a discriminator say that samples crowd on some modes and leave others out? By energies that are free for each.

The largest capacity that there could be: an energy of its own for each of 25 modes, at least FLOOR, as no autoencoder
is without an error. The generator is on two of them. What the discriminator would do is found by descent in float64.
"""

import pytest
import torch
from batches import score_batch
from torch import Tensor

from equipoise.objectives import BEGAN, EBGAN, MAGAN, Objective, State

MODES, FLOOR, MARGIN, STEPS = 25, 0.03, 0.5, 400
CROWDED = [3, 17] * 25  # modes of the samples; real images are on all of them alike


def settled(objective: Objective) -> tuple[Tensor, State]:
    """The energies that minimise the discriminator's loss, (MODES,), and the state that goes with them."""
    torch.manual_seed(0)
    energies = (FLOOR + torch.rand(MODES, dtype=torch.float64)).requires_grad_()
    state = {name: value.double() for name, value in objective.initial_state(1).items()}
    for step in range(3 * STEPS):
        batch = score_batch(energies.repeat(2), energies[CROWDED])
        loss = objective.discriminator_loss(batch, state)
        aux = loss.aux | objective.generator_loss(batch, state).aux
        (gradient,) = torch.autograd.grad(loss.value, energies)
        rate = 0.1 / 10 ** (step // STEPS)
        with torch.no_grad():
            energies -= rate * gradient
            energies.clamp_(min=FLOOR)
        state = objective.adapt(state, {name: value.detach() for name, value in aux.items()})
    return energies.detach(), state


@pytest.mark.parametrize(
    "objective", [BEGAN(pull=0), BEGAN(gamma=0.5, pull=0), BEGAN.paper(), BEGAN(boundary="batch", pull=0)], ids=repr
)
def test_began_is_in_balance_with_samples_on_two_modes_of_25(objective: BEGAN) -> None:
    """Up to gamma 1 nothing lifts a crowded mode above the others, so that G gains nothing by any other."""
    energies, _ = settled(objective)
    assert torch.allclose(energies, torch.full_like(energies, FLOOR), atol=1e-3)


def test_magan_is_too_as_its_margin_falls_to_the_energy_of_real_images() -> None:
    energies, state = settled(MAGAN())
    assert torch.allclose(energies, torch.full_like(energies, FLOOR), atol=1e-3)
    assert state["margin"].item() == pytest.approx(FLOOR, abs=1e-3)


def test_a_gamma_above_1_lifts_them_to_the_boundary() -> None:
    """Which they move themselves: e = gamma (23 FLOOR + 2 e) / 25."""
    energies, _ = settled(BEGAN(gamma=1.3, pull=0))
    expected = torch.full_like(energies, FLOOR)
    expected[CROWDED] = 1.3 * 23 * FLOOR / (25 - 1.3 * 2)
    assert torch.allclose(energies, expected, atol=1e-3)


def test_a_margin_lifts_the_crowded_modes_and_no_others() -> None:
    energies, _ = settled(EBGAN(margin=MARGIN, pull=0))
    expected = torch.full_like(energies, FLOOR)
    expected[CROWDED] = MARGIN
    assert torch.allclose(energies, expected, atol=1e-3)
