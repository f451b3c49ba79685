"""One update: the discriminator moves, and when it is its turn, the generator; each by its own loss alone."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from equipoise.objectives.base import Aux, Batch, HalfBatch, Loss, Objective, State, Update
from equipoise.players import Conditions, GeneratorOutput, Players
from equipoise.randomness import Draws
from equipoise.training.distributed import Distributed


class Optimizers(NamedTuple):
    """One optimiser a player, each over that player's weights alone."""

    generator: Optimizer
    discriminator: Optimizer


@dataclass(frozen=True)
class StepInputs:
    """What one step is given on this process.

    Attributes:
        real: (n, C, H, W) in [-1, 1], this process's share of the batch.
        latent: (n, K).
        draws: everything else that is random.
        labels: (n,) int64 classes of `real`, where the data has them.
        conditions: what the generator is given beside the latent.
        latent_g: (n, K) for the generator's own loss, where it is to have others than the discriminator's.
    """

    real: Tensor
    latent: Tensor
    draws: Draws = field(repr=False)
    labels: Tensor | None = None
    conditions: Conditions | None = None
    latent_g: Tensor | None = None


def update(
    players: Players,
    optimizers: Optimizers,
    objective: Objective,
    state: State,
    inputs: StepInputs,
    distributed: Distributed,
    *,
    order: Update = "simultaneous",
    generator_moves: bool = True,
) -> tuple[State, dict[str, Tensor]]:
    """Move the discriminator once, and the generator if it is its turn.

    Simultaneously: one judgement serves both losses, by the weights before the step. Alternating: the generator's loss
    judges its images anew, after the discriminator has moved. Nothing here waits for the device. Gradients and what
    was seen are averaged over all processes, in one reduction for each judgement.

    Args:
        players: both networks, in training mode.
        optimizers: their optimisers.
        objective: gives the losses and moves its own state.
        state: the objective's state before the step.
        inputs: real images, latents and draws.
        distributed: the other processes, and the precision.
        order: whether both move at the same time, or one after the other.
        generator_moves: whether it is the generator's turn.

    Returns:
        The objective's state after the step, and its measures, 0-d tensors by name.
    """
    if order == "simultaneous" and generator_moves:
        means = _together(players, optimizers, objective, state, inputs, distributed)
    else:
        means = _in_turn(players, optimizers, objective, state, inputs, distributed, generator_moves=generator_moves)
    state = objective.adapt(state, means)
    return state, objective.measures(state, means)


def _together(
    players: Players,
    optimizers: Optimizers,
    objective: Objective,
    state: State,
    inputs: StepInputs,
    distributed: Distributed,
) -> Aux:
    factor = objective.shared_term_coefficient(state) if inputs.latent_g is None else None
    if factor is None:
        grads, aux = _by_both_losses(players, objective, state, inputs, distributed)
    else:
        grads, aux = _by_shared_term(players, objective, factor, inputs, distributed)
    d_weights, g_weights = _weights(players.discriminator), _weights(players.generator)
    means = _reduced([*d_weights, *g_weights], grads, aux, distributed)
    for optimizer in optimizers:
        optimizer.step()
    _clip(d_weights, objective.clip)
    return means


def _by_both_losses(
    players: Players, objective: Objective, state: State, inputs: StepInputs, distributed: Distributed
) -> tuple[list[Tensor], Aux]:
    """Gradients of the discriminator's weights and then the generator's, each by its own loss; the losses' aux."""
    batch = _judged(players, inputs, distributed)
    d_loss = objective.discriminator_loss(batch, state)
    g_batch = batch if inputs.latent_g is None else _judged_anew(players, batch, inputs, distributed)
    g_loss = objective.generator_loss(g_batch, state)
    d_grads = torch.autograd.grad(d_loss.value, _weights(players.discriminator), retain_graph=True)
    g_grads = torch.autograd.grad(g_loss.value, _weights(players.generator))
    return [*d_grads, *g_grads], {**d_loss.aux, **g_loss.aux}


def _by_shared_term(
    players: Players, objective: Objective, factor: Tensor, inputs: StepInputs, distributed: Distributed
) -> tuple[list[Tensor], Aux]:
    """The same where the losses share a term: one backward pass for both, and one half of the batch at a time.

    What generated images give the discriminator's weights is its loss's up to `factor`. What is the generator's alone
    reaches it through the images, so that those weights do not see it.
    """
    d_weights, g_weights = _weights(players.discriminator), _weights(players.generator)
    with distributed.autocast():
        judged = players.discriminator(inputs.real)
    real = objective.real_terms(HalfBatch(judged, inputs.latent, distributed.all_gather))
    d_grads = torch.autograd.grad(real.value, d_weights)
    with distributed.autocast():
        images = _generate(players, inputs.latent, inputs.conditions).images
        judged = players.discriminator(images)
    loss, alone, aux = objective.fake_terms(HalfBatch(judged, inputs.latent, distributed.all_gather))
    if alone is not None:
        (push,) = torch.autograd.grad(alone, images, retain_graph=True)
        loss = loss + (images * push).sum()
    grads = torch.autograd.grad(loss, [*d_weights, *g_weights])
    shared = torch._foreach_mul(grads[: len(d_weights)], factor)
    torch._foreach_add_(shared, d_grads)
    return [*shared, *grads[len(d_weights) :]], {**real.aux, **aux}


