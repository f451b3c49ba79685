"""Normalisation layers, batch normalisation over all processes among them, and spectral normalisation."""

from typing import Any, Literal, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrizations import spectral_norm

Norm = Literal["batch", "layer", "none"]
"""Batch normalisation (Ioffe and Szegedy 2015), layer normalisation (Ba et al. 2016), or none."""


def make_norm(kind: Norm, channels: int) -> nn.Module:
    """A normalisation layer for (N, channels, ...), with a gain and a bias per channel."""
    if kind == "batch":
        return BatchNorm(channels)
    return nn.GroupNorm(1, channels) if kind == "layer" else nn.Identity()


class BatchNorm(_BatchNorm):
    """Batch normalisation of (N, C, ...), in training with the mean and variance over the batches of all processes.

    N processes then compute what one computes with the whole batch. All processes must call it equally often.
    """

    running_mean: Tensor
    running_var: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, ...); the shape stays."""
        distributed = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        if not self.training or not distributed:
            return super().forward(x)
        # Not nn.SyncBatchNorm: it is for GPUs only, and without the second derivative that a penalty in z takes.
        values = x if x.dtype == torch.float64 else x.float()
        dims, shape = [dim for dim in range(x.dim()) if dim != 1], [1, -1] + [1] * (x.dim() - 2)
        count = values.new_tensor([x.numel() / x.shape[1]])
        # One reduction for sums and count. The variance takes a second: of centred values, since the mean square less
        # the squared mean cancels in fp32.
        total, count = torch.split(all_reduce_sum(torch.cat([values.sum(dims), count])), [x.shape[1], 1])
        mean = total / count
        centred = values - mean.view(shape)
        variance = all_reduce_sum(centred.square().sum(dims)) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, cast(float, self.momentum))
            self.running_var.lerp_(variance * count / (count - 1), cast(float, self.momentum))
            cast(Tensor, self.num_batches_tracked).add_(1)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        out: Tensor = centred * scale.view(shape) + self.bias.view(shape)
        return out.to(x.dtype)

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept any number of dimensions; torch's own classes each demand one."""


class _AllReduceSum(torch.autograd.Function):
    """Differentiable sum over all processes.

    Every process's loss depends on every process's values, so the gradient is a sum over all processes too; by way of
    this function again, so that it can itself be differentiated.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)  # all_reduce writes in place, and needs it dense
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return all_reduce_sum(gradients[0])


def all_reduce_sum(values: Tensor) -> Tensor:
    """The sum of `values` over all processes, differentiable any number of times."""
    return cast(Tensor, _AllReduceSum.apply(values))  # type: ignore[no-untyped-call]


def add_spectral_norm(network: nn.Module) -> None:
    """Divide the weights of every layer by their largest singular value (Miyato et al. 2018, arXiv:1802.05957).

    Estimated by one power iteration per forward pass in training. A convolution's weights count as a matrix of
    (outputs, inputs * height * width).
    """
    for module in list(network.modules()):  # a list, as parametrizing adds modules while one walks over them
        # It has no weights of its own, so that networks without memory are counted without: its iterations there would
        # import torch's compiler, for seconds.
        if isinstance(module, nn.Conv2d | nn.Linear) and not module.weight.is_meta:
            spectral_norm(module)
