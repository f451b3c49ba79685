"""Convolutions that are matrix products, and those that are faster as such.

A kernel as large as the image has one place, and is a linear layer. As a convolution torch compiles it for a GPU with
another memory layout of its gradient than it then has.

Convolutions to 4x4 pixels are taken as products for bf16 on CPUs: there oneDNN computes the gradient in the weights at
as little as a fifth of a matrix product's speed, and with AMX, where channels are many, it also takes twice as long for
the convolution itself and for its gradient by images. Transposed convolutions to few channels, the last layers of a
generator and the gradient of a discriminator's first by its images, fill three of its vectors' sixteen places; there
all pixels of a cell are taken as channels. And the gradient by a transposed convolution's bias is a sum of torch's,
which takes a tenth of the time. All see docs/performance.md. Anything else is left to torch.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from equipoise.devices import cpu_multiplies_tiles
from equipoise.networks.kernel import MAX_CHANNELS_IN_CELLS, Kernel, convolve, convolve_transposed, rows_of

MAX_PIXELS = 16  # of the smaller images, up to which a matrix product is faster for the gradient in the weights
MIN_WEIGHTS = 2**11  # input channels times output channels from which it is
MIN_WEIGHTS_BOTH_WAYS = 2**16  # and from which it is for the convolution itself, either way, with AMX


class Conv2d(nn.Conv2d):
    """`nn.Conv2d`, faster where strides, paddings and kernel are square, or the kernel is as large as the images.

    Attributes:
        fast_paths: whether matrix products, or cells on the way back, may replace torch's convolution.
    """

    fast_paths = True

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, I, H, W) to (N, O, h, w)."""
        weight = self.weight  # asked for once, as spectral normalisation takes a step of its iteration each time
        if x.shape[2:] == self.kernel_size and _is_dense(self) and not any(self.padding):
            return F.linear(rows_of(x), rows_of(weight), self.bias)[:, :, None, None]
        if not self.fast_paths or not (kernel := kernel_of(self)):
            return cast(Tensor, self._conv_forward(x, weight, self.bias))
        kernel = _with_products(kernel, weight, x, kernel.output_size(x.shape[2:]))
        # Towards images, that is by its gradient, it is a transposed convolution to few channels.
        cells = x.requires_grad and _cells_are_faster(weight, x, kernel)
        if not (kernel.products or cells):
            return cast(Tensor, self._conv_forward(x, weight, self.bias))
        return _with_bias(convolve(*_by_autocast(x, weight), kernel), self.bias)


class ConvTranspose2d(nn.ConvTranspose2d):
    """`nn.ConvTranspose2d`, faster where strides, paddings and kernel are square, or the images of one pixel.

    Attributes:
        fast_paths: whether matrix products, or cells, may replace torch's convolution.
    """

    fast_paths = True

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Convolve (N, I, h, w) to (N, O, H, W)."""
        if x.shape[2:] == (1, 1) and _is_dense(self) and not any(self.padding) and not output_size:
            product = F.linear(x.flatten(1), rows_of(self.weight).t())
            sides = (*self.kernel_size, self.out_channels)  # not the number of images, which exporting would fix
            image: Tensor = torch.unflatten(product, 1, sides).permute(0, 3, 1, 2)
            return image if self.bias is None else image + self.bias.view(-1, 1, 1)
        if not self.fast_paths or output_size or not (kernel := kernel_of(self)):
            return super().forward(x, output_size)
        weight = self.weight
        kernel = _with_products(kernel, weight, x, x.shape[2:])
        if not (kernel.products or _cells_are_faster(weight, x, kernel)):
            return transposed_convolution(x, weight, self.bias, kernel.stride, kernel.padding)
        size = kernel.input_size(x.shape[2:])
        return _with_bias(convolve_transposed(*_by_autocast(x, weight), kernel, size), self.bias)


def transposed_convolution(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """`F.conv_transpose2d`; on a CPU the gradient by the bias is a sum of torch's."""
    if bias is None or not is_eager_on_cpu(x):
        return F.conv_transpose2d(x, weight, bias, stride, padding)
    images = F.conv_transpose2d(x, weight, bias.detach(), stride, padding)
    return cast(Tensor, _BiasGradient.apply(images, bias))  # type: ignore[no-untyped-call]


class _BiasGradient(Function):
    """Images (N, C, H, W) to which a bias (C,) has been added, as if it were added here."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, bias: Tensor) -> Tensor:
        ctx.mark_dirty(images)
        return images

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (images,) = gradients
        return images, images.sum((0, 2, 3))


def kernel_of(layer: nn.Conv2d | nn.ConvTranspose2d) -> Kernel | None:
    """The geometry of a layer whose strides, paddings and kernel are square; None of any other."""
    if not _is_dense(layer):
        return None
    sides, strides, paddings = layer.kernel_size, layer.stride, cast(tuple[int, int], layer.padding)
    square = all(len(set(pair)) == 1 for pair in (sides, strides, paddings))
    return Kernel(sides[0], strides[0], paddings[0]) if square else None


def _is_dense(layer: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    """Whether each output is of all channels and of neighbouring pixels, outside of the image zeros."""
    plain = layer.padding_mode == "zeros" and not isinstance(layer.padding, str) and not any(layer.output_padding)
    return plain and layer.groups == 1 and layer.dilation == (1, 1)


def _by_autocast(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Both in autocast's precision, where it is on: what is no operator of torch's it leaves alone."""
    return (x.bfloat16(), weight.bfloat16()) if torch.is_autocast_enabled("cpu") else (x, weight)


def _with_bias(images: Tensor, bias: Tensor | None) -> Tensor:
    """Images (N, C, H, W) plus a bias (C,), if there is one, in the images' precision."""
    return images if bias is None else images + bias.to(images.dtype).view(-1, 1, 1)


def is_eager_on_cpu(x: Tensor) -> bool:
    """Whether a layer is computed now, as it stands here, and on a CPU.

    Exported it stays one layer, compiled it is the compiler's, and `torch.func` takes torch's own operators alone.
    """
    tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    transformed = torch._C._are_functorch_transforms_active()
    return x.device.type == "cpu" and not (tracing or transformed or torch.compiler.is_compiling())


def _with_products(kernel: Kernel, weight: Tensor, x: Tensor, smaller: torch.Size) -> Kernel:
    """The kernel, with products where the gradient in `weight` will be computed, and faster by one."""
    weights = weight.shape[0] * weight.shape[1]
    products = (
        is_eager_on_cpu(x)
        and torch.is_autocast_enabled("cpu")
        and torch.is_grad_enabled()
        and weight.requires_grad
        and smaller.numel() <= MAX_PIXELS
        and weights >= MIN_WEIGHTS
    )
    both_ways = products and weights >= MIN_WEIGHTS_BOTH_WAYS and cpu_multiplies_tiles()
    return kernel._replace(products=products, both_ways=both_ways)


def _cells_are_faster(weight: Tensor, x: Tensor, kernel: Kernel) -> bool:
    """Whether the larger images have few channels, and the kernel whole cells of as many pixels as the stride."""
    return is_eager_on_cpu(x) and weight.shape[1] <= MAX_CHANNELS_IN_CELLS and kernel.has_cells
