"""The search for latents: generators whose inversion is known."""

import math

import pytest
import torch
from torch import Tensor

from equipoise.latents.search import NORM_SPREAD, absolute_error, descend, into_range, search, squared_error
from equipoise.randomness import keyed_generator, latents

MATRIX = torch.randn(12, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
SETTINGS = {"prior": "normal", "steps": 400, "lr": 0.1, "keep_in_range": False}


def linear(z: Tensor, /, *, start: Tensor | None = None) -> Tensor:
    return (z @ MATRIX.T).view(-1, 3, 2, 2)


def drawn(count: int, seed: int = 1) -> Tensor:
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_linear_generator_is_inverted_as_by_least_squares() -> None:
    images = torch.randn(6, 3, 2, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    z, losses = descend(linear, images, drawn(6), loss=squared_error, **SETTINGS)
    solution = torch.linalg.lstsq(MATRIX, images.flatten(1).T).solution.T
    torch.testing.assert_close(z, solution, rtol=0, atol=2e-2)
    torch.testing.assert_close(losses, squared_error(linear(z), images))
    torch.testing.assert_close(losses, squared_error(linear(solution), images), rtol=1e-3, atol=0)


@pytest.mark.parametrize("constant", [False, True])
def test_it_steps_as_torchs_adam(*, constant: bool) -> None:
    images, start, steps = linear(drawn(5, 3)), drawn(5), 7
    found, _ = descend(
        linear, images, start, loss=squared_error, **SETTINGS | {"steps": steps, "lr": 0.01, "constant": constant}
    )
    z = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([z], lr=0.01)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.01 if constant else 0.005 * (1 + math.cos(math.pi * step / (steps + 1)))
        optimizer.zero_grad()
        squared_error(linear(z), images).sum().backward()
        optimizer.step()
    assert torch.equal(found, z), "the last is the best, as the loss falls at so small a rate"


def test_what_it_can_make_is_found_again_by_absolute_errors() -> None:
    wanted = drawn(5, 3)
    found = search(linear, linear(wanted), drawn(15).view(3, 5, 4), loss=absolute_error, **SETTINGS)
    assert found.losses.max() < 0.02
    torch.testing.assert_close(found.latents, wanted, rtol=0, atol=0.05)


def test_the_best_start_goes_on_for_each_image_its_own() -> None:
    """|z| has two valleys: which one a search ends in depends on where it starts, and each image wants another."""

    def two_valleys(z: Tensor, /, *, start: Tensor) -> Tensor:
        return torch.where(start[:, None] == 0, z[:, :1].abs(), -z[:, :1].abs()).view(-1, 1, 1, 1)

    images = torch.tensor([3.0, -3.0, 2.0], dtype=torch.float64).view(3, 1, 1, 1)
    starts = torch.ones(2, 3, 1, dtype=torch.float64)
    found = search(two_valleys, images, starts, loss=absolute_error, **SETTINGS)
    assert found.start.tolist() == [0, 1, 0]
    torch.testing.assert_close(
        found.latents[:, 0], torch.tensor([3.0, 3.0, 2.0], dtype=torch.float64), atol=0.02, rtol=0
    )


def test_no_image_depends_on_the_others() -> None:
    images, starts = linear(drawn(4, 5)) + 0.3, drawn(8).view(2, 4, 4)
    together = search(linear, images, starts, loss=absolute_error, **SETTINGS)
    for row in range(4):
        alone = search(linear, images[row : row + 1], starts[:, row : row + 1], loss=absolute_error, **SETTINGS)
        torch.testing.assert_close(alone.latents[0], together.latents[row])


@pytest.mark.parametrize("prior", ["uniform", "normal"])
def test_latents_stay_where_the_prior_puts_them(prior: str) -> None:
    far = linear(20 * drawn(3))
    z, losses = descend(linear, far, drawn(3), loss=squared_error, **SETTINGS | {"prior": prior, "keep_in_range": True})
    assert torch.equal(into_range(z, prior), z) or torch.allclose(into_range(z, prior), z, rtol=0, atol=1e-12)
    if prior == "uniform":
        assert z.abs().max() <= 1
    else:
        assert z.norm(dim=1).max() <= 2 + NORM_SPREAD + 1e-9
    assert losses.isfinite().all()


def test_hardly_any_normal_latent_is_shortened() -> None:
    for size in (2, 64, 512):
        z = latents(20_000, size, "normal", keyed_generator(0, "range"))
        assert (into_range(z, "normal") != z).any(dim=1).float().mean() < 0.003
    assert math.isfinite(into_range(torch.zeros(1, 8), "normal").sum())


def test_what_is_not_finite_is_passed_over() -> None:
    def breaks(z: Tensor) -> Tensor:
        return torch.where(z[:, :1] > 1, torch.nan, z[:, :1]).view(-1, 1, 1, 1)

    start = torch.tensor([[0.9], [2.0]], dtype=torch.float64)
    z, losses = descend(
        breaks, torch.full((2, 1, 1, 1), 5.0, dtype=torch.float64), start, loss=absolute_error, **SETTINGS
    )
    assert z[0] <= 1
    assert losses[0] < 4.2
    assert losses[1] == math.inf


def test_no_weight_gets_a_gradient_and_the_callers_mode_does_not_matter() -> None:
    layer = torch.nn.Linear(4, 12)
    with torch.inference_mode():
        images = torch.randn(2, 12)
        _, losses = descend(layer, images, torch.zeros(2, 4), loss=squared_error, **SETTINGS | {"steps": 20})
    assert layer.weight.grad is None
    assert losses.max() < squared_error(layer(torch.zeros(2, 4)), images).max()
