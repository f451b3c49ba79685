"""The textbook's step computes the same weights as equipoise's, so that their times can be compared."""

import copy
from dataclasses import replace

import pytest
import torch

from equipoise.bench import TEXTBOOK, Textbook
from equipoise.bench.benchmark import Case
from equipoise.bench.steps import take_step
from equipoise.config.train_config import TrainConfig
from equipoise.networks import DCGANAutoencoder
from equipoise.objectives import BEGAN
from equipoise.players import Players
from equipoise.randomness import Draws
from equipoise.training.batch import StepInputs
from equipoise.training.distributed import Distributed
from equipoise.training.state import DataSpec, TrainState

CPU = torch.device("cpu")


def step_inputs(config: TrainConfig, step: int) -> StepInputs:
    draws = Draws(5, 6 * step, 6, slice(0, 6), CPU, torch.float64)
    latent, latent_g = (draws.latents(name, config.network.latent, config.prior) for name in ("a", "b"))
    real = draws.uniform("real", 1, 16, 16) * 2 - 1
    return StepInputs(real, latent, draws, latent_g=latent_g if config.separate_latents else None)


@pytest.mark.parametrize("name", TEXTBOOK)
def test_both_steps_compute_the_same_weights(name: str) -> None:
    """In float64, to ten digits, over two cycles of the critic's steps and the generator's."""
    config = Case(name, 16, 4, 6, "fp64", 1).config("cpu").with_changes(seed=3)
    train_state = TrainState(config, DataSpec((1, 16, 16)), CPU)
    copies = (copy.deepcopy(player).to(memory_format=torch.contiguous_format) for player in train_state.players)
    textbook = Textbook(config, Players(*copies))
    for step in range(2 * config.n_critic):
        inputs = step_inputs(config, step)
        take_step(train_state, inputs, Distributed())
        textbook.step(inputs)
    for player, expected in zip(train_state.players, textbook.players, strict=True):
        for a, b in zip(player.parameters(), expected.parameters(), strict=True):
            assert (a - b).norm() <= 1e-10 * b.norm()
    if name == "began":
        assert textbook.k == pytest.approx(train_state.objective_state["k"].item(), rel=1e-12)


def test_both_steps_compute_the_same_weights_by_our_recipe() -> None:
    """BEGAN as it is by default on photographs: a boundary for each image, a wavelet, batch statistics, translation."""
    config = TrainConfig(
        objective=BEGAN(gamma=0.85),
        network=DCGANAutoencoder(width=4, wavelet=2),
        resolution=16,
        batch=6,
        augment=("translation",),
        precision="fp64",
        seed=3,
    )
    assert (config.update, config.n_critic, config.separate_latents) == ("alternating", 1, False)
    train_state = TrainState(config, DataSpec((1, 16, 16)), CPU)
    copies = (copy.deepcopy(player).to(memory_format=torch.contiguous_format) for player in train_state.players)
    textbook = Textbook(config, Players(*copies))
    before = [weight.clone() for weight in textbook.players.discriminator.parameters()]
    for step in range(3):
        inputs = replace(step_inputs(config, step), augmentations=config.augment)
        textbook.recipe(inputs, train_state.lr)
        take_step(train_state, inputs, Distributed())
    assert any((a != b).any() for a, b in zip(before, textbook.players.discriminator.parameters(), strict=True))
    for player, expected in zip(train_state.players, textbook.players, strict=True):
        for a, b in zip(player.state_dict().values(), expected.state_dict().values(), strict=True):
            assert (a - b).to(torch.float64).norm() <= 1e-9 * b.to(torch.float64).norm() + 1e-12
