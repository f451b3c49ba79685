"""Measurements of steps: time side by side, arithmetic, memory, and shares of a step's time."""

import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from equipoise.bench.energy import EnergyMeter
from equipoise.bench.machine import synchronize, timed
from equipoise.bench.steps import MAKE_BATCH, Step

os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # else the profiler prints a line at its start and at its end
WARM_UP = {"cpu": 2, "cuda": 5}  # cycles before the first timing; on a GPU the fourth step is recorded as a CUDA graph
OPERATORS = 8  # in the table, those with the largest shares
ALL_STEPS = "equipoise: all steps"  # the profiler's name for everything that is profiled


@dataclass(frozen=True)
class Times:
    """Seconds per step in each round of an interleaved timing."""

    rounds: list[float]

    @property
    def median(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.rounds)

    def ratio_to(self, other: "Times") -> tuple[float, float, float]:
        """Speed relative to `other`, timed in the same rounds: median, minimum and maximum over the rounds."""
        ratios = [b / a for a, b in zip(self.rounds, other.rounds, strict=True)]
        return statistics.median(ratios), min(ratios), max(ratios)


def time_interleaved(
    steps: Mapping[str, Step],
    device: torch.device,
    *,
    cycle: int,
    rounds: int,
    limit: float,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Times]:
    """Time several steps in alternation, so that a machine that slows down meanwhile slows all of them.

    Args:
        steps: the steps, by name.
        device: where they run.
        cycle: number of steps that are timed together, such as a critic's and the generator's.
        rounds: number of times that each is timed.
        limit: seconds that all rounds take, approximately; each step runs at least one cycle a round.
        clock: what counts the seconds.
    """

    def seconds_per_step(step: Step, cycles: int) -> float:
        return timed(lambda: _repeat(step, cycles * cycle), device, clock) / (cycles * cycle)

    for step in steps.values():
        seconds_per_step(step, WARM_UP.get(device.type, 2))
    share = limit / rounds / len(steps)
    cycles = {name: max(1, round(share / (cycle * seconds_per_step(step, 1)))) for name, step in steps.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds):
        # Every other round in reverse: caches and clock frequency carry over from one step to the one after it.
        for name in list(steps) if number % 2 == 0 else reversed(list(steps)):
            times[name].append(seconds_per_step(steps[name], cycles[name]))
    return {name: Times(rounds) for name, rounds in times.items()}


def cost_of_step(step: Step, device: torch.device, *, cycle: int, seconds: float) -> tuple[float, float | None]:
    """What a step costs: seconds of processor cores, of all threads together, and joules where the machine counts them.

    Args:
        step: the step.
        device: where it runs.
        cycle: number of steps that belong together.
        seconds: for which it is repeated, at least one cycle: counters of energy move a thousand times a second.
    """
    meter, cpu, until, count = EnergyMeter(), time.process_time(), time.monotonic() + seconds, 0
    while not count or time.monotonic() < until:
        _repeat(step, cycle)
        count += cycle
    synchronize(device)
    joules = meter.joules()
    return (time.process_time() - cpu) / count, None if joules is None else joules / count


def count_flops(step: Step, cycle: int) -> float:
    """FLOPs of one step's convolutions and matrix products, forward and backward; mean over a cycle of steps."""
    with _FlopCounter() as counter:  # type: ignore[no-untyped-call]
        _repeat(step, cycle)
    return float(counter.total) / cycle


class _FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sum of what torch's registry says of every convolution and matrix product.

    torch's own `FlopCounterMode` also tracks modules by hooks, which fail where a loss takes gradients by itself.
    """

    total = 0.0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket in flop_registry:
            self.total += flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=out)
        return out


def peak_memory(build: Callable[[], Step], device: torch.device, cycle: int) -> int:
    """Peak memory of steps in bytes, less what stays between steps: weights, optimizer state, moving average.

    Args:
        build: makes the step with everything that it needs, so that all of its memory is counted.
        device: where it runs.
        cycle: number of steps that belong together.
    """
    if device.type == "cuda":
        # Reserved and not peak allocated memory: that of a CUDA graph stays reserved between its replays.
        torch.cuda.empty_cache()
        before = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        step = build()
        _repeat(step, WARM_UP["cuda"] * cycle)
        return torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device) - before
    # torch has no statistics of a CPU's memory: add up the profiler's record of every allocation and release.
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        step = build()
        _repeat(step, 2 * cycle)
    assert profiled.profiler is not None  # noqa: S101
    events = profiled.profiler.kineto_results.events()
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    levels = list(accumulate(nbytes for _, nbytes in changes))
    return int(max(levels) - levels[-1])


def profile_step(step: Step, cycle: int, device: torch.device) -> tuple[dict[str, float], dict[str, float]]:
    """Shares of a step's time on the device; on a GPU of its first steps, which are not yet a CUDA graph.

    Returns:
        Shares of `forward`, `data`, `backward` and `optimiser`, which add up to 1; and the shares of the OPERATORS
        operators that take the most time, largest first.
    """
    _repeat(step, cycle)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=activities) as profiled, torch.profiler.record_function(ALL_STEPS):
        _repeat(step, cycle)
        synchronize(device)
    clock = "cpu" if device.type == "cpu" else "device"
    spent = {"data": 0.0, "backward": 0.0, "optimiser": 0.0}
    wall, operators = 1.0, dict[str, float]()
    for event in profiled.key_averages():
        if event.device_type.name != "CPU":
            continue  # a GPU's kernels, whose time is counted at the operators that launched them
        total, own = getattr(event, f"{clock}_time_total"), getattr(event, f"self_{clock}_time_total")
        if event.key == ALL_STEPS:
            wall = total
        elif event.key == MAKE_BATCH:
            spent["data"] += total
        elif event.key.startswith("autograd::engine::evaluate_function"):
            spent["backward"] += total
        elif event.key.startswith("Optimizer.step"):
            spent["optimiser"] += total
        elif event.key.startswith("aten::"):
            operators[event.key.removeprefix("aten::")] = own
    whole = wall if device.type == "cpu" else sum(operators.values())
    shares = {name: seconds / whole for name, seconds in spent.items()}
    largest = sorted(operators.items(), key=lambda item: -item[1])[:OPERATORS]
    forward = 1 - sum(shares.values())  # what is left: forward passes are not marked
    return {"forward": forward, **shares}, {name: seconds / whole for name, seconds in largest}


def _repeat(step: Step, times: int) -> None:
    for _ in range(times):
        step()
