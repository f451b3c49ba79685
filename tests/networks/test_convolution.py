"""Convolutions as products of matrices: against torch's own, differentiated once and twice, and when they are taken."""

from collections import Counter
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from equipoise.networks.convolution import Conv2d, ConvTranspose2d, Kernel, _Convolution, _Transposed, _WeightGradient

KERNELS = [Kernel(3, 1, 1), Kernel(3, 2, 1), Kernel(4, 2, 1), Kernel(4, 1, 0)]
SIDES = [(8, 8), (4, 6), (7, 9), (4, 4)]
BF16 = 2**-7  # its relative rounding, twice
CASES = [(kernel, sides) for kernel in KERNELS for sides in SIDES]


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


class Operators(TorchDispatchMode):
    """Counts what is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("kernel", "sides"), CASES)
@pytest.mark.parametrize("channels_last", [False, True])
def test_they_are_torchs_convolution(kernel: Kernel, sides: tuple[int, int], channels_last: bool) -> None:
    torch.manual_seed(0)
    large, weight = numbers(2, 3, *sides), numbers(5, 3, kernel.size, kernel.size)
    if channels_last:
        large, weight = (
            each.detach().to(memory_format=torch.channels_last).requires_grad_() for each in (large, weight)
        )
    ours = _Convolution.apply(large, weight, kernel)
    theirs = F.conv2d(large, weight, None, kernel.stride, kernel.padding)
    assert ours.shape[2:] == kernel.output_size(large.shape[2:])
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    slopes = torch.randn_like(theirs)
    for got, expected in zip(
        torch.autograd.grad(ours, (large, weight), slopes),
        torch.autograd.grad(theirs, (large, weight), slopes),
        strict=True,
    ):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("kernel", "sides"), CASES)
def test_they_are_differentiable_as_often_as_one_likes(kernel: Kernel, sides: tuple[int, int]) -> None:
    torch.manual_seed(0)
    large, weight = numbers(1, 2, *sides), numbers(2, 2, kernel.size, kernel.size)
    small = numbers(1, 2, *kernel.output_size(large.shape[2:]))
    for function in (
        lambda large, weight: _Convolution.apply(large, weight, kernel),
        lambda large, weight: _WeightGradient.apply(large, small * weight.sum(), kernel),
        lambda large, weight: _Transposed.apply(small * large.sum(), weight, kernel, torch.Size(sides)),
    ):
        assert torch.autograd.gradcheck(function, (large, weight))
        assert torch.autograd.gradgradcheck(function, (large, weight))


LAYERS = [
    (Conv2d(128, 128, 3, padding=1), nn.Conv2d, (2, 128, 8, 8)),
    (Conv2d(128, 128, 4, 2, 1, bias=False), nn.Conv2d, (2, 128, 8, 8)),
    (ConvTranspose2d(128, 128, 4, 2, 1), nn.ConvTranspose2d, (2, 128, 4, 4)),
    (ConvTranspose2d(128, 128, 4), nn.ConvTranspose2d, (2, 128, 1, 1)),
]


@pytest.mark.parametrize(("layer", "kind", "shape"), LAYERS, ids=lambda value: str(value)[:40])
def test_in_bf16_gradients_by_weights_are_products(layer: nn.Module, kind: type, shape: tuple[int, ...]) -> None:
    """And within rounding of those in full precision."""
    torch.manual_seed(0)
    images = torch.randn(shape)

    def gradients(forward: Any) -> list[Tensor]:
        out = forward(images)
        return [out.float(), *torch.autograd.grad((out.float() ** 2).mean(), list(layer.parameters()))]

    with torch.autocast("cpu", torch.bfloat16), Operators() as ours:
        got = gradients(layer)
    exact = gradients(lambda images: kind.forward(layer, images))
    assert ours.counts["mm"] >= 1
    assert ours.counts["convolution_backward"] == 0
    for mine, truth in zip(got, exact, strict=True):
        assert mine.dtype == truth.dtype
        assert (mine - truth).norm() <= BF16 * truth.norm()


def layer_with(**changes: int) -> Conv2d:
    settings = {"in_channels": 128, "out_channels": 128, "kernel_size": 3, "padding": 1, **changes}
    return Conv2d(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("layer", "side", "precision"),
    [
        (layer_with(), 8, torch.float32),
        (layer_with(), 16, torch.bfloat16),
        (layer_with(out_channels=127), 8, torch.bfloat16),
        (layer_with().requires_grad_(False), 8, torch.bfloat16),
    ],
    ids=["full precision", "many pixels", "few channels", "frozen"],
)
def test_elsewhere_they_are_torchs_own(layer: Conv2d, side: int, precision: torch.dtype) -> None:
    images = torch.randn(1, 128, side, side, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16), Operators() as operators:
        layer(images).sum().backward()
    assert operators.counts["mm"] == 0
    assert operators.counts["convolution"] == 1
    assert operators.counts["convolution_backward"] == 1


@pytest.mark.parametrize(
    ("layer", "sides"), [(Conv2d(128, 256, (3, 4)), (3, 4)), (ConvTranspose2d(128, 256, (3, 4)), (1, 1))]
)
def test_kernels_that_are_not_square_are_left_to_torch(layer: nn.Module, sides: tuple[int, int]) -> None:
    """As at the bottleneck of images that are not square."""
    x = torch.randn(2, 128, *sides, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x)
    out.float().sum().backward()
    torch.testing.assert_close(out.float(), layer(x), rtol=0.05, atol=0.05)
