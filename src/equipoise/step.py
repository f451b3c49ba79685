"""One update of both players: one pass of the generator, one of the discriminator on real and one on fake images."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from equipoise.objectives.base import Batch, Objective, State
from equipoise.players import Players
from equipoise.team import Team


class Optimizers(NamedTuple):
    """One optimiser a player, each over that player's weights alone."""

    generator: Optimizer
    discriminator: Optimizer


def update(
    players: Players,
    optimizers: Optimizers,
    objective: Objective,
    state: State,
    real: Tensor,
    latent: Tensor,
    team: Team,
) -> tuple[State, dict[str, Tensor]]:
    """Move both players once, at the same time: each by its own loss, both judged by the weights before the step.

    Nothing here waits for the device. Gradients and what was seen are averaged over all processes in one reduction.

    Args:
        players: both networks, in training mode.
        optimizers: their optimisers.
        objective: gives the losses and moves its own state.
        state: the objective's state before the step.
        real: (n, C, H, W) in [-1, 1], this process's share of the batch.
        latent: (n, K).
        team: the other processes, and the precision.

    Returns:
        The objective's state after the step, and its measures, 0-d tensors by name.
    """
    generator, discriminator = players
    with team.autocast():
        fake = generator(latent)
        d_real, d_fake = discriminator(real), discriminator(fake.images)
    losses = objective.losses(Batch(real, latent, fake, d_real, d_fake, discriminator, gather=team.gather), state)
    d_weights, g_weights = list(discriminator.parameters()), list(generator.parameters())
    d_grads = torch.autograd.grad(losses.discriminator, d_weights, retain_graph=True)
    g_grads = torch.autograd.grad(losses.generator, g_weights)

    *grads, seen = team.mean([*d_grads, *g_grads, torch.stack(list(losses.seen.values()))])
    for weight, grad in zip([*d_weights, *g_weights], grads, strict=True):
        weight.grad = laid_out_like(weight, grad)
    for optimizer in optimizers:
        optimizer.step()

    means = dict(zip(losses.seen, seen.unbind(), strict=True))
    state = objective.adapt(state, means)
    return state, objective.measures(state, means)


def laid_out_like(weight: Tensor, values: Tensor) -> Tensor:
    """`values` in the memory layout of `weight`: fused optimisers go through both in the order of their memory."""
    return values if values.stride() == weight.stride() else torch.empty_like(weight).copy_(values)
