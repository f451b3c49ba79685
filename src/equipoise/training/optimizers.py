"""Optimizers of the players: made, and their moments to a checkpoint and back."""

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn, optim
from torch.optim import Optimizer

from equipoise.config.train_config import TrainConfig
from equipoise.training.step import in_layout_of

Kind = TypeVar("Kind", bound=Optimizer)


def _without_compiler(kind: type[Kind]) -> type[Kind]:
    """The class `kind` without what keeps torch's compiler out of its methods: here networks alone are compiled.

    To be kept out it is imported, which takes as long as all the rest of torch, at every start.
    """
    plain = {name: inspect.unwrap(getattr(kind, name)) for name in ("add_param_group", "state_dict", "load_state_dict")}
    step = torch.no_grad()(inspect.unwrap(kind.step))  # without gradients, as the wrapper has it
    return cast(type[Kind], type(kind.__name__, (kind,), {**plain, "step": step}))


class Adam(_without_compiler(optim.Adam)):  # type: ignore[misc]  # a class that is made on the spot
    """Adam, whose fused kernel is handed everything in the order of its memory."""

    def _init_group(self, group: dict[str, Any], *lists: list[Tensor]) -> bool:
        """Fill the lists of weights, gradients and both moments; the steps stay."""
        is_complex: bool = super()._init_group(group, *lists)
        for tensors in lists[:4]:
            tensors[:] = [_in_order_of_memory(values) for values in tensors]
        return is_complex


def _in_order_of_memory(values: Tensor) -> Tensor:
    """A view of `values` whose memory is contiguous, if they lie channels-last.

    A fused optimizer makes a contiguous copy of anything else on a CPU, and then walks the memory itself.
    """
    is_channels_last = values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last)
    return values.permute(0, 2, 3, 1) if is_channels_last else values


Adamax, RMSprop = _without_compiler(optim.Adamax), _without_compiler(optim.RMSprop)
MOMENTS = {
    Adam: {"step", "exp_avg", "exp_avg_sq"},
    Adamax: {"step", "exp_avg", "exp_inf"},
    RMSprop: {"step", "square_avg"},
}  # what an optimizer keeps for each weight


def make_optimizer(config: TrainConfig, player: nn.Module, device: torch.device) -> Optimizer:
    """The optimizer of one player's weights; on a GPU one that a CUDA graph can record."""
    weights, betas, recorded = list(player.parameters()), (config.beta1, config.beta2), device.type == "cuda"
    # A tensor that a CUDA graph reads anew at each replay; as a number, the first rate would stay in the graph.
    lr = torch.tensor(config.lr, device=device) if recorded else config.lr
    if config.optimizer == "rmsprop":
        return RMSprop(weights, lr=lr, foreach=True, capturable=recorded)
    if config.optimizer == "adamax":
        return Adamax(weights, lr=lr, betas=betas, foreach=True, capturable=recorded)
    return Adam(weights, lr=lr, betas=betas, fused=True, capturable=recorded)


def moments_of(optimizer: Optimizer) -> dict[str, Tensor]:
    """An optimizer's moments by the number of the weight and their name; none before its first step."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value for index, values in state.items() for name, value in values.items()}


def restore_moments(optimizer: Optimizer, moments: Mapping[str, Tensor]) -> None:
    """Put an optimizer's moments back.

    Raises:
        ValueError: they are of other weights.
    """
    weights: list[Tensor] = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in moments.items():
        index, _, name = key.partition(".")
        weight = weights[int(index)]
        if value.shape != (() if name == "step" else weight.shape):
            raise ValueError(f"the moment {key} has the shape {tuple(value.shape)} for weights {tuple(weight.shape)}")
        # A file holds tensors in the default layout; a fused optimizer needs that of the weight.
        state.setdefault(int(index), {})[name] = value if name == "step" else in_layout_of(weight, value)
    if state and (len(state) != len(weights) or any(set(each) != MOMENTS[type(optimizer)] for each in state.values())):
        raise ValueError("some weights lack moments, or have those of another optimizer")
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
