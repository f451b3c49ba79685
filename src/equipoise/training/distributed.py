"""What the processes of one run tell each other: means, gathered rows, the largest number, the first error."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch import Tensor

from equipoise.devices import Launcher, Precision, autocast_context
from equipoise.errors import UsageError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Result = TypeVar("Result")


@dataclass(frozen=True)
class Distributed:
    """The processes of a run as one of them sees them; by default it is alone, and computes in full precision.

    Attributes:
        rank: this process's number, from 0.
        world_size: how many processes there are.
        all_reduce_mean: tensors -> the mean of each over all processes, in one reduction.
        all_gather: (n, ...) rows -> (n * world_size, ...) rows of all processes, differentiable.
        all_reduce_max: a number -> the largest that any process has; waits for the processes, not for their devices.
        first_error: a message -> the first process's that is not empty, "" if all are; waits as `all_reduce_max` does.
        autocast: the context in which the players run.
    """

    rank: int = 0
    world_size: int = 1
    all_reduce_mean: Callable[[Sequence[Tensor]], list[Tensor]] = list
    all_gather: Callable[[Tensor], Tensor] = lambda rows: rows
    all_reduce_max: Callable[[int], int] = lambda number: number
    first_error: Callable[[str], str] = lambda message: message
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext


def make_distributed(launcher: Launcher, precision: Precision) -> Distributed:
    """The collectives of the processes that `launcher` has started, whose players run in `precision`."""
    torch.backends.cudnn.benchmark = True  # shapes stay the same from step to step
    autocast = partial(autocast_context, precision, launcher.device)
    if launcher.world_size == 1:
        return Distributed(autocast=autocast)
    fabric = cast("Fabric", launcher)

    def all_reduce_mean(tensors: Sequence[Tensor]) -> list[Tensor]:
        # One flat vector: hundreds of small reductions would each wait for the slowest process.
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        flat = cast(Tensor, fabric.all_reduce(flat, reduce_op="mean"))
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]

    def all_gather(rows: Tensor) -> Tensor:
        return cast(Tensor, fabric.all_gather(rows, sync_grads=True)).flatten(0, 1)

    # Signals and errors are agreed on through the CPU, so that asking for them never waits for a GPU's queue.
    cpu_group = torch.distributed.new_group(backend="gloo")

    def all_reduce_max(number: int) -> int:
        largest = torch.tensor(number)
        torch.distributed.all_reduce(largest, torch.distributed.ReduceOp.MAX, group=cpu_group)
        return int(largest)

    def first_error(message: str) -> str:
        if not all_reduce_max(bool(message)):
            return ""
        messages = [""] * fabric.world_size
        torch.distributed.all_gather_object(messages, message, group=cpu_group)
        return next(each for each in messages if each)

    return Distributed(
        fabric.global_rank, fabric.world_size, all_reduce_mean, all_gather, all_reduce_max, first_error, autocast
    )


def on_all(distributed: Distributed, task: Callable[[], Result]) -> Result | str:
    """What `task` returns on this process; if it fails on any, the first error's message on every one of them."""
    result, error = None, ""
    try:
        result = task()
    except UsageError as refusal:
        error = str(refusal)
    return distributed.first_error(error) or cast(Result, result)
