"""Properties of every entry in OBJECTIVES: step, gradients, checkpoints, processes; and reference values of losses."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam

from equipoise.bench.steps import take_step
from equipoise.config.train_config import TrainConfig
from equipoise.devices import Launcher, make_launcher
from equipoise.networks import MLP, MLPAutoencoder, build_players
from equipoise.objectives import BEGAN, OBJECTIVES, Batch, Objective, State
from equipoise.objectives.base import Update
from equipoise.players import Conditions, DiscriminatorOutput, GeneratorOutput, Players
from equipoise.randomness import Draws
from equipoise.runs import checkpoint
from equipoise.training import distributed as distributed_module
from equipoise.training.batch import StepInputs
from equipoise.training.distributed import Distributed, make_distributed
from equipoise.training.state import DataSpec, TrainState
from equipoise.training.step import Optimizers, train_step
from family import CASES, FAKE, LATENT, LOG_PROB, REAL, A, B, C, W

SHAPE, ROWS, STEPS = (1, 2, 3), 6, 3
EVERY = sorted(OBJECTIVES)
NETWORKS = {
    "energy": MLPAutoencoder(depth=1, width=5, latent=3, activation="leaky"),
    "other": MLP(depth=2, width=5, latent=3, activation="leaky"),
}


def make(name: str) -> Objective:
    """An objective with its defaults, or with the settings of its case, which turn on what the defaults leave out."""
    return OBJECTIVES[name](**CASES[name].settings) if name in CASES else OBJECTIVES[name]()


def network(objective: Objective) -> MLP | MLPAutoencoder:
    return NETWORKS.get(objective.needs.score, NETWORKS["other"])


def build(objective: Objective) -> tuple[Players, Optimizers]:
    """Players in float64 with fixed initial weights, whose scores are around 1, and their optimizers.

    Adam's epsilon is large, so that it does not magnify the rounding error of a gradient of 0.
    """
    torch.manual_seed(0)
    needs = objective.needs
    players = build_players(network(objective), SHAPE, levels=needs.levels, samples=needs.samples)
    players = Players(*(player.double() for player in players))
    if needs.score != "energy":
        nn.init.ones_(players.discriminator.score.bias)
    return players, Optimizers(*(Adam(player.parameters(), 1e-3, betas=(0.5, 0.99), eps=1e-4) for player in players))


def step_inputs(
    objective: Objective,
    step: int,
    share: slice = slice(0, ROWS),
    *,
    separate_latents: bool = False,
    rows: int = ROWS,
) -> StepInputs:
    draws = Draws(0, step * rows, rows, share, dtype=torch.float64)
    needs = objective.needs
    real = 2 * draws.uniform("real", *SHAPE) - 1
    noise = draws.uniform("pixels", needs.samples, *SHAPE)
    return StepInputs(
        real=real.sign() if needs.levels else real,
        latent=draws.latents("latents", 3, "normal"),
        draws=draws,
        conditions=Conditions(noise=noise) if needs.levels else None,
        latent_g=draws.latents("others", 3, "normal") if separate_latents else None,
    )


class LinearDiscriminator(nn.Module):
    """The discriminator of the reference values."""

    def __init__(self, *, energies: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(W, dtype=torch.float64))
        self.bias = nn.Parameter(torch.tensor(B, dtype=torch.float64))
        self.energies = energies

    def forward(self, images: Tensor) -> DiscriminatorOutput:
        x = images.flatten(1)
        score = x @ self.weight + self.bias
        return DiscriminatorOutput(
            score.square() if self.energies else score, x @ torch.tensor(C, dtype=torch.float64).T
        )


@pytest.mark.parametrize("name", CASES)
def test_losses_equal_the_reference_values(name: str) -> None:
    """Both losses on four real and four generated points, against plain Python on lists of numbers."""
    case, objective = CASES[name], make(name)
    discriminator = LinearDiscriminator(energies=objective.needs.score == "energy")
    latent = torch.tensor(LATENT, dtype=torch.float64, requires_grad=True)
    real = torch.tensor(REAL, dtype=torch.float64).view(-1, 2, 1, 1)
    images = (latent @ torch.tensor(A, dtype=torch.float64).T).view(-1, 2, 1, 1)
    torch.testing.assert_close(images.flatten(1).detach(), torch.tensor(FAKE, dtype=torch.float64))
    fake = GeneratorOutput(images, torch.tensor(LOG_PROB, dtype=torch.float64))
    draws = Draws(0, 0, 4, slice(0, 4), dtype=torch.float64)
    batch = Batch(real, latent, fake, discriminator(real), discriminator(images), discriminator, draws)
    state = objective.initial_state(1) | {
        key: torch.tensor(value, dtype=torch.float64) for key, value in case.state.items()
    }
    d_loss, g_loss = objective.discriminator_loss(batch, state), objective.generator_loss(batch, state)
    inputs = {"probes": draws.normal("probes", 4, 2).tolist()}
    for purpose in ("boundary of real images", "boundary of fake images"):
        inputs[purpose] = draws.uniform(purpose, 2).tolist()
    assert d_loss.value.item() == pytest.approx(case.d_loss(inputs), rel=1e-9)
    assert g_loss.value.item() == pytest.approx(case.g_loss(inputs), rel=1e-9)


@pytest.mark.parametrize("name", EVERY)
def test_auxiliary_values_are_finite_scalars_without_a_graph(name: str) -> None:
    objective = make(name)
    batch, state = make_batch(objective), objective.initial_state(1)
    for loss in (objective.discriminator_loss(batch, state), objective.generator_loss(batch, state)):
        assert loss.value.requires_grad
        for value in loss.aux.values():
            assert value.shape == ()
            assert value.isfinite()
            assert not value.requires_grad


def make_batch(objective: Objective) -> Batch:
    (generator, discriminator), _ = build(objective)
    inputs = step_inputs(objective, 0)
    latent, conditions = inputs.latent.requires_grad_(), inputs.conditions or Conditions()
    fake = generator(latent, conditions)
    outputs = discriminator(inputs.real), discriminator(fake.images)
    return Batch(inputs.real, latent, fake, *outputs, discriminator, inputs.draws, conditions=conditions)


def ignores_a_constant(objective: Objective) -> bool:
    """Whether the discriminator's loss stays when a constant is added to all scores: some biases have no gradient."""
    batch, state = make_batch(objective), objective.initial_state(1)
    outputs = {side: getattr(batch, side) for side in ("d_real", "d_fake")}
    raised = {side: replace(output, score=output.score + 0.1) for side, output in outputs.items()}
    losses = [objective.discriminator_loss(each, state).value for each in (batch, replace(batch, **raised))]
    return bool(torch.isclose(*losses, rtol=1e-9, atol=0))


