"""Margin adaptation GAN: an energy-based GAN whose margin follows the energy of real images."""

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from equipoise.objectives.base import TINY, Batch, Loss, Needs, Objective, ReducedAux, State, zeros
from equipoise.objectives.ebgan import energy_statistics


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True, extra="forbid"))
class MAGAN(Objective):
    """Margin Adaptation for GANs (Wang, Cully, Chang and Demiris 2017), arXiv:1704.03817, algorithm 1.

    The discriminator is pretrained on real images alone; the margin is then their mean energy. At the end of an epoch
    it falls to the epoch's mean energy of real images, under the conditions of `next_margin`.

    One deviation: the first margin is averaged during the last epoch of pretraining, while the discriminator still
    learned; the paper passes through all images once more.
    """

    needs = Needs("energy")
    recipe = {"lr": 1.5e-3, "separate_latents": True}  # noqa: RUF012
    toy_recipe = {"optimizer": "adamax"}  # noqa: RUF012
    published = {"optimizer": "adamax", "lr": 5e-4, "separate_latents": True}  # noqa: RUF012

    pretrain: Annotated[int, Field(ge=1, le=1000)] = 2
    """Epochs of training the discriminator on real images alone, before the generator's first step."""

    def initial_state(self, steps_per_epoch: int) -> State:
        """The state before pretraining, with a margin of 0.

        `left` counts the remaining steps of pretraining; `sum_*` and `count_*` add up this epoch's energies;
        `before_fake` is the mean energy of generated images in the previous epoch.
        """
        state = zeros("margin", "sum_real", "sum_fake", "count_real", "count_fake")
        return state | {
            "before_fake": torch.tensor(math.inf),
            "steps_per_epoch": torch.tensor(float(steps_per_epoch)),
            "left": torch.tensor(float(self.pretrain * steps_per_epoch)),
        }

    def critic_steps(self, generator_steps: int, n_critic: int, steps_per_epoch: int) -> int:
        """`n_critic`, and before the generator's first step the pretraining."""
        return n_critic + (self.pretrain * steps_per_epoch if generator_steps == 0 else 0)

    def discriminator_loss(self, batch: Batch, state: State) -> Loss:
        """L_D = E(x) + (m - E(G(z)))_+, without its second term while pretraining."""
        real, fake, margin = batch.d_real.score, batch.d_fake.score, state["margin"]
        hinge = F.relu(margin - fake).mean()
        # where() instead of an `if`, which would make the host wait for the device at every step; so below in `adapt`.
        loss = real.mean() + torch.where(state["left"] > 0, torch.zeros_like(hinge), hinge)
        return Loss(loss, {"loss_discriminator": loss, **energy_statistics(real, fake, margin)})

    def generator_loss(self, batch: Batch, state: State) -> Loss:
        """L_G = E(G(z')), with latents z' of its own."""
        loss = batch.d_fake.score.mean()
        return Loss(loss, {"loss_generator": loss})

    def adapt(self, state: State, aux: ReducedAux) -> State:
        """Add up the epoch's energies, and update the margin at its end."""
        state = {**state, "sum_real": state["sum_real"] + aux["energy_real"], "count_real": state["count_real"] + 1}
        if "loss_generator" in aux:  # missing after a step of the discriminator alone
            state |= {"sum_fake": state["sum_fake"] + aux["loss_generator"], "count_fake": state["count_fake"] + 1}
        real = state["sum_real"] / state["count_real"]
        fake = state["sum_fake"] / state["count_fake"].clamp_min(1)

        ended, pretraining = state["count_real"] >= state["steps_per_epoch"], state["left"] > 0
        margin = torch.where(pretraining, real, next_margin(state["margin"], real, fake, state["before_fake"]))
        counters = ("sum_real", "sum_fake", "count_real", "count_fake")
        return {
            **state,
            **{name: torch.where(ended, 0.0, state[name]) for name in counters},
            "margin": torch.where(ended, margin, state["margin"]),
            "before_fake": torch.where(ended & ~pretraining, fake, state["before_fake"]),
            "left": (state["left"] - 1).clamp_min(0),
        }

    def measures(self, state: State, aux: ReducedAux) -> dict[str, Tensor]:
        """Auxiliary values, the margin, the balance E(G(z)) / E(x), and M_global = E(x) + |E(x) - E(G(z))|."""
        real, fake = aux["energy_real"], aux["energy_fake"]
        m_global = real + (real - fake).abs()
        return {**aux, "margin": state["margin"], "balance": fake / real.clamp_min(TINY), "m_global": m_global}


def next_margin(margin: Tensor, real: Tensor, fake: Tensor, previous_fake: Tensor) -> Tensor:
    """The margin after an epoch, 0-d: `real` if the three conditions of algorithm 1 hold, else unchanged.

    Real images lie within the margin, have less energy than generated ones, and the energy of generated ones has
    stopped falling.

    Args:
        margin: of the epoch, 0-d.
        real: mean energy of real images in the epoch, 0-d.
        fake: mean energy of generated images in the epoch, 0-d.
        previous_fake: mean energy of generated images in the previous epoch, 0-d.
    """
    return torch.where((real < margin) & (real < fake) & (previous_fake <= fake), real, margin)
