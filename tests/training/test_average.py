"""The generator's moving average: of its weights, and of the statistics that its BatchNorm has of them."""

import pytest
import torch

from equipoise import PRESETS, TrainConfig
from equipoise.bench.steps import take_step
from equipoise.config.datasets import open_dataset
from equipoise.networks import DCGAN
from equipoise.training.batch import make_batch
from equipoise.training.distributed import Distributed
from equipoise.training.state import DataSpec, TrainState

HALF_LIFE, BATCH, STEPS = 24, 8, 12


@pytest.fixture
def config() -> TrainConfig:
    settings = {"network": DCGAN(width=4, latent=5), "resolution": 16, "batch": BATCH, "ema": HALF_LIFE}
    return PRESETS["gan"]["default"].with_changes(**settings, precision="fp32", device="cpu")


def test_weights_and_statistics_follow_the_generator_with_one_half_life(config: TrainConfig) -> None:
    feed = open_dataset(config).feed
    train_state = TrainState(config, DataSpec.of(feed), torch.device("cpu"))
    expected = {name: value.double() for name, value in train_state.ema.state_dict().items()}
    for step in range(1, STEPS + 1):
        inputs = make_batch(config, feed, train_state.images, Distributed(), train_state.device)
        take_step(train_state, inputs, Distributed())
        half_life = min(HALF_LIFE, step * BATCH / 20)
        for name, newest in train_state.players.generator.state_dict().items():
            kept = 0.5 ** (BATCH / half_life)
            expected[name] = kept * expected[name] + (1 - kept) * newest.double()
    average, newest = (player.state_dict() for player in (train_state.ema, train_state.players.generator))
    assert sum("running" in name for name in average) == 4  # a mean and a variance of each of the two BatchNorms
    for name, value in average.items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-7)
            assert not torch.equal(value, newest[name]), name
        else:
            assert torch.equal(value, newest[name]), name
