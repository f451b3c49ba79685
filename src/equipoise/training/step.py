"""One step: the discriminator moves, and when it is its turn, the generator; each by its own loss alone."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from equipoise.objectives.base import Aux, Batch, HalfBatch, Loss, Objective, State, Update
from equipoise.players import Conditions, GeneratorOutput, Players
from equipoise.training.batch import StepInputs
from equipoise.training.distributed import Combine, Distributed


class Optimizers(NamedTuple):
    """One optimizer a player, each over that player's weights alone."""

    generator: Optimizer
    discriminator: Optimizer


def train_step(
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

    Simultaneous: both losses are of the weights before the step, from one pass over real and generated images.
    Alternating: the generator's loss sees the discriminator after it has moved. Nothing here waits for the device.
    Gradients and the losses' aux are averaged over all processes, and sent while the backward pass goes on.

    Returns:
        The objective's state after the step, and its measures, 0-d tensors by name.
    """
    generator, discriminator = players
    d_weights: list[Tensor] = list(discriminator.parameters())
    g_weights: list[Tensor] = list(generator.parameters())
    separate = inputs.latent_g is not None  # the generator's loss is of images of its own

    if order == "simultaneous" and generator_moves:
        factor = None if separate else objective.shared_term_coefficient(state)
        if factor is None:
            batch = _forward(players, inputs, distributed)
            d_loss = objective.discriminator_loss(batch, state)
            g_loss = objective.generator_loss(_forward_fake(players, batch, inputs) if separate else batch, state)
            # A loss moves its own player because only that player's weights are named: nothing is detached or frozen,
            # and the graph that both losses share is kept for the second.
            of_d = _backward(d_loss, d_weights, distributed, retain_graph=True)
            of_g = _backward(g_loss, g_weights, distributed)
            aux = of_d() | of_g()
        else:
            aux = _shared_term_backward(players, objective, factor, inputs, distributed)()
        for optimizer in optimizers:
            optimizer.step()
        _clip(d_weights, objective.clip)
    else:
        # The discriminator's loss does not reach the generator, so the images carry no graph of it into D; the images
        # themselves keep theirs if the generator's loss is going to be of them.
        batch = _forward(players, inputs, distributed, through_generator=generator_moves and not separate, detach=True)
        d_loss = objective.discriminator_loss(batch, state)
        aux = _backward(d_loss, d_weights, distributed)()
        optimizers.discriminator.step()
        _clip(d_weights, objective.clip)
        if generator_moves:
            with _frozen(discriminator):
                batch = _forward_fake(players, batch, inputs)
            g_loss = objective.generator_loss(batch, state)
            aux |= _backward(g_loss, g_weights, distributed)()
            optimizers.generator.step()

    state = objective.adapt(state, aux)
    return state, objective.measures(state, aux)


def _shared_term_backward(
    players: Players, objective: Objective, factor: Tensor, inputs: StepInputs, distributed: Distributed
) -> Callable[[], Aux]:
    """As `_backward` of both, where the losses share a term up to a factor, as L(G(z)) is in BEGAN's L_D up to -k."""
    d_weights, g_weights = list(players.discriminator.parameters()), list(players.generator.parameters())
    # Real images first, forward and backward, and their graph is gone before generated ones come: at no time are
    # there activations of more than half of the batch.
    with distributed.autocast():
        output = players.discriminator(inputs.augmented_real())
    real = objective.real_terms(HalfBatch(output, inputs.latent, distributed.all_gather))
    real_grads = torch.autograd.grad(real.value, d_weights)

    with distributed.autocast():
        images = _generate(players, inputs.latent, inputs).images
        output = players.discriminator(images)
    loss, generator_term, aux = objective.fake_terms(HalfBatch(output, inputs.latent, distributed.all_gather))
    if generator_term is not None:
        # What the generator's loss has beyond the shared term must not reach the discriminator's weights. So its
        # gradient is taken at the images alone, and added to the loss as a linear term with that very gradient there:
        # d/dG (images * slope).sum() = slope * dimages/dG, while `slope` is a constant to everything else.
        (slope,) = torch.autograd.grad(generator_term, images, retain_graph=True)
        loss = loss + (images * slope).sum()

    # One backward pass through D and G. The linear term begins at the images, behind D, so D's weights see the shared
    # term alone; what they get is its gradient, and their loss has it times the factor.
    def combine(places: Sequence[int], grads: list[Tensor]) -> list[Tensor]:
        of_d = [index for index, place in enumerate(places) if place >= len(g_weights)]
        shared = torch._foreach_mul([grads[index] for index in of_d], factor) if of_d else ()
        for index, grad in zip(of_d, shared, strict=True):
            grads[index] = grad.add_(real_grads[places[index] - len(g_weights)])
        return grads

    # D's weights last, as the backward pass comes to them first.
    return _backward(Loss(loss, real.aux | aux), [*g_weights, *d_weights], distributed, combine=combine)


def _forward(
    players: Players,
    inputs: StepInputs,
    distributed: Distributed,
    *,
    through_generator: bool = True,
    detach: bool = False,
) -> Batch:
    """Real and generated images, and the discriminator's output for both.

    Args:
        players: the networks.
        inputs: of the step.
        distributed: gives the precision.
        through_generator: keep the generator's graph.
        detach: give the discriminator images without it, for a loss that moves the discriminator alone.
    """
    # A leaf that wants gradients: some losses are penalties of a slope in the latent.
    latent, real = inputs.latent.detach().requires_grad_(through_generator), inputs.augmented_real()
    with distributed.autocast():
        with torch.set_grad_enabled(through_generator):
            fake = _generate(players, latent, inputs)
        d_real = players.discriminator(real)
        d_fake = players.discriminator(fake.images.detach() if detach else fake.images)
    return Batch(
        real,
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


def _forward_fake(players: Players, batch: Batch, inputs: StepInputs) -> Batch:
    """The batch for the generator's loss: its images, or others of `inputs.latent_g`, and what D says of them now."""
    latent, fake = batch.latent, batch.fake
    with batch.autocast():
        if inputs.latent_g is not None:
            latent = inputs.latent_g.detach().requires_grad_()
            fake = _generate(players, latent, inputs)
        return replace(batch, latent=latent, fake=fake, d_fake=players.discriminator(fake.images))


def _generate(players: Players, latent: Tensor, inputs: StepInputs) -> GeneratorOutput:
    """The generator's output, its images augmented as the discriminator is to see them."""
    # Only a generator that was built for conditions takes them.
    conditions = () if inputs.conditions is None else (inputs.conditions,)
    fake: GeneratorOutput = players.generator(latent, *conditions)
    return replace(fake, images=inputs.augment(fake.images, "fake")) if inputs.augmentations else fake


def _backward(
    loss: Loss,
    weights: Sequence[Tensor],
    distributed: Distributed,
    *,
    retain_graph: bool = False,
    combine: Combine | None = None,
) -> Callable[[], Aux]:
    """Take a loss's gradients; returns what gives each weight its mean over all processes, and returns aux's means."""
    values = torch.stack(list(loss.aux.values())) if loss.aux else loss.value.new_empty(0)
    means = distributed.gradients(loss.value, weights, values, retain_graph=retain_graph, combine=combine)

    def assign() -> Aux:
        grads, values = means()
        for weight, grad in zip(weights, grads, strict=True):
            weight.grad = in_layout_of(weight, grad)
        return dict(zip(loss.aux, values.unbind(), strict=True))

    return assign


def in_layout_of(weight: Tensor, values: Tensor) -> Tensor:
    """`values` with the strides of `weight`.

    A fused optimizer walks weights, gradients and moments in the order of their memory, and does not check that the
    three agree. Weights are channels-last; a gradient out of a flat reduction, or a moment out of a checkpoint, is not,
    and would be added to the wrong weights without an error.
    """
    return values if values.stride() == weight.stride() else torch.empty_like(weight).copy_(values)


@contextmanager
def _frozen(player: nn.Module) -> Iterator[None]:
    """Inside, the player's weights want no gradient, so that autograd keeps nothing for it."""
    trainable = [weight for weight in player.parameters() if weight.requires_grad]
    for weight in trainable:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in trainable:
            weight.requires_grad_()


def _clip(weights: list[Tensor], limit: float) -> None:
    """Clip all weights to [-limit, limit]; 0 leaves them."""
    if limit:
        with torch.no_grad():
            torch._foreach_clamp_min_(weights, -limit)
            torch._foreach_clamp_max_(weights, limit)
