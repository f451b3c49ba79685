"""A convolution either way and its gradient in the weights, however they are computed: against torch's own, and
differentiated twice."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.networks.kernel import Kernel, convolve, convolve_transposed, weight_gradient

KERNELS = [Kernel(3, 1, 1), Kernel(3, 2, 1), Kernel(4, 2, 1), Kernel(4, 1, 0)]
SIDES = [(8, 8), (4, 6), (7, 9), (4, 4)]
CASES = [(kernel, sides) for kernel in KERNELS for sides in SIDES]
WAYS = [{}, {"products": True}, {"products": True, "both_ways": True}]


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize(("kernel", "sides"), CASES)
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_they_are_torchs_convolution(
    kernel: Kernel, sides: tuple[int, int], channels_last: bool, way: dict[str, bool]
) -> None:
    torch.manual_seed(0)
    large, weight = numbers(2, 3, *sides), numbers(5, 3, kernel.size, kernel.size)
    if channels_last:
        large, weight = (
            each.detach().to(memory_format=torch.channels_last).requires_grad_() for each in (large, weight)
        )
    kernel = kernel._replace(**way)
    ours = convolve(large, weight, kernel)
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
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_they_are_differentiable_as_often_as_one_likes(
    kernel: Kernel, sides: tuple[int, int], way: dict[str, bool]
) -> None:
    torch.manual_seed(0)
    large, weight = numbers(1, 2, *sides), numbers(2, 2, kernel.size, kernel.size)
    small = numbers(1, 2, *kernel.output_size(large.shape[2:]))
    kernel = kernel._replace(**way)
    for function in (
        lambda large, weight: convolve(large, weight, kernel),
        lambda large, weight: weight_gradient(large, small * weight.sum(), kernel),
        lambda large, weight: convolve_transposed(small * large.sum(), weight, kernel, large.shape[2:]),
    ):
        assert torch.autograd.gradcheck(function, (large, weight))
        assert torch.autograd.gradgradcheck(function, (large, weight), fast_mode=True)
