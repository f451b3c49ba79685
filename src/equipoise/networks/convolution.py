"""Convolutions of few pixels and many channels as products of matrices, where oneDNN's own are slow: bf16 on a CPU.

There its gradient by the weights runs at half of a product's speed on 8x8 pixels and at a sixth on 4x4, where the
convolution itself runs at half of it (see docs/performance.md). All else is torch's own.
"""

from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

CHANNELS = 2**14  # of inputs times outputs, from which a product is faster
FOR_GRADIENTS, FOR_CONVOLUTIONS = 64, 16  # pixels up to which one is faster


class Conv2d(nn.Conv2d):
    """As torch's, with square kernels, strides and paddings.

    Attributes:
        plain: leave everything to torch.
    """

    plain = False

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, I, H, W) to (N, O, h, w)."""
        kernel = Kernel(self.kernel_size[0], self.stride[0], cast(tuple[int, int], self.padding)[0])
        if self.plain or not _slow_in(self.weight, x, kernel.smaller(x.shape[2:])):
            return super().forward(x)
        out: Tensor = _Down.apply(x.bfloat16(), self.weight.bfloat16(), kernel)  # type: ignore[no-untyped-call]
        return out if self.bias is None else out + self.bias.bfloat16().view(-1, 1, 1)


class ConvTranspose2d(nn.ConvTranspose2d):
    """As torch's, with square kernels, strides and paddings.

    Attributes:
        plain: leave everything to torch.
    """

    plain = False

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Convolve (N, I, h, w) to (N, O, H, W)."""
        kernel = Kernel(self.kernel_size[0], self.stride[0], cast(tuple[int, int], self.padding)[0])
        if self.plain or output_size or not _slow_in(self.weight, x, x.shape[2:]):
            return super().forward(x, output_size)
        sides = kernel.larger(x.shape[2:])
        out: Tensor = _Up.apply(x.bfloat16(), self.weight.bfloat16(), kernel, sides)  # type: ignore[no-untyped-call]
        return out if self.bias is None else out + self.bias.bfloat16().view(-1, 1, 1)


class Kernel(NamedTuple):
    """What a convolution sees at once, in pixels."""

    size: int
    stride: int
    padding: int

    def smaller(self, sides: torch.Size) -> torch.Size:
        """Of images with these sides, those after the convolution."""
        return torch.Size((side + 2 * self.padding - self.size) // self.stride + 1 for side in sides)

    def larger(self, sides: torch.Size) -> torch.Size:
        """Of images with these sides, those after the transposed convolution."""
        return torch.Size((side - 1) * self.stride - 2 * self.padding + self.size for side in sides)


def _slow_in(weight: Tensor, x: Tensor, smaller: torch.Size) -> bool:
    """Whether oneDNN is slow in taking the gradient by `weight`, which is going to be asked for."""
    return (
        x.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.is_grad_enabled()
        and weight.requires_grad
        and smaller.numel() <= FOR_GRADIENTS
        and weight.shape[0] * weight.shape[1] >= CHANNELS
        and not torch.compiler.is_compiling()
    )


class _Down(Function):
    """A convolution: large (N, I, H, W), weight (O, I, k, k) -> small (N, O, h, w)."""

    @staticmethod
    def forward(ctx: Any, large: Tensor, weight: Tensor, kernel: Kernel) -> Tensor:
        ctx.save_for_backward(large, weight)
        ctx.kernel, sides = kernel, kernel.smaller(large.shape[2:])
        if sides.numel() > FOR_CONVOLUTIONS:
            return F.conv2d(large, weight, None, kernel.stride, kernel.padding)
        product = _seen(large, kernel, sides) @ weight.permute(0, 2, 3, 1).flatten(1).t()
        return product.view(len(large), *sides, len(weight)).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        (large, weight), (small,), kernel = ctx.saved_tensors, slopes, ctx.kernel
        wanted, by_weights, _ = ctx.needs_input_grad
        up = _if(wanted, _Up, small, weight, kernel, large.shape[2:])
        return up, _if(by_weights, _Weights, large, small, kernel), None


class _Up(Function):
    """The gradient of `_Down` by `large`, a transposed convolution: small, weight, sides of the large one -> large."""

    @staticmethod
    def forward(ctx: Any, small: Tensor, weight: Tensor, kernel: Kernel, sides: torch.Size) -> Tensor:
        ctx.save_for_backward(small, weight)
        ctx.kernel = kernel
        odd = [side - least for side, least in zip(sides, kernel.larger(small.shape[2:]), strict=True)]
        return F.conv_transpose2d(small, weight, None, kernel.stride, kernel.padding, odd)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        (small, weight), (large,), kernel = ctx.saved_tensors, slopes, ctx.kernel
        wanted, by_weights, *_ = ctx.needs_input_grad
        down = _if(wanted, _Down, large, weight, kernel)
        return down, _if(by_weights, _Weights, large, small, kernel), None, None


class _Weights(Function):
    """The gradient of `_Down` by the weights: large (N, I, H, W), the slopes of small (N, O, h, w) -> (O, I, k, k)."""

    @staticmethod
    def forward(ctx: Any, large: Tensor, small: Tensor, kernel: Kernel) -> Tensor:
        ctx.save_for_backward(large, small)
        ctx.kernel = kernel
        product = small.permute(1, 0, 2, 3).flatten(1) @ _seen(large, kernel, small.shape[2:])
        return product.view(small.shape[1], kernel.size, kernel.size, large.shape[1]).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        (large, small), (weight,), kernel = ctx.saved_tensors, slopes, ctx.kernel
        wanted, by_small, _ = ctx.needs_input_grad
        up = _if(wanted, _Up, small, weight, kernel, large.shape[2:])
        return up, _if(by_small, _Down, large, weight, kernel), None


def _if(wanted: bool, function: type[Function], *given: Any) -> Tensor | None:
    """What the function makes of what it is given, if that is wanted."""
    return cast(Tensor, function.apply(*given)) if wanted else None  # type: ignore[no-untyped-call]


def _seen(large: Tensor, kernel: Kernel, sides: torch.Size) -> Tensor:
    """What the kernel sees of images (N, I, H, W) at each of its places, `sides` of them: (N * h * w, k * k * I)."""
    size, stride, padding = kernel
    pixels = F.pad(large, [padding] * 4).permute(0, 2, 3, 1).contiguous()
    count, _, _, channels = pixels.shape
    image, row, column, _ = pixels.stride()
    steps = (image, row * stride, column * stride, row, column, 1)
    return pixels.as_strided((count, *sides, size, size, channels), steps).reshape(-1, size**2 * channels)