def test_which_losses_ignore_a_constant() -> None:
    """The critics, which are determined up to a constant; so that no other objective passes as one by accident."""
    assert {name for name in CASES if ignores_a_constant(make(name))} == {"wgan", "wgan-gp", "wgan-fd", "ls-gan"}


def reference(
    players: Players,
    optimizers: Optimizers,
    objective: Objective,
    state: State,
    inputs: StepInputs,
    order: str,
) -> State:
    """The textbook's step: forward passes for each player alone, with the other player's graph detached or unused."""
    generator, discriminator = players
    before = copy.deepcopy(discriminator)

    def batch(discriminator: nn.Module, latent: Tensor, *, attached: bool) -> Batch:
        latent = latent.clone().requires_grad_()
        fake = generator(latent, inputs.conditions)
        if not attached:
            fake = replace(fake, images=fake.images.detach())
        outputs = discriminator(inputs.real), discriminator(fake.images)
        conditions = inputs.conditions or Conditions()
        return Batch(inputs.real, latent, fake, *outputs, discriminator, inputs.draws, conditions=conditions)

    d_loss = objective.discriminator_loss(batch(discriminator, inputs.latent, attached=False), state)
    discriminator.zero_grad()
    d_loss.value.backward()
    optimizers.discriminator.step()
    if objective.clip:
        for weight in discriminator.parameters():
            weight.data.clamp_(-objective.clip, objective.clip)
    used = before if order == "simultaneous" else discriminator
    latent = inputs.latent if inputs.latent_g is None else inputs.latent_g
    g_loss = objective.generator_loss(batch(used, latent, attached=True), state)
    generator.zero_grad()
    g_loss.value.backward()
    optimizers.generator.step()
    return objective.adapt(state, {**d_loss.aux, **g_loss.aux})


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(
    ("order", "separate_latents"), [("simultaneous", False), ("alternating", False), ("alternating", True)]
)
def test_step_equals_the_reference(name: str, order: Any, separate_latents: bool) -> None:
    objective = make(name)
    (fast, fast_optimizers), (slow, slow_optimizers) = build(objective), build(objective)
    ours = theirs = objective.initial_state(1)
    for step in range(STEPS):
        inputs = step_inputs(objective, step, separate_latents=separate_latents)
        ours, _ = train_step(fast, fast_optimizers, objective, ours, inputs, Distributed(), order=order)
        theirs = reference(slow, slow_optimizers, objective, theirs, inputs, order)
        assert_close(ours, theirs)
        for mine, other in zip(fast, slow, strict=True):
            assert_close(dict(mine.named_parameters()), dict(other.named_parameters()), rtol=1e-8)


