"""What the processes of one run tell each other: gradients, gathered rows, the largest number, the first error."""

import warnings
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
Combine = Callable[[Sequence[int], list[Tensor]], list[Tensor]]
"""Places of some weights among all, and their gradients in a loss -> the gradients that are wanted."""
Means = Callable[[], tuple[list[Tensor], Tensor]]
"""Waits for the means over all processes of gradients, and of other values."""

BUCKET_BYTES = 4 << 20  # of gradients that are sent together: 15 buckets for BEGAN 128 wide at 64x64


def take_gradients(
    loss: Tensor,
    weights: Sequence[Tensor],
    values: Tensor,
    *,
    retain_graph: bool = False,
    combine: Combine | None = None,
    group: torch.distributed.ProcessGroup | None = None,
) -> Means:
    """Gradients of a loss as means over all processes, sent bucket by bucket while the backward pass goes on.

    Buckets are of weights one after another, from the last to the first as the backward pass comes to them, and are
    sent in that order by every process, whichever is ready first (Li et al. 2020, arXiv:2006.15704, section 3.2). The
    values travel with the first.

    Args:
        loss: goes backward through its graph.
        weights: of which gradients are taken.
        values: others, (n,), that are wanted as means.
        retain_graph: keep the loss's graph for another backward pass.
        combine: what makes the gradients that are wanted of those that were taken, for some weights at a time.
        group: of the processes; None for one that is alone, which sends nothing.

    Returns:
        What waits for the gradients, as many as weights, and for the values.
    """
    if group is None:
        own = list(torch.autograd.grad(loss, weights, retain_graph=retain_graph))
        own = combine(range(len(weights)), own) if combine else own
        return lambda: (own, values)
    buckets, grads = _buckets(weights), dict[int, Tensor]()
    sent: list[tuple[Tensor, torch.distributed.Work]] = []

    def send(place: int, grad: Tensor) -> None:
        grads[place] = grad
        while len(sent) < len(buckets) and all(each in grads for each in buckets[len(sent)]):
            places = buckets[len(sent)]
            wanted = [grads[each] for each in places]
            parts = [*(combine(places, wanted) if combine else wanted), *([] if sent else [values.detach()])]
            flat = torch.cat([part.reshape(-1) for part in parts])
            sent.append((flat, torch.distributed.all_reduce(flat, group=group, async_op=True)))

    hooks = [weight.register_hook(partial(send, place)) for place, weight in enumerate(weights)]  # type: ignore[no-untyped-call]
    try:
        torch.autograd.grad(loss, weights, retain_graph=retain_graph)
    finally:
        for hook in hooks:
            hook.remove()
    return partial(_received, weights, buckets, sent, group.size())


def _received(
    weights: Sequence[Tensor],
    buckets: Sequence[Sequence[int]],
    sent: Sequence[tuple[Tensor, torch.distributed.Work]],
    processes: int,
) -> tuple[list[Tensor], Tensor]:
    """Wait for what was sent: means of the gradients, and of the values, by which the first bucket is longer."""
    grads, rests = dict[int, Tensor](), list[Tensor]()
    for places, (flat, work) in zip(buckets, sent, strict=True):
        work.wait()
        flat.div_(processes)
        numbers = [weights[place].numel() for place in places]
        *parts, rest = torch.split(flat, [*numbers, flat.numel() - sum(numbers)])
        grads.update((place, part.view_as(weights[place])) for place, part in zip(places, parts, strict=True))
        rests.append(rest)
    return [grads[place] for place in range(len(weights))], rests[0]


def _buckets(weights: Sequence[Tensor]) -> list[list[int]]:
    """Places of the weights from the last to the first, in rows of BUCKET_BYTES or more."""
    buckets, size = [list[int]()], 0
    for place in reversed(range(len(weights))):
        if size >= BUCKET_BYTES:
            buckets, size = [*buckets, []], 0
        buckets[-1].append(place)
        size += weights[place].nbytes
    return buckets


@dataclass(frozen=True)
class Distributed:
    """The processes of a run as one of them sees them; by default it is alone, and computes in full precision.

    Attributes:
        rank: this process's number, from 0.
        world_size: how many processes there are.
        gradients: `take_gradients` for these processes.
        all_gather: (n, ...) rows -> (n * world_size, ...) rows of all processes, differentiable.
        all_reduce_max: a number -> the largest that any process has; waits for the processes, not for their devices.
        first_error: a message -> the first process's that is not empty, "" if all are; waits as `all_reduce_max` does.
        autocast: the context in which the players run.
    """

    rank: int = 0
    world_size: int = 1
    gradients: Callable[..., Means] = take_gradients
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

    # By a group of their own, gradients do not get in the way of what the backward pass asks for (batch normalisation).
    gradients = partial(take_gradients, group=torch.distributed.new_group())

    # Of what Fabric calls for it; once a process, as filters that come and go cost time in every step.
    warnings.filterwarnings("ignore", "torch.distributed.nn.functional.all_gather is deprecated")

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
        fabric.global_rank, fabric.world_size, gradients, all_gather, all_reduce_max, first_error, autocast
    )


def on_all(distributed: Distributed, task: Callable[[], Result]) -> Result | str:
    """What `task` returns on this process; if it fails on any, the first error's message on every one of them."""
    result, error = None, ""
    try:
        result = task()
    except UsageError as refusal:
        error = str(refusal)
    return distributed.first_error(error) or cast(Result, result)
