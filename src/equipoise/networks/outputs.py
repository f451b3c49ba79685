"""Output layers: in full precision, whatever the precision of training.

For points, images, scores and logits. In bf16's 8 bits of mantissa points coincide, neighbouring shades of an image
become one, and a score keeps three digits.
"""

from collections.abc import Callable
from typing import Any, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from equipoise.networks.convolution import Conv2d, ConvTranspose2d, is_eager_on_cpu, kernel_of
from equipoise.networks.kernel import MAX_CHANNELS_IN_CELLS, Kernel, convolve, convolve_transposed, weight_gradient

CELL = 2  # pixels of the side of a cell of an image


class FullPrecision(nn.Module):
    """Mix-in before a layer class: its weights and forward pass are in fp32 or fp64, despite autocast or `half()`."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Convert the weights, as torch does for `half()` and `to()`, but to no less than full precision."""

        def converted(values: Tensor) -> Tensor:
            values = fn(values)
            return to_full_precision(values) if values.is_floating_point() else values

        return cast(Self, super()._apply(converted, recurse))  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Tensor:
        """The layer's forward pass, for features of any precision."""
        with torch.autocast(x.device.type, enabled=False):
            return cast(Tensor, super().forward(to_full_precision(x)))


class OutputLinear(FullPrecision, nn.Linear):
    """A linear layer in full precision."""


class OutputConv2d(FullPrecision, Conv2d):
    """A convolution in full precision."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, I, H, W) to (N, O, h, w), for features of any precision."""
        kernel, (*_, height, width) = kernel_of(self), x.shape
        keeps_sides = kernel and kernel.stride == 1 and kernel.size == 2 * kernel.padding + 1
        if keeps_sides and _is_fast(self, x) and not (height % CELL or width % CELL):
            return cast(Tensor, _Images.apply(x, self.weight, self.bias, kernel, False))  # type: ignore[no-untyped-call]
        return super().forward(x)


class OutputConvTranspose2d(FullPrecision, ConvTranspose2d):
    """A transposed convolution in full precision, without `output_size`."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """(N, I, h, w) to (N, O, H, W), for features of any precision."""
        kernel = kernel_of(self)
        if kernel and kernel.has_cells and _is_fast(self, x):
            return cast(Tensor, _Images.apply(x, self.weight, self.bias, kernel, True))  # type: ignore[no-untyped-call]
        return super().forward(x)


def to_full_precision(values: Tensor) -> Tensor:
    """`values` in fp32, or unchanged if they are in fp64."""
    return values if values.dtype == torch.float64 else values.float()


def _is_fast(layer: Conv2d | ConvTranspose2d, x: Tensor) -> bool:
    """Whether `_Images` may be taken: for features in bf16 and images of few channels."""
    few = layer.out_channels <= MAX_CHANNELS_IN_CELLS
    return layer.fast_paths and few and x.dtype == torch.bfloat16 and is_eager_on_cpu(x)


class _Images(Function):
    """Features (N, I, H, W) in bf16 to images in fp32, by weights (O, I, k, k), or (I, O, k, k) if transposed.

    The gradients are computed in bf16, as all other layers' are: in fp32 oneDNN takes three times as long for them, and
    the features and their gradient would be copied to fp32 and back.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, kernel: Kernel, transposed: bool) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.kernel, ctx.transposed = kernel, transposed
        with torch.autocast("cpu", enabled=False):
            if transposed:
                images = convolve_transposed(x.float(), weight, kernel, kernel.input_size(x.shape[2:]))
            else:
                images = _convolve_by_cells(x.float(), weight, kernel)
        return images if bias is None else images + bias.view(-1, 1, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (x, weight), (by_x, by_weight, by_bias, *_) = ctx.saved_tensors, ctx.needs_input_grad
        images, weight, kernel = gradients[0].bfloat16(), weight.bfloat16(), ctx.kernel
        large, small = (images, x) if ctx.transposed else (x, images)
        of_x = of_weight = of_bias = None
        if by_x and ctx.transposed:
            of_x = convolve(large, weight, kernel)
        elif by_x:
            of_x = convolve_transposed(small, weight, kernel, large.shape[2:])
        if by_weight:
            of_weight = weight_gradient(large, small, kernel)
        if by_bias:
            of_bias = gradients[0].sum((0, 2, 3))
        return of_x, of_weight, of_bias, None, None


def _convolve_by_cells(x: Tensor, weight: Tensor, kernel: Kernel) -> Tensor:
    """The convolution (N, I, H, W) -> (N, O, H, W), whose output has all pixels of a cell as channels at first.

    The weights at each of a cell's pixels lie in a window that is larger than the kernel. It is more work, but three
    channels leave most of a vector's places empty.
    """
    places = range(CELL)
    windows = [F.pad(weight, (j, CELL - 1 - j, i, CELL - 1 - i)) for i in places for j in places]
    stacked = torch.stack(windows, dim=1).flatten(0, 1).contiguous(memory_format=torch.channels_last)
    images = F.pixel_shuffle(F.conv2d(x, stacked, None, CELL, kernel.padding), CELL)
    return images.contiguous(memory_format=torch.channels_last)
