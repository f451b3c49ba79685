"""What is computed with a convolution's kernel: the convolution either way, and the gradient in the weights.

By torch, as products of matrices, or by cells of pixels; and differentiated as often as one likes.
"""

from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

MAX_CHANNELS_IN_CELLS = 8  # of a transposed convolution's output, up to which it is faster by cells


class Kernel(NamedTuple):
    """Geometry of a convolution from larger to smaller images, in pixels, and how it and its derivatives are computed.

    Attributes:
        products: the gradient in the weights is a matrix product, as there are few pixels.
        both_ways: so is the convolution, either way.
    """

    size: int
    stride: int
    padding: int
    products: bool = False
    both_ways: bool = False

    @property
    def has_cells(self) -> bool:
        """Whether the kernel is of whole cells of stride x stride pixels."""
        return self.stride > 1 and self.size % self.stride == 0

    def output_size(self, sides: torch.Size) -> torch.Size:
        """Sides of the smaller images, from those of the larger ones."""
        return torch.Size((side + 2 * self.padding - self.size) // self.stride + 1 for side in sides)

    def input_size(self, sides: torch.Size) -> torch.Size:
        """Sides of the larger images, from those of the smaller ones; the smallest that fit."""
        return torch.Size((side - 1) * self.stride - 2 * self.padding + self.size for side in sides)


# A convolution y = conv(x, w) is linear in x and in w. Its derivatives are two more functions of the same kind: the
# transposed convolution, by x, and the correlation of x and y, by w. Each of the three has the other two as its
# derivatives, so that together they can be differentiated any number of times.


def convolve(large: Tensor, weight: Tensor, kernel: Kernel) -> Tensor:
    """Convolution: large (N, I, H, W), weight (O, I, k, k) -> small (N, O, h, w)."""
    return cast(Tensor, _Convolution.apply(large, weight, kernel))  # type: ignore[no-untyped-call]


def convolve_transposed(small: Tensor, weight: Tensor, kernel: Kernel, size: torch.Size) -> Tensor:
    """Transposed convolution: small (N, O, h, w), weight (O, I, k, k), (H, W) -> large (N, I, H, W)."""
    return cast(Tensor, _Transposed.apply(small, weight, kernel, size))  # type: ignore[no-untyped-call]


def weight_gradient(large: Tensor, small: Tensor, kernel: Kernel) -> Tensor:
    """Gradient of a convolution in its weights: large (N, I, H, W), small (N, O, h, w) -> weight (O, I, k, k)."""
    return cast(Tensor, _WeightGradient.apply(large, small, kernel))  # type: ignore[no-untyped-call]


class _Convolution(Function):
    """See `convolve`."""

    @staticmethod
    def forward(ctx: Any, large: Tensor, weight: Tensor, kernel: Kernel) -> Tensor:
        ctx.save_for_backward(large, weight)
        ctx.kernel, size = kernel, kernel.output_size(large.shape[2:])
        if not kernel.both_ways:
            return F.conv2d(large, weight, None, kernel.stride, kernel.padding)
        product = _patches(large, kernel, size) @ rows_of(weight).t()
        return product.view(len(large), *size, len(weight)).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (large, weight), (small,), kernel = ctx.saved_tensors, gradients, ctx.kernel
        by_large, by_weight, *_ = ctx.needs_input_grad
        return (
            convolve_transposed(small, weight, kernel, large.shape[2:]) if by_large else None,
            weight_gradient(large, small, kernel) if by_weight else None,
            None,
        )


class _Transposed(Function):
    """See `convolve_transposed`."""

    @staticmethod
    def forward(ctx: Any, small: Tensor, weight: Tensor, kernel: Kernel, size: torch.Size) -> Tensor:
        ctx.save_for_backward(small, weight)
        ctx.kernel = kernel
        # With strides several sizes of `large` lead to one of `small`; torch is given the excess over the least.
        excess = [side - least for side, least in zip(size, kernel.input_size(small.shape[2:]), strict=True)]
        if weight.shape[1] <= MAX_CHANNELS_IN_CELLS and kernel.has_cells and max(excess) <= kernel.padding:
            return _by_cells(small, weight, kernel, size)
        if kernel.both_ways:
            return _sum_of_patches(small.permute(0, 2, 3, 1) @ rows_of(weight), kernel, size)
        return F.conv_transpose2d(small, weight, None, kernel.stride, kernel.padding, excess)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (small, weight), (large,), kernel = ctx.saved_tensors, gradients, ctx.kernel
        by_small, by_weight, *_ = ctx.needs_input_grad
        return (
            convolve(large, weight, kernel) if by_small else None,
            weight_gradient(large, small, kernel) if by_weight else None,
            None,
            None,
        )


class _WeightGradient(Function):
    """See `weight_gradient`."""

    @staticmethod
    def forward(ctx: Any, large: Tensor, small: Tensor, kernel: Kernel) -> Tensor:
        ctx.save_for_backward(large, small)
        ctx.kernel, shape = kernel, (small.shape[1], large.shape[1], kernel.size, kernel.size)
        if not kernel.products:
            options = [kernel.stride] * 2, [kernel.padding] * 2, [1, 1], False, [0, 0], 1  # as `nn.Conv2d` has them
            weight = small.new_empty(shape).to(memory_format=torch.channels_last)  # for its shape and its layout
            wanted = [False, True, False]  # by the input, the weight and the bias
            gradients = torch.ops.aten.convolution_backward(small, large, weight, None, *options, wanted)
            return cast(Tensor, gradients[1])
        product = small.permute(1, 0, 2, 3).flatten(1) @ _patches(large, kernel, small.shape[2:])
        return product.view(small.shape[1], kernel.size, kernel.size, large.shape[1]).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (large, small), (weight,), kernel = ctx.saved_tensors, gradients, ctx.kernel
        by_large, by_small, *_ = ctx.needs_input_grad
        return (
            convolve_transposed(small, weight, kernel, large.shape[2:]) if by_large else None,
            convolve(large, weight, kernel) if by_small else None,
            None,
        )


def _by_cells(small: Tensor, weight: Tensor, kernel: Kernel, size: torch.Size) -> Tensor:
    """The transposed convolution (N, O, h, w) -> (N, I, H, W) by cells of stride x stride pixels.

    Each cell is a pixel of stride^2 I channels; their transposed convolution has a stride of 1, and a kernel of whole
    cells: the same products and sums, for more channels of fewer pixels.
    """
    side, (inputs, channels, *_) = kernel.stride, weight.shape
    cells_of_kernel = kernel.size // side
    weight = weight.reshape(inputs, channels, cells_of_kernel, side, cells_of_kernel, side)
    weight = weight.permute(0, 3, 5, 1, 2, 4).flatten(1, 3).contiguous(memory_format=torch.channels_last)
    cells = F.conv_transpose2d(small, weight)
    count, _, rows, columns = cells.shape
    pixels = cells.permute(0, 2, 3, 1).reshape(count, rows, columns, side, side, channels).transpose(2, 3)
    image = pixels.reshape(count, rows * side, columns * side, channels)
    (height, width), start = size, kernel.padding
    image = image[:, start : start + height, start : start + width]
    return image.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def _patches(large: Tensor, kernel: Kernel, size: torch.Size) -> Tensor:
    """The patches of images (N, I, H, W) under the kernel at its (h, w) positions: (N * h * w, k * k * I)."""
    k, stride, padding = kernel.size, kernel.stride, kernel.padding
    pixels = F.pad(large, [padding] * 4).permute(0, 2, 3, 1).contiguous()  # (N, H, W, I)
    count, _, _, channels = pixels.shape
    image, row, column, _ = pixels.stride()
    # A view that repeats overlapping pixels, copied once by reshape; F.unfold would copy to channels-first and back.
    steps = (image, row * stride, column * stride, row, column, 1)
    return pixels.as_strided((count, *size, k, k, channels), steps).reshape(-1, k**2 * channels)


def _sum_of_patches(patches: Tensor, kernel: Kernel, size: torch.Size) -> Tensor:
    """Images (N, I, H, W) as the sum of patches (N, h, w, k * k * I), each where `_patches` takes it from."""
    k, stride, padding, (count, rows, columns, _) = kernel.size, kernel.stride, kernel.padding, patches.shape
    patches = patches.view(count, rows, columns, k, k, -1)
    image = patches.new_zeros(count, size[0] + 2 * padding, size[1] + 2 * padding, patches.shape[-1])
    for row in range(k):
        for column in range(k):
            down, right = slice(row, row + stride * rows, stride), slice(column, column + stride * columns, stride)
            image[:, down, right] += patches[:, :, :, row, column]
    image = image[:, padding : padding + size[0], padding : padding + size[1]]
    return image.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def rows_of(x: Tensor) -> Tensor:
    """(N, C, H, W) as rows (N, H * W * C), without a copy where it is channels-last."""
    return x.permute(0, 2, 3, 1).flatten(1)
