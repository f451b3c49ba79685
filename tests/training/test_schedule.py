"""The learning rate over a run."""

import math

import pytest
import torch

from equipoise import Autoencoder, TrainConfig
from equipoise.data import normalise
from equipoise.randomness import Draws
from equipoise.training.batch import StepInputs
from equipoise.training.distributed import Distributed
from equipoise.training.schedule import Plateau, decay, lowest_if_stalled, warmup
from equipoise.training.state import DataSpec, TrainState
from equipoise.training.step import train_step


def after(means: list[float], *, patience: int = 3, lowest: float = 0.2) -> Plateau:
    plateau = Plateau()
    for mean in means:
        plateau = plateau.observe(mean, patience=patience, lowest=lowest)
    return plateau


def test_halved_after_as_many_windows_without_a_best_as_patience_says() -> None:
    assert after([1.0, 2.0, 2.0]).factor == 1
    assert after([1.0, 2.0, 2.0, 2.0]).factor == 0.5
    assert after([1.0, 2.0, 2.0, 0.9, 2.0, 2.0]).factor == 1
    assert after([1.0] * 4).factor == 0.5, "an equal value is no improvement"


def test_never_below_the_floor_and_converged_only_there() -> None:
    seen = [after([1.0] * count) for count in range(1, 14)]
    assert [plateau.factor for plateau in seen] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.2, 0.2, 0.2, 0.2]
    assert [plateau.converged for plateau in seen] == [False] * 12 + [True]


def test_a_floor_above_the_rate_never_raises_it() -> None:
    assert after([1.0] * 20, lowest=1.0).factor == 1


def test_survives_as_plain_numbers() -> None:
    plateau = after([1.0, 2.0, 0.5, 0.7])
    assert Plateau(**plateau.as_dict()) == plateau


def test_warmup() -> None:
    assert warmup(0, 0) == 1
    rates = [warmup(images, 99) for images in range(0, 120)]
    assert rates[0] == pytest.approx(0.01)
    assert rates == sorted(rates)
    assert rates[98] < 1 == rates[99] == rates[119]


def test_decay_is_linear_over_the_final_share() -> None:
    """Of 1,000 images the last quarter: full until 750, half at 875, and nearly 0 in the last step."""
    rates = [decay(seen, 1000, 0.25) for seen in (0, 750, 875, 999)]
    assert rates == pytest.approx([1, 1, 0.5, 0.004], rel=1e-12)
    assert {decay(seen, 1000, 0.0) for seen in range(0, 1000, 100)} == {1.0}
    assert [decay(seen, 1000, 1.0) for seen in (0, 500)] == [1, 0.5]


def test_a_window_is_the_mean_of_its_own_steps() -> None:
    """Of the images that it is long, or the next whole step, whatever is logged meanwhile."""
    network = Autoencoder(width=3, latent=4)
    config = TrainConfig(network=network, batch=16, lr_window=40, lr_patience=10, precision="fp32")
    train_state = TrainState(config, DataSpec((1, 32, 32)), torch.device("cpu"))
    for step, value in enumerate([3.0, 1.0, 5.0, 7.0], start=1):
        train_state.finish_step(train_state.objective_state, {"m_global": torch.tensor(value)})
        if step == 2:
            train_state.accumulator.close()  # a line of metrics
        assert train_state.plateau.best == (float("inf") if step < 3 else 3.0)
    assert train_state.schedule_window.steps == 1


def test_halving_keeps_adams_moments() -> None:
    """Making a new Adam at each halving loses them (a bug of others)."""
    network = Autoencoder(width=3, latent=4, init="scaled")
    config = TrainConfig(
        network=network, resolution=16, precision="fp32", lr_window=16, lr_patience=1, lr=1e-3, warmup=0, lr_ratio=3
    )
    train_state = TrainState(config, DataSpec((1, 16, 16)), torch.device("cpu"))
    real = normalise(torch.randint(0, 256, (16, 1, 16, 16), dtype=torch.uint8))
    latent = torch.rand(16, 4)
    train_state.prepare_step()
    given = StepInputs(real, latent, Draws(0, 0, 16, slice(None)))
    state, measures = train_step(
        train_state.players, train_state.optimizers, config.objective, train_state.objective_state, given, Distributed()
    )
    assert not train_state.finish_step(state, measures | {"m_global": torch.tensor(1.0)})
    before = train_state.tensors()
    assert train_state.finish_step(state, measures | {"m_global": torch.tensor(2.0)})
    train_state.prepare_step()
    assert train_state.optimizers.discriminator.param_groups[0]["lr"] == 5e-4
    assert train_state.optimizers.generator.param_groups[0]["lr"] == pytest.approx(1.5e-3)
    now = train_state.tensors()
    moments = [name for name in now if name.endswith("exp_avg_sq")]
    assert len(moments) == sum(1 for player in train_state.players for _ in player.parameters())
    assert all(torch.equal(now[name], before[name]) for name in moments)
    assert all(now[name].abs().sum() > 0 for name in moments)


def test_a_lowest_score_is_stalled_once_it_is_old_and_later_ones_do_not_fall() -> None:
    falling = [(10 * step, 1 / step) for step in range(1, 11)]
    risen = [(100 + 10 * step, 0.1 + step / 1000) for step in range(1, 100)]
    assert lowest_if_stalled([]) is None
    assert lowest_if_stalled(falling) is None
    assert lowest_if_stalled(falling[9:] + risen[:8]) is None, "nine scores"
    assert lowest_if_stalled(falling[9:] + risen[:9]) == (100, 0.1), "ten scores, 90 of 190 images"
    stalled = next(count for count in range(100) if lowest_if_stalled(falling + risen[:count]))
    assert lowest_if_stalled(falling + risen[:stalled]) == (100, 0.1)
    assert stalled == 7  # with six, a line through 1/9, 0.1, 0.101, ..., 0.106 falls yet
    late = [(1000 + step, 0.2) for step in range(1, 600)]
    assert lowest_if_stalled([*falling, (1000, 0.05), *late[:499]]) is None, "499 of 1,499 images"
    assert lowest_if_stalled([*falling, (1000, 0.05), *late[:500]]) == (1000, 0.05)
    assert lowest_if_stalled([(10, math.nan), (20, math.inf)] * 10) is None
    assert lowest_if_stalled([*falling, *((images, math.nan) for images, _ in risen)]) is None, "no scores at all"


def test_a_gray_start_that_scores_better_than_the_first_strokes_is_not_waited_for() -> None:
    """KID of BEGAN with compare_gan's networks on cars, every 12,000 images, which went on to 0.29."""
    kids = 0.49, 0.46, 0.44, 0.43, 0.35, 0.47, 0.48, 0.46, 0.44, 0.39, 0.37, 0.36, 0.34
    scores = [(12_000 * step, kid) for step, kid in enumerate(kids, 1)]
    assert [lowest_if_stalled(scores[:count]) for count in range(len(kids) + 1)] == [None] * (len(kids) + 1)
