"""Steps played back on a GPU against steps taken as they come; without a GPU, what a recording reads."""

import copy
from typing import Any

import pytest
import torch

from equipoise.bench.steps import take_step
from equipoise.config.datasets import open_dataset
from equipoise.config.presets import PRESETS
from equipoise.config.train_config import TrainConfig
from equipoise.data import Feed
from equipoise.randomness import Draws
from equipoise.training.batch import StepInputs, make_batch
from equipoise.training.cuda_graphs import WARM_UP, CUDAGraphStep, _StaticInputs
from equipoise.training.distributed import Distributed
from equipoise.training.state import DataSpec, TrainState

BATCH = 4
on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class AsItComes(CUDAGraphStep):
    def __call__(self, kind: Any, step: Any, state: Any, inputs: Any) -> Any:
        return step(state, inputs)


def config(name: str) -> TrainConfig:
    preset = PRESETS[name]["default"].to_dict()
    small = {"resolution": 16, "batch": BATCH, "width": 4, "precision": "fp32", "data": "digits", "ema": 100}
    objective = {**preset["objective"], **({"pretrain": 1} if name == "magan" else {})}
    network = {**preset["network"], "width": small.pop("width")}
    return TrainConfig.from_dict({**preset, **small, "objective": objective, "network": network})


def inputs(position: int) -> StepInputs:
    draws = Draws(7, position, BATCH, slice(None))
    real = draws.uniform("real", 1, 2, 2)
    return StepInputs(real, draws.latents("latent", 3, "normal"), draws, labels=draws.integers("labels", 9))


def test_a_slot_is_given_what_a_step_is_given_and_draws_what_it_would_draw() -> None:
    slot = _StaticInputs({"k": torch.tensor(1.0)}, inputs(0))
    drawn = {
        "uniform": slot.inputs.draws.uniform("a", 2),
        "normal": slot.inputs.draws.normal("a", 2),
        "integers": slot.inputs.draws.integers("a", 5),
    }
    fresh = inputs(BATCH)
    slot.fill({"k": torch.tensor(2.0)}, fresh)
    assert slot.state["k"] == 2
    for name in ("real", "latent", "labels"):
        assert torch.equal(getattr(slot.inputs, name), getattr(fresh, name)), name
    assert torch.equal(drawn["uniform"], fresh.draws.uniform("a", 2))
    assert torch.equal(drawn["normal"], fresh.draws.normal("a", 2))
    assert torch.equal(drawn["integers"], fresh.draws.integers("a", 5))
    assert slot.inputs.draws.uniform("a", 2) is drawn["uniform"]


@on_a_gpu
@pytest.mark.parametrize("name", sorted(PRESETS))
def test_played_back_is_as_if_taken(name: str) -> None:
    """In float32 with deterministic kernels: losses, weights, averages and the objective's state after many steps."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        settings, device = config(name), torch.device("cuda")
        feed: Feed = open_dataset(settings).feed
        played = TrainState(settings, DataSpec.of(feed), device)
        plain = TrainState(settings, DataSpec.of(feed), device)
        plain.cuda_graph_step = AsItComes()
        for number in range(3 * (WARM_UP + 1) * settings.n_critic):
            if number == 2 * (WARM_UP + 1) * settings.n_critic:  # as if from a checkpoint
                tensors = {key: value.clone() for key, value in played.tensors().items()}
                played.restore(copy.deepcopy(tensors), {**played.facts(), "images": played.images})
            for train_state in (played, plain):
                take_step(
                    train_state, make_batch(settings, feed, train_state.images, Distributed(), device), Distributed()
                )
        assert played.cuda_graph_step._recordable
        assert played.generator_steps == plain.generator_steps
        for key, value in plain.tensors().items():
            torch.testing.assert_close(played.tensors()[key], value, rtol=2e-3, atol=2e-4, msg=key)
    finally:
        torch.use_deterministic_algorithms(False)


@on_a_gpu
def test_what_cannot_be_recorded_is_taken_as_it_comes() -> None:
    playback, state, count = CUDAGraphStep(), {"n": torch.zeros((), device="cuda")}, 0

    def step(state: Any, inputs: StepInputs) -> Any:
        nonlocal count
        count += 1
        torch.cuda.synchronize()  # is not allowed while recording
        return {"n": state["n"] + 1}, {}

    draws = Draws(0, 0, BATCH, slice(None), torch.device("cuda"))
    deal_ = StepInputs(draws.uniform("real", 1, 2, 2), draws.normal("z", 3), draws)
    for _ in range(WARM_UP):
        state, _ = playback(True, step, state, deal_)
    with pytest.warns(UserWarning, match="not recorded"):
        state, _ = playback(True, step, state, deal_)
    state, _ = playback(True, step, state, deal_)
    assert state["n"] == WARM_UP + 2 == count - 1
