"""Convolutions that are matrix products, and those that are faster as such.

A kernel as large as the image has one place, and is a linear layer. As a convolution torch compiles it for a GPU with
another memory layout of its gradient than it then has.

Convolutions of few pixels and many channels are taken as products for bf16 on CPUs. There oneDNN computes the gradient
in the weights at half of a matrix product's speed for 8x8 pixels and at a sixth for 4x4, where it also takes twice as
long for the convolution itself. Transposed convolutions to few channels, the last layer of a generator and the gradient
of a discriminator's first by its images, fill three of its vectors' sixteen places; there all pixels of a cell are
taken as channels. Both see docs/performance.md. Anything else is left to torch.
"""

from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

MIN_WEIGHTS = 2**14  # input channels times output channels from which a matrix product is faster
MAX_PIXELS_GRADIENT = 64  # of the smaller images, up to which it is faster for the gradient in the weights
MAX_PIXELS_FORWARD = 16  # and for the convolution itself
MAX_CHANNELS_IN_CELLS = 8  # of a transposed convolution's output, up to which it is faster by cells


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` with strides, paddings and kernels that are square, unless the kernel is as large as the images.

    Attributes:
        fast_paths: whether matrix products, or cells on the way back, may replace torch's convolution.
    """

    fast_paths = True

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, I, H, W) to (N, O, h, w)."""
        if x.shape[2:] == self.kernel_size and not any(cast(tuple[int, int], self.padding)):
            return F.linear(_rows(x), _rows(self.weight), self.bias)[:, :, None, None]
        kernel = Kernel(self.kernel_size[0], self.stride[0], cast(tuple[int, int], self.padding)[0])
        kernel = kernel._replace(products=_products_are_faster(self.weight, x, kernel.output_size(x.shape[2:])))
        # Towards images, that is by its gradient, it is a transposed convolution to few channels.
        cells = x.requires_grad and _cells_are_faster(self.weight, x, kernel)
        if not self.fast_paths or not (kernel.products or cells):
            return super().forward(x)
        return _with_bias(_Convolution.apply(*_by_autocast(x, self.weight), kernel), self.bias)  # type: ignore[no-untyped-call]


class ConvTranspose2d(nn.ConvTranspose2d):
    """`nn.ConvTranspose2d` with strides, paddings and kernels that are square, unless the images are of one pixel.

    Attributes:
        fast_paths: whether matrix products, or cells, may replace torch's convolution.
    """

    fast_paths = True

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Convolve (N, I, h, w) to (N, O, H, W)."""
        if x.shape[2:] == (1, 1) and not any(cast(tuple[int, int], self.padding)) and not output_size:
            product = F.linear(x.flatten(1), _rows(self.weight).t())
            sides = (*self.kernel_size, self.out_channels)  # not the number of images, which exporting would fix
            image: Tensor = torch.unflatten(product, 1, sides).permute(0, 3, 1, 2)
            return image if self.bias is None else image + self.bias.view(-1, 1, 1)
        products = _products_are_faster(self.weight, x, x.shape[2:])
        kernel = Kernel(self.kernel_size[0], self.stride[0], cast(tuple[int, int], self.padding)[0], products)
        if not self.fast_paths or output_size or not (products or _cells_are_faster(self.weight, x, kernel)):
            return super().forward(x, output_size)
        size = kernel.input_size(x.shape[2:])
        return _with_bias(_Transposed.apply(*_by_autocast(x, self.weight), kernel, size), self.bias)  # type: ignore[no-untyped-call]


class Kernel(NamedTuple):
    """Geometry of a convolution from larger to smaller images, in pixels, and how it and its derivatives are computed.

    Attributes:
        products: by matrix products, where there are few pixels.
    """

    size: int
    stride: int
    padding: int
    products: bool = False

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


def _by_autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in autocast's precision, where it is on: what is no operator of torch's it leaves alone."""
    return tuple(each.bfloat16() for each in tensors) if torch.is_autocast_enabled("cpu") else tensors


def _with_bias(images: Tensor, bias: Tensor | None) -> Tensor:
    """Images (N, C, H, W) plus a bias (C,), if there is one, in the images' precision."""
    return images if bias is None else images + bias.to(images.dtype).view(-1, 1, 1)


def _rows(x: Tensor) -> Tensor:
    """(N, C, H, W) as rows (N, H * W * C), without a copy where it is channels-last."""
    return x.permute(0, 2, 3, 1).flatten(1)


def _products_are_faster(weight: Tensor, x: Tensor, smaller: torch.Size) -> bool:
    """Whether the gradient in `weight` will be computed, and faster as a matrix product."""
    return (
        x.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.is_grad_enabled()
        and weight.requires_grad
        and weight.shape[2] == weight.shape[3]  # at the bottleneck of images that are not square, kernels are not
        and smaller.numel() <= MAX_PIXELS_GRADIENT
        and weight.shape[0] * weight.shape[1] >= MIN_WEIGHTS
        and not torch.compiler.is_compiling()  # compiled networks are left to the compiler
    )


def _cells_are_faster(weight: Tensor, x: Tensor, kernel: Kernel) -> bool:
    """Whether the larger images have few channels, and the kernel whole cells of as many pixels as the stride."""
    return (
        not torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]  # exported, it stays one layer
        and not torch.compiler.is_compiling()
        and x.device.type == "cpu"
        and weight.shape[1] <= MAX_CHANNELS_IN_CELLS
        and weight.shape[2] == weight.shape[3]
        and kernel.has_cells
    )


# A convolution y = conv(x, w) is linear in x and in w. Its derivatives are two more functions of the same kind: the
# transposed convolution, by x, and the correlation of x and y, by w. Each of the three has the other two as its
# derivatives, so that together they can be differentiated any number of times.


class _Convolution(Function):
    """Convolution: large (N, I, H, W), weight (O, I, k, k) -> small (N, O, h, w); of few pixels also by a product."""

    @staticmethod
    def forward(ctx: Any, large: Tensor, weight: Tensor, kernel: Kernel) -> Tensor:
        ctx.save_for_backward(large, weight)
        ctx.kernel, size = kernel, kernel.output_size(large.shape[2:])
        if not kernel.products or size.numel() > MAX_PIXELS_FORWARD:
            return F.conv2d(large, weight, None, kernel.stride, kernel.padding)
        product = _patches(large, kernel, size) @ weight.permute(0, 2, 3, 1).flatten(1).t()
        return product.view(len(large), *size, len(weight)).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (large, weight), (small,), kernel = ctx.saved_tensors, gradients, ctx.kernel
        by_large, by_weight, *_ = ctx.needs_input_grad
        return (
            _Transposed.apply(small, weight, kernel, large.shape[2:]) if by_large else None,  # type: ignore[no-untyped-call]
            _WeightGradient.apply(large, small, kernel) if by_weight else None,  # type: ignore[no-untyped-call]
            None,
        )


class _Transposed(Function):
    """Transposed convolution: small (N, O, h, w), weight (O, I, k, k), size of large -> large (N, I, H, W)."""

    @staticmethod
    def forward(ctx: Any, small: Tensor, weight: Tensor, kernel: Kernel, size: torch.Size) -> Tensor:
        ctx.save_for_backward(small, weight)
        ctx.kernel = kernel
        # With strides several sizes of `large` lead to one of `small`; torch is given the excess over the least.
        excess = [side - least for side, least in zip(size, kernel.input_size(small.shape[2:]), strict=True)]
        if weight.shape[1] <= MAX_CHANNELS_IN_CELLS and kernel.has_cells and max(excess) <= kernel.padding:
            return _by_cells(small, weight, kernel, size)
        return F.conv_transpose2d(small, weight, None, kernel.stride, kernel.padding, excess)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (small, weight), (large,), kernel = ctx.saved_tensors, gradients, ctx.kernel
        by_small, by_weight, *_ = ctx.needs_input_grad
        return (
            _Convolution.apply(large, weight, kernel) if by_small else None,  # type: ignore[no-untyped-call]
            _WeightGradient.apply(large, small, kernel) if by_weight else None,  # type: ignore[no-untyped-call]
            None,
            None,
        )


class _WeightGradient(Function):
    """Gradient of a convolution in its weights: large (N, I, H, W), small (N, O, h, w) -> weight (O, I, k, k)."""

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
            _Transposed.apply(small, weight, kernel, large.shape[2:]) if by_large else None,  # type: ignore[no-untyped-call]
            _Convolution.apply(large, weight, kernel) if by_small else None,  # type: ignore[no-untyped-call]
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
