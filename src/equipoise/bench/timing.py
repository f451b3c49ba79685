"""Times of steps side by side, the work and the memory that a step takes, and where its time goes."""

import os
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from equipoise.bench.machine import seconds, wait
from equipoise.bench.steps import DATA, Step

os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # the profiler would tell of its own start and stop
WARM_UP = {"cpu": 2, "cuda": 5}  # cycles before anything is timed; on a GPU a step is recorded at its fourth
OPERATORS = 8  # of which the shares are told
ALL = "equipoise: all"


@dataclass(frozen=True)
class Times:
    """Seconds of one step, round by round; the rounds of all that take part alternate."""

    rounds: list[float]

    @property
    def median(self) -> float:
        """Of the rounds."""
        return statistics.median(self.rounds)

    def ratio_to(self, other: "Times") -> tuple[float, float, float]:
        """How many times as fast this is as `other`: median, least and most over the rounds."""
        ratios = [theirs / ours for ours, theirs in zip(self.rounds, other.rounds, strict=True)]
        return statistics.median(ratios), min(ratios), max(ratios)


def race(steps: Mapping[str, Step], device: torch.device, *, cycle: int, rounds: int, limit: float) -> dict[str, Times]:
    """Let each take so many steps in turn that `rounds` rounds of all take about `limit` seconds.

    Args:
        steps: who takes part, by name.
        device: where.
        cycle: steps that belong together, as a critic's and the generator's.
        rounds: how often each has its turn.
        limit: seconds.
    """

    def turn(step: Step, cycles: int) -> float:
        def task() -> None:
            _repeat(step, cycles * cycle)

        return seconds(task, device) / (cycles * cycle)

    for step in steps.values():
        turn(step, WARM_UP.get(device.type, 2))
    share = limit / rounds / len(steps)
    cycles = {name: max(1, round(share / (cycle * turn(step, 1)))) for name, step in steps.items()}
    found: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds):
        order = list(steps) if number % 2 == 0 else list(steps)[::-1]  # nobody always comes after the same
        for name in order:
            found[name].append(turn(steps[name], cycles[name]))
    return {name: Times(times) for name, times in found.items()}


def work(step: Step, cycle: int) -> float:
    """Floating-point operations of one step's convolutions and products, forward and backward; a mean over a cycle."""
    with _Counter() as counter:  # type: ignore[no-untyped-call]
        _repeat(step, cycle)
    return float(counter.total) / cycle


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what torch's own registry says of every convolution and product.

    `FlopCounterMode` does the same, but follows modules too, which fails where a loss takes gradients by itself.
    """

    total = 0.0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket in flop_registry:
            self.total += flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=out)
        return out


def memory(start: Callable[[], Step], device: torch.device, cycle: int) -> int:
    """Bytes that steps take at most beside what stays between them: the weights, gradients and moments.

    Args:
        start: makes everything anew, so that all of it is counted.
        device: where; of a GPU, what the process holds for steps as recordings play them back.
        cycle: steps to watch, after as many others.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
        before = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        step = start()
        _repeat(step, WARM_UP["cuda"] * cycle)
        return torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as taken:
        step = start()
        _repeat(step, 2 * cycle)
    assert taken.profiler is not None  # noqa: S101
    events = taken.profiler.kineto_results.events()
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    levels = list(accumulate(size for _, size in changes))
    return int(max(levels) - levels[-1])


def _repeat(step: Step, times: int) -> None:
    for _ in range(times):
        step()


def parts(step: Step, cycle: int, device: torch.device) -> tuple[dict[str, float], dict[str, float]]:
    """Shares of a step's time on the device, as it comes: on a GPU, before it is recorded.

    Returns:
        Of data, backward, optimiser, and the rest, which is the forward passes; and of the operators that take most.
    """
    _repeat(step, cycle)
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=kinds) as taken, torch.profiler.record_function(ALL):
        _repeat(step, cycle)
        wait(device)
    clock = "cpu" if device.type == "cpu" else "device"
    spent = {"data": 0.0, "backward": 0.0, "optimiser": 0.0}
    wall, operators = 1.0, dict[str, float]()
    for event in (event for event in taken.key_averages() if event.device_type.name == "CPU"):  # of GPUs, who asked
        time, own = getattr(event, f"{clock}_time_total"), getattr(event, f"self_{clock}_time_total")
        if event.key == ALL:
            wall = time
        elif event.key == DATA:
            spent["data"] += time
        elif event.key.startswith("autograd::engine::evaluate_function"):
            spent["backward"] += time
        elif event.key.startswith("Optimizer.step"):
            spent["optimiser"] += time
        elif event.key.startswith("aten::"):
            operators[event.key.removeprefix("aten::")] = own
    total = wall if device.type == "cpu" else sum(operators.values())
    shares = {name: each / total for name, each in spent.items()}
    most = sorted(operators.items(), key=lambda each: -each[1])[:OPERATORS]
    return {"forward": 1 - sum(shares.values()), **shares}, {name: each / total for name, each in most}
