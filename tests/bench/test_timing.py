"""Arithmetic, memory and shares of a step are those that one counts by hand."""

import pytest
import torch
from torch import Tensor, nn

from equipoise.bench.steps import MAKE_BATCH, Step
from equipoise.bench.timing import Times, count_flops, peak_memory, profile_step, time_interleaved

CPU = torch.device("cpu")


def test_flops_are_what_one_counts_by_hand() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Flatten(), nn.Linear(3 * 64, 5))
    images = torch.randn(4, 2, 8, 8)
    convolution, product = 2 * 9 * 2 * 3 * 4 * 64, 2 * 4 * 192 * 5

    def step() -> None:
        model(images).sum().backward()

    def twice_differentiable() -> None:
        torch.autograd.grad(model(images).sum(), list(model.parameters()), create_graph=True)

    assert count_flops(step, 1) == (convolution + product) * 2 + product  # no gradient for the images
    assert count_flops(twice_differentiable, 1) > 0


def test_peak_memory_is_what_one_counts_by_hand() -> None:
    """Two tensors of a MiB live at once, beside one that stays."""

    def build() -> Step:
        stays: list[Tensor] = []

        def step() -> None:
            a = torch.zeros(2**18)
            b = torch.zeros(2**18)
            del a
            c = torch.zeros(2**18)
            if not stays:
                stays.append(torch.zeros(2**18))
            del b, c

        return step

    assert peak_memory(build, CPU, 1) / 2**20 == pytest.approx(2, abs=0.05)


def test_ratios_are_of_rounds_side_by_side() -> None:
    assert Times([1.0, 2.0, 4.0]).ratio_to(Times([3.0, 4.0, 16.0])) == (3.0, 2.0, 4.0)


def test_steps_are_timed_in_turn_and_by_whole_cycles() -> None:
    calls = {"a": 0, "b": 0}

    def count(name: str) -> None:
        calls[name] += 1

    steps = {"a": lambda: count("a"), "b": lambda: count("b")}
    times = time_interleaved(steps, CPU, cycle=5, rounds=3, limit=0.01)
    assert {name: len(each.rounds) for name, each in times.items()} == {"a": 3, "b": 3}
    assert all(number % 5 == 0 for number in calls.values())


def test_the_shares_of_a_step_are_those_of_its_parts() -> None:
    """A matrix product that takes nearly all of the time, and beside it the same in making the batch."""
    a = torch.randn(768, 768)

    def step() -> None:
        with torch.profiler.record_function(MAKE_BATCH):
            a @ a
        a @ a
        a.relu()

    shares, operators = profile_step(step, 8, CPU)
    assert next(iter(operators)) == "mm"
    assert list(operators.values()) == sorted(operators.values(), reverse=True)
    assert shares["backward"] == shares["optimiser"] == 0
    assert shares["forward"] + shares["data"] == pytest.approx(1)
    assert min(shares["forward"], shares["data"]) > 0.05
