"""Margin adaptation GAN: an energy-based GAN whose margin follows what it sees."""

import math
from typing import Annotated

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from equipoise.objectives.base import Batch, Loss, Needs, Objective, ReducedAux, State, zeros
from equipoise.objectives.ebgan import energy_statistics, hinge
from equipoise.objectives.gan import USUAL


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True))
class MAGAN(Objective):
    """Margin Adaptation for GANs (Wang, Cully, Chang and Demiris 2017), arXiv:1704.03817, algorithm 1.

    The discriminator is first trained alone, on real images. The margin is then their mean energy, and falls at the end
    of an epoch in which real images had less, and less than generated ones, whose energy has stopped falling.

    One deviation: the first margin is the mean energy over the last epoch of that pretraining as it was aux, while the
    discriminator still learned, where the paper passes through all images once more.
    """

    needs = Needs("energy")
    defaults = {  # noqa: RUF012
        **USUAL,
        "network": "autoencoder",
        "optimizer": "adamax",
        "lr": 5e-4,
        "beta1": 0.5,
        "beta2": 0.999,
        "separate_latents": True,
    }

    pretrain: Annotated[int, Field(ge=1, le=1000)] = 2
    """Epochs in which the discriminator learns real images alone, before the generator's first step."""

    def start(self, steps_per_epoch: int) -> State:
        """No margin yet, and all of the pretraining to do.

        `left` counts the steps of pretraining still to come; `sum_` and `count_` are of energies in this epoch, and
        `before_fake` is the mean energy of generated images in the epoch before.
        """
        state = zeros("margin", "sum_real", "sum_fake", "count_real", "count_fake")
        return state | {
            "before_fake": torch.tensor(math.inf),
            "steps_per_epoch": torch.tensor(float(steps_per_epoch)),
            "left": torch.tensor(float(self.pretrain * steps_per_epoch)),
        }

    def critic_steps(self, generator_steps: int, n_critic: int, steps_per_epoch: int) -> int:
        """All of the pretraining before the generator's first step."""
        return n_critic + (self.pretrain * steps_per_epoch if generator_steps == 0 else 0)

    def discriminator_loss(self, batch: Batch, state: State) -> Loss:
        """L_D = E(x) + (m - E(G(z)))_+, without its second term while pretraining."""
        real, fake, margin = batch.d_real.score, batch.d_fake.score, state["margin"]
        held = hinge(fake, margin).mean()
        loss = real.mean() + torch.where(state["left"] > 0, torch.zeros_like(held), held)
        return Loss.of(loss, loss_discriminator=loss, **energy_statistics(real, fake, margin))

    def generator_loss(self, batch: Batch, state: State) -> Loss:
        """L_G = E(G(z'))."""
        loss = batch.d_fake.score.mean()
        return Loss.of(loss, loss_generator=loss)

    def adapt(self, state: State, aux: ReducedAux) -> State:
        """Add up the epoch's energies, and at its end let the margin follow them."""
        state = {**state, "sum_real": state["sum_real"] + aux["energy_real"], "count_real": state["count_real"] + 1}
        if "loss_generator" in aux:
            state |= {"sum_fake": state["sum_fake"] + aux["loss_generator"], "count_fake": state["count_fake"] + 1}
        real = state["sum_real"] / state["count_real"]
        fake = state["sum_fake"] / state["count_fake"].clamp_min(1)

        ended, pretraining = state["count_real"] >= state["steps_per_epoch"], state["left"] > 0
        moved = torch.where(pretraining, real, lowered(state["margin"], real, fake, state["before_fake"]))
        counters = ("sum_real", "sum_fake", "count_real", "count_fake")
        return {
            **state,
            **{name: torch.where(ended, 0.0, state[name]) for name in counters},
            "margin": torch.where(ended, moved, state["margin"]),
            "before_fake": torch.where(ended & ~pretraining, fake, state["before_fake"]),
            "left": (state["left"] - 1).clamp_min(0),
        }

    def measures(self, state: State, aux: ReducedAux) -> dict[str, Tensor]:
        """The losses' aux, the margin, the balance E(G(z)) / E(x), and E(x) + |E(x) - E(G(z))|, which is to fall."""
        real, fake = aux["energy_real"], aux["energy_fake"]
        m_global = real + (real - fake).abs()
        return {
            **aux,
            "margin": state["margin"],
            "balance": fake / real.clamp_min(1e-12),
            "m_global": m_global,
        }


def lowered(margin: Tensor, real: Tensor, fake: Tensor, before: Tensor) -> Tensor:
    """The margin after an epoch: the mean energy of real images where all three conditions hold, else as it was.

    Args:
        margin: of the epoch, 0-d.
        real: mean energy of real images in it: below the margin (1), and below `fake` (2).
        fake: mean energy of generated images in it.
        before: that of the epoch before, not above `fake` (3): the generator no longer gains.
    """
    return torch.where((real < margin) & (real < fake) & (before <= fake), real, margin)
