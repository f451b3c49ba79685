"""Normalisation: over the batch of all processes, over each image, or none."""

from typing import Any, Literal, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrizations import spectral_norm

Norm = Literal["batch", "layer", "none"]
"""Over the batch (Ioffe and Szegedy 2015), over each image by itself (Ba et al. 2016), or none."""


def make_norm(kind: Norm, channels: int) -> nn.Module:
    """The normalisation of (N, channels, ...), with a gain and a bias for each channel."""
    if kind == "batch":
        return BatchNorm(channels)
    return nn.GroupNorm(1, channels) if kind == "layer" else nn.Identity()


class BatchNorm(_BatchNorm):
    """Batch normalisation of (N, C, ...), in training by the mean and variance over the rows of every process.

    So N processes compute what one does with the whole batch. Every process must call it equally often.
    """

    running_mean: Tensor
    running_var: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, ...); the shape stays."""
        if not self.training or not _has_company():
            return super().forward(x)
        values = x if x.dtype == torch.float64 else x.float()
        others, shape = [dim for dim in range(x.dim()) if dim != 1], [1, -1] + [1] * (x.dim() - 2)
        count = values.new_tensor([x.numel() / x.shape[1]])
        total, count = torch.split(_total(torch.cat([values.sum(others), count])), [x.shape[1], 1])
        mean = total / count
        centred = values - mean.view(shape)
        variance = _total(centred.square().sum(others)) / count
        self._remember(mean.detach(), (variance * count / (count - 1)).detach())
        scale = self.weight * torch.rsqrt(variance + self.eps)
        out: Tensor = centred * scale.view(shape) + self.bias.view(shape)
        return out.to(x.dtype)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        self.running_mean.lerp_(mean, cast(float, self.momentum))
        self.running_var.lerp_(variance, cast(float, self.momentum))
        cast(Tensor, self.num_batches_tracked).add_(1)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions will do."""


def _has_company() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class _Total(torch.autograd.Function):
    """The sum over all processes; the gradient of what each makes of it is a sum over all processes too."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _total(gradients[0])


def _total(values: Tensor) -> Tensor:
    """The sum of `values` over all processes, differentiable as often as one likes."""
    return cast(Tensor, _Total.apply(values))  # type: ignore[no-untyped-call]


def add_spectral_norm(network: nn.Module) -> None:
    """Divide the weights of every layer by their largest singular value (Miyato et al. 2018, arXiv:1802.05957).

    It is estimated by one step of the power method a forward pass, in training; the weights of a convolution count as
    a matrix of (outputs, inputs * height * width).
    """
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d | nn.Linear):
            spectral_norm(module)
