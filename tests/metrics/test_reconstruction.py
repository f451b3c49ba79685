"""Minimum reconstruction error: a linear generator against least squares."""

import math

import pytest
import scipy.optimize
import torch
from torch import Tensor

from equipoise.metrics import minimum_reconstruction_error

WEIGHTS = torch.randn(12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def linear(z: Tensor) -> Tensor:
    return (z.double() @ WEIGHTS.T).view(-1, 3, 2, 2)


def images(count: int, seed: int = 1) -> Tensor:
    return torch.randn(count, 3, 2, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equals_least_squares() -> None:
    x = images(10)
    solution = torch.linalg.lstsq(WEIGHTS, x.flatten(1).T).solution
    expected = (WEIGHTS @ solution - x.flatten(1).T).square().mean(dim=0)
    ours = minimum_reconstruction_error(linear, x, 3, prior="normal")
    torch.testing.assert_close(ours, expected, rtol=1e-3, atol=0)
    assert (ours >= expected - 1e-9).all()


def test_the_uniform_prior_stays_in_its_box() -> None:
    x = 4 * images(5)
    box = [scipy.optimize.lsq_linear(WEIGHTS.numpy(), one.numpy(), (-1, 1)).cost * 2 / 12 for one in x.flatten(1)]
    ours = minimum_reconstruction_error(linear, x, 3, prior="uniform")
    assert ours.tolist() == pytest.approx(box, rel=1e-3)


def test_what_the_generator_can_draw_has_no_error() -> None:
    z = torch.rand(8, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 2 - 1
    drawn = linear(z)
    noise = images(8, 3)
    ours = [
        minimum_reconstruction_error(linear, drawn + level * noise, 3, prior="uniform").mean().item()
        for level in (0.0, 0.1, 0.3, 1.0)
    ]
    assert ours[0] < 1e-4
    assert ours == sorted(ours)


def test_an_image_has_the_same_error_alone() -> None:
    x = images(7)
    whole = minimum_reconstruction_error(linear, x, 3, prior="normal", steps=20)
    parts = minimum_reconstruction_error(linear, x, 3, prior="normal", steps=20, batch=2)
    torch.testing.assert_close(parts, whole, rtol=1e-9, atol=0)


def test_more_starts_and_steps_only_help_and_weights_are_left_alone() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.Tanh(), torch.nn.Linear(32, 12))
    x = torch.randn(6, 12, 1, 1, generator=torch.Generator().manual_seed(1))

    def error(starts: int, steps: int) -> Tensor:
        return minimum_reconstruction_error(
            lambda z: network(z)[..., None, None], x, 4, prior="normal", starts=starts, steps=steps
        )

    with torch.inference_mode():
        one, three = error(1, 30), error(3, 30)
    assert (three <= one + 1e-9).all()
    assert (three < one - 1e-3).any()
    assert (one <= error(1, 0)).all()
    assert all(weight.grad is None for weight in network.parameters())


def test_no_images_and_broken_generators() -> None:
    assert minimum_reconstruction_error(linear, images(0), 3, prior="normal").shape == (0,)
    broken = minimum_reconstruction_error(lambda z: linear(z) * math.nan, images(2), 3, prior="normal", steps=2)
    assert broken.tolist() == [math.inf, math.inf]
