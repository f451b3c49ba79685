"""What the processes of one run tell each other: means, gathered rows, the largest number, the first error."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from equipoise.devices import Launcher, Precision, computing

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Team:
    """How this process works with its like; as it stands, alone and in full precision.

    Attributes:
        rank, size: this process's number, and how many there are.
        mean: tensors -> each one's mean over every process, in one reduction.
        gather: (n, ...) rows -> (n * size, ...) rows of every process, differentiable.
        most: a number -> the largest that any process has; this waits for the other processes, not for the devices.
        word: a text -> the first process's that is not empty, "" if all are; this waits as `most` does.
        autocast: the context in which the players run.
    """

    rank: int = 0
    size: int = 1
    mean: Callable[[Sequence[Tensor]], list[Tensor]] = list
    gather: Callable[[Tensor], Tensor] = lambda rows: rows
    most: Callable[[int], int] = lambda number: number
    word: Callable[[str], str] = lambda text: text
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext


def assemble(launcher: Launcher, precision: Precision) -> Team:
    """The team of the processes that `launcher` has started."""
    torch.backends.cudnn.benchmark = True  # shapes stay the same
    autocast = partial(computing, precision, launcher.device)
    if launcher.world_size == 1:
        return Team(autocast=autocast)
    fabric = cast("Fabric", launcher)

    def mean(tensors: Sequence[Tensor]) -> list[Tensor]:
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        flat = cast(Tensor, fabric.all_reduce(flat, reduce_op="mean"))
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]

    def gather(rows: Tensor) -> Tensor:
        return cast(Tensor, fabric.all_gather(rows, sync_grads=True)).flatten(0, 1)

    beside = torch.distributed.new_group(backend="gloo")  # on the CPU, whatever the devices are doing

    def most(number: int) -> int:
        largest = torch.tensor(number)
        torch.distributed.all_reduce(largest, torch.distributed.ReduceOp.MAX, group=beside)
        return int(largest)

    def word(text: str) -> str:
        if not most(bool(text)):
            return ""
        found = [""] * fabric.world_size
        torch.distributed.all_gather_object(found, text, group=beside)
        return next(each for each in found if each)

    return Team(fabric.global_rank, fabric.world_size, mean, gather, most, word, autocast)