def _in_turn(
    players: Players,
    optimizers: Optimizers,
    objective: Objective,
    state: State,
    inputs: StepInputs,
    distributed: Distributed,
    *,
    generator_moves: bool,
) -> Aux:
    fresh = inputs.latent_g is not None  # then the generator's own loss makes images of its own
    batch = _judged(
        players, inputs, distributed, through_generator=generator_moves and not fresh, for_discriminator=True
    )
    means = _move(
        players.discriminator, optimizers.discriminator, objective.discriminator_loss(batch, state), distributed
    )
    _clip(_weights(players.discriminator), objective.clip)
    if not generator_moves:
        return means
    with _held_still(players.discriminator):
        batch = _judged_anew(players, batch, inputs, distributed)
    return means | _move(players.generator, optimizers.generator, objective.generator_loss(batch, state), distributed)


def _judged(
    players: Players,
    inputs: StepInputs,
    distributed: Distributed,
    *,
    through_generator: bool = True,
    for_discriminator: bool = False,
) -> Batch:
    """Real and generated images, and what the discriminator says of them.

    Args:
        players: the networks.
        inputs: what to judge.
        distributed: its precision.
        through_generator: keep the generator's graph.
        for_discriminator: judge the images without it, for a loss that moves the discriminator only.
    """
    latent = inputs.latent.detach().requires_grad_(through_generator)
    with distributed.autocast():
        with torch.set_grad_enabled(through_generator):
            fake = _generate(players, latent, inputs.conditions)
        shown = fake.images.detach() if for_discriminator else fake.images
        d_real, d_fake = players.discriminator(inputs.real), players.discriminator(shown)
    return Batch(
        inputs.real,
        latent,
        fake,
        d_real,
        d_fake,
        players.discriminator,
        inputs.draws,
        inputs.labels,
        inputs.conditions or Conditions(),
        distributed.all_gather,
        distributed.autocast,
    )


def _judged_anew(players: Players, batch: Batch, inputs: StepInputs, distributed: Distributed) -> Batch:
    """The batch with its generated images, or others of `inputs.latent_g`, judged by the weights as they are now."""
    latent, fake = batch.latent, batch.fake
    with distributed.autocast():
        if inputs.latent_g is not None:
            latent = inputs.latent_g.detach().requires_grad_()
            fake = _generate(players, latent, inputs.conditions)
        return replace(batch, latent=latent, fake=fake, d_fake=players.discriminator(fake.images))


def _generate(players: Players, latent: Tensor, conditions: Conditions | None) -> GeneratorOutput:
    fake: GeneratorOutput = players.generator(latent) if conditions is None else players.generator(latent, conditions)
    return fake


def _move(player: nn.Module, optimizer: Optimizer, loss: Loss, distributed: Distributed) -> Aux:
    weights = _weights(player)
    means = _reduced(weights, torch.autograd.grad(loss.value, weights), loss.aux, distributed)
    optimizer.step()
    return means


def _reduced(weights: Sequence[Tensor], grads: Sequence[Tensor], aux: Aux, distributed: Distributed) -> Aux:
    """Give each weight the gradient's mean over all processes; the means of `aux`."""
    numbers = torch.stack(list(aux.values())) if aux else grads[0].new_empty(0)
    *grads, found = distributed.all_reduce_mean([*grads, numbers])
    for weight, grad in zip(weights, grads, strict=True):
        weight.grad = laid_out_like(weight, grad)
    return dict(zip(aux, found.unbind(), strict=True))


def _weights(player: nn.Module) -> list[Tensor]:
    return list(player.parameters())


@contextmanager
def _held_still(player: nn.Module) -> Iterator[None]:
    """While inside, no gradient by the player's weights is made ready for."""
    moving = [weight for weight in player.parameters() if weight.requires_grad]
    for weight in moving:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in moving:
            weight.requires_grad_()


def _clip(weights: list[Tensor], clip: float) -> None:
    if clip:
        with torch.no_grad():
            torch._foreach_clamp_min_(weights, -clip)
            torch._foreach_clamp_max_(weights, clip)


def laid_out_like(weight: Tensor, values: Tensor) -> Tensor:
    """`values` in the memory layout of `weight`: fused optimisers go through both in the order of their memory."""
    return values if values.stride() == weight.stride() else torch.empty_like(weight).copy_(values)