def assert_close(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], rtol: float = 1e-9) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=rtol, atol=1e-12, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("moved", Players._fields)
@pytest.mark.parametrize("order", ["simultaneous", "alternating"])
def test_no_gradient_crosses_players_and_every_weight_has_one(name: str, moved: str, order: Any) -> None:
    """With a learning rate of 0 for one player, only the other's weights move, and all of them."""
    objective = make(name)
    players, optimizers = build(objective)
    for player in Optimizers._fields:
        getattr(optimizers, player).param_groups[0]["lr"] = 1e-3 if player == moved else 0.0
    before, state, ignores = copy.deepcopy(players), objective.initial_state(1), ignores_a_constant(objective)
    for step in range(STEPS):
        state, _ = train_step(
            players, optimizers, objective, state, step_inputs(objective, step), Distributed(), order=order
        )
    for player in Players._fields:
        initial = dict(getattr(before, player).named_parameters())
        if player != moved and objective.clip and player == "discriminator":
            continue  # clipping alone moves it
        for weight_name, weight in getattr(players, player).named_parameters():
            exempt = ignores and player == "discriminator" and weight_name.endswith("bias")
            assert weight.grad is not None, weight_name
            assert exempt or weight.grad.norm() > 0, weight_name
            assert exempt or torch.equal(weight, initial[weight_name]) == (player != moved), weight_name


@pytest.mark.parametrize("name", EVERY)
def test_a_run_survives_save_and_load_bit_for_bit(name: str, tmp_path: Path) -> None:
    """State, weights, optimisers and counters; and the steps after it are the same, to the last bit."""
    objective = make(name)
    settings = {"precision": "fp64", "prior": "normal", "batch": ROWS, "ema": 30}
    config = TrainConfig(objective=objective, network=network(objective), **settings)

    def train(train_state: TrainState, steps: int) -> None:
        for _ in range(steps):
            inputs = step_inputs(
                train_state.objective, train_state.images // ROWS, separate_latents=config.separate_latents
            )
            take_step(train_state, inputs, Distributed())

    first, second = (TrainState(config, DataSpec(SHAPE, count=2 * ROWS), torch.device("cpu")) for _ in range(2))
    assert objective.needs == first.objective.needs
    train(first, 7)
    checkpoint.save(tmp_path / "it", first.tensors(), {**first.facts(), "images": first.images})
    second.restore(*checkpoint.load(tmp_path / "it"))
    assert_identical(first, second)
    for train_state in (first, second):
        train(train_state, 6)
    assert_identical(first, second)


def assert_identical(first: TrainState, second: TrainState) -> None:
    ours, theirs = first.tensors(), second.tensors()
    assert first.facts() == second.facts()
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert tensor.dtype == theirs[name].dtype, name
        assert torch.equal(tensor, theirs[name]), name


def trained(
    objective: Objective,
    distributed: Distributed,
    share: slice,
    steps: int = STEPS,
    rows: int = ROWS,
    order: Update = "alternating",
) -> dict[str, Any]:
    """Weights, state and measures after some steps with a share of each batch, as arrays."""
    players, optimizers = build(objective)
    state, measures = objective.initial_state(1), dict[str, Tensor]()
    for step in range(steps):
        inputs = step_inputs(objective, step, share, rows=rows)
        state, measures = train_step(players, optimizers, objective, state, inputs, distributed, order=order)
    weights = {
        f"{side} {key}": value for side in Players._fields for key, value in getattr(players, side).state_dict().items()
    }
    everything = {**weights, **{f"state {key}": value for key, value in state.items()}, **measures}
    return {key: value.numpy() for key, value in everything.items()}


def compare_processes(launcher: Launcher, steps: int = STEPS, rows: int = ROWS, rtol: float = 1e-9) -> list[str]:
    """Assert that all processes together compute what one does alone; the names of the objectives compared.

    Compared here, as whatever this returns must fit into the pipe to the launching process: it is not read before the
    end, and beyond 64 KiB both would wait forever.
    """
    torch.set_num_threads(1)
    distributed_module.BUCKET_BYTES = 1000  # so that such small networks have several
    distributed = make_distributed(launcher, "fp64")
    size = rows // distributed.world_size
    share = slice(distributed.rank * size, (distributed.rank + 1) * size)
    cases: list[tuple[str, Objective, Update]] = [(name, make(name), "alternating") for name in EVERY]
    # What BEGAN's losses share is one backward pass for both, with a way of its own to what is sent.
    cases.append(("began, sharing a term", BEGAN.remedies(), "simultaneous"))
    for name, objective, order in cases:
        several = trained(objective, distributed, share, steps, rows, order)
        one = trained(objective, Distributed(), slice(0, rows), steps, rows, order)
        assert several.keys() == one.keys()
        for key, value in several.items():
            np.testing.assert_allclose(value, one[key], rtol=rtol, atol=1e-3 * rtol, err_msg=f"{name}: {key}")
    return EVERY


@pytest.mark.long  # tests/training has those of one run
def test_two_processes_equal_one() -> None:
    """Each has half of every batch; gradients, statistics and states are reduced to those of the whole batch."""
    assert make_launcher("cpu", 2).launch(compare_processes) == EVERY


@pytest.mark.long
@pytest.mark.parametrize("processes", [2, 4])
def test_processes_equal_one_over_fifty_steps(processes: int) -> None:
    """Rounding grows from step to step, and is the only difference: in float64 it stays below a hundred-millionth."""
    assert make_launcher("cpu", processes).launch(compare_processes, 50, 8, 1e-8) == EVERY
