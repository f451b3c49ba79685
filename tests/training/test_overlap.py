"""Gradients of several processes, which are sent while the backward pass goes on."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from equipoise.devices import Launcher, make_launcher
from equipoise.training import distributed as distributed_module
from equipoise.training.distributed import make_distributed

SIZES = (6, 5, 4, 3, 2)  # of layers without activations
VALUES = torch.tensor([1.0, 3.0], dtype=torch.float64)


def send(launcher: Launcher) -> tuple[list[tuple[int, int]], float, list[float]]:
    """For each bucket its numbers and how many gradients there were when it was sent; the largest error; the values."""
    distributed_module.BUCKET_BYTES = 8 * SIZES[-1] * SIZES[-2]  # the last weight fills a bucket
    distributed = make_distributed(launcher, "fp64")
    generator = torch.Generator().manual_seed(0)
    weights = [
        torch.randn(n_in, n_out, dtype=torch.float64, generator=generator).requires_grad_()
        for n_in, n_out in pairwise(SIZES)
    ]
    rows = torch.randn(launcher.world_size, 7, SIZES[0], dtype=torch.float64, generator=generator)
    ready, sent, reduce = list[int](), list[tuple[int, int]](), torch.distributed.all_reduce

    def watched(flat: Tensor, **settings: Any) -> Any:
        sent.append((flat.numel(), len(ready)))
        return reduce(flat, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.distributed, "all_reduce", watched)
        for place, weight in enumerate(weights):
            weight.register_hook(lambda _, place=place: ready.append(place))
        means = distributed.gradients(
            loss_of(weights, rows[distributed.rank]), weights, VALUES * (1 + distributed.rank)
        )
    grads, values = means()
    whole = torch.autograd.grad(sum(loss_of(weights, each) for each in rows) / len(rows), weights)
    return sent, max(float((a - b).abs().max()) for a, b in zip(grads, whole, strict=True)), values.tolist()


def loss_of(weights: list[Tensor], x: Tensor) -> Tensor:
    for weight in weights:
        x = x @ weight
    return x.square().mean()


def test_each_bucket_is_sent_before_the_next_is_there() -> None:
    sent, error, values = make_launcher("cpu", 2).launch(send)
    counts = [n_in * n_out for n_in, n_out in pairwise(SIZES)][::-1]
    assert [numbers for numbers, _ in sent] == [counts[0] + len(VALUES), *counts[1:]]
    assert [ready for _, ready in sent] == [1, 2, 3, 4], "gradients that were there when each was sent"
    assert error < 1e-12
    assert values == pytest.approx((1.5 * VALUES).tolist())
