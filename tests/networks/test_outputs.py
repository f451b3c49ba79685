"""Output layers: in full precision of features in bf16, with gradients in bf16."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from equipoise.networks.outputs import OutputConv2d, OutputConvTranspose2d

BF16 = 2**-7  # its relative rounding, twice
LAYERS: list[tuple[Any, type[nn.Module]]] = [
    (OutputConv2d(16, 3, 3, padding=1), nn.Conv2d),
    (OutputConv2d(16, 1, 5, padding=2, bias=False), nn.Conv2d),
    (OutputConv2d(16, 3, 3), nn.Conv2d),  # without padding, which is not taken to cells
    (OutputConv2d(16, 9, 3, padding=1), nn.Conv2d),  # nor are many channels
    (OutputConvTranspose2d(16, 3, 4, 2, 1), nn.ConvTranspose2d),
    (OutputConvTranspose2d(16, 1, 4, 2, 1, bias=False), nn.ConvTranspose2d),
    (OutputConvTranspose2d(16, 3, 3, 1, 1), nn.ConvTranspose2d),
]


@pytest.mark.parametrize(("layer", "kind"), LAYERS, ids=lambda value: str(value)[:60])
@pytest.mark.parametrize("sides", [(8, 6), (7, 6)])
def test_they_round_gradients_alone(layer: nn.Module, kind: Any, sides: tuple[int, int]) -> None:
    torch.manual_seed(0)
    features = torch.randn(4, 16, *sides).bfloat16().contiguous(memory_format=torch.channels_last)
    exact = kind.forward(layer.double(), features.double())
    slopes = torch.randn_like(exact)

    def twice(images: Tensor, x: Tensor) -> list[Tensor]:
        """Gradients, and those of their square."""
        inputs = (x, *layer.parameters())
        first = torch.autograd.grad((images * slopes + images**2).sum(), inputs, create_graph=True)
        return [*first, *torch.autograd.grad((first[0].double() ** 2).sum(), (x, next(layer.parameters())))]

    precise = features.double().requires_grad_()
    expected = twice(kind.forward(layer, precise), precise)
    layer.float()
    features.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        images = layer(features)
    assert images.dtype == torch.float32
    torch.testing.assert_close(images.double(), exact, rtol=1e-5, atol=1e-5)
    got = twice(images, features)
    assert got[0].dtype == torch.bfloat16
    for ours, theirs in zip(got, expected, strict=True):
        assert (ours - theirs).norm() <= 2 * BF16 * theirs.norm()


@pytest.mark.parametrize("layer", [layer for layer, _ in LAYERS], ids=lambda value: str(value)[:60])
def test_in_fp64_they_are_exact(layer: nn.Module) -> None:
    layer.double()
    assert torch.autograd.gradcheck(layer, (torch.randn(1, 16, 4, 4, dtype=torch.float64, requires_grad=True),))
    layer.float()


@pytest.mark.parametrize("layer", [OutputConv2d(16, 3, 3, padding=1), OutputConvTranspose2d(16, 3, 4, 2, 1)])
def test_without_fast_paths_they_are_torchs_own(layer: Any) -> None:
    """As the textbook's step has them, which ours is compared with."""
    features = torch.randn(2, 16, 4, 4).bfloat16().requires_grad_()
    assert "_Images" in type(layer(features).grad_fn).__name__
    layer.fast_paths = False
    assert "_Images" not in type(layer(features).grad_fn).__name__


def test_frozen_weights_get_no_gradient() -> None:
    layer = OutputConv2d(16, 3, 3, padding=1).requires_grad_(False)
    features = torch.randn(2, 16, 4, 4).bfloat16().requires_grad_()
    layer(features).sum().backward()
    assert features.grad is not None
    assert layer.weight.grad is None
