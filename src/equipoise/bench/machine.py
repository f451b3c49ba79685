"""Processor, peak arithmetic throughput, and clock of this machine."""

import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

CONVOLUTIONS = {
    "cpu": [(16, 64, 64, 32), (16, 64, 64, 64), (16, 128, 128, 32), (64, 128, 256, 16)],
    "cuda": [(64, 128, 128, 64), (64, 256, 256, 64), (64, 256, 256, 32), (256, 512, 512, 16)],
}
"""Batch size, input and output channels, and side of 3x3 convolutions, by device type; the fastest is the peak."""
MATRIX_SIDE = {"cpu": 2048, "cuda": 8192}
TRIES = 5  # timings of a peak, of which the shortest counts
TRY_SECONDS = 0.05  # of one timing at least: a faster task is repeated within it, so that the clock resolves it


def describe(device: torch.device) -> dict[str, Any]:
    """Processor, its instruction sets for matrices, threads, and versions; keys as in `bench --json`."""
    if device.type == "cuda":
        name, features = torch.cuda.get_device_name(device), []
    else:
        cpuinfo = Path("/proc/cpuinfo")  # Linux only; elsewhere Python's own guess must do
        lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        name = models[0] if models else platform.processor() or platform.machine()
        # Older torch has no get_capabilities.
        known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        features = [name for name in ("avx2", "avx512_f", "avx512_bf16", "amx_bf16") if known.get(name)]
    return {
        "device": name,
        "features": features,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def convolution_peaks(device: torch.device, dtype: torch.dtype, limit: float) -> dict[str, float]:
    """Peak throughput of a convolution's three passes in FLOP/s, each at the fastest of CONVOLUTIONS.

    Returns:
        `forward`, and of the gradients by `images` and by `weights`; in channels-last layout, as in training.
    """
    peaks = {"forward": 0.0, "images": 0.0, "weights": 0.0}
    for batch, n_in, n_out, side in CONVOLUTIONS.get(device.type, CONVOLUTIONS["cpu"]):
        images, weight, gradient = (
            torch.randn(shape, device=device).to(dtype).to(memory_format=torch.channels_last)
            for shape in ((batch, n_in, side, side), (n_out, n_in, 3, 3), (batch, n_out, side, side))
        )
        flops = 2 * 9 * n_in * n_out * batch * side * side  # the same for each pass
        passes: dict[str, Callable[[], Any]] = {
            "forward": lambda images=images, weight=weight: F.conv2d(images, weight, padding=1),  # type: ignore[misc]
            "images": _backward(images, weight, gradient, [True, False, False]),
            "weights": _backward(images, weight, gradient, [False, True, False]),
        }
        for name, task in passes.items():
            peaks[name] = max(peaks[name], flops / _shortest(task, device, limit))
    return peaks


def _backward(images: Tensor, weight: Tensor, gradient: Tensor, outputs: list[bool]) -> Callable[[], Any]:
    """Backward pass of a convolution for one gradient alone, which autograd would not compute apart from the other."""
    return lambda: torch.ops.aten.convolution_backward(
        gradient, images, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, outputs
    )


def matmul_peak(device: torch.device, dtype: torch.dtype, limit: float) -> float:
    """Throughput of a product of two square matrices in FLOP/s."""
    side = MATRIX_SIDE.get(device.type, MATRIX_SIDE["cpu"])
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / _shortest(lambda: a @ b, device, limit)


@torch.no_grad()
def _shortest(task: Callable[[], Any], device: torch.device, limit: float) -> float:
    """Seconds of `task`: the shortest of TRIES timings, after a warm-up."""
    task()
    repeats = max(1, int(TRY_SECONDS / timed(task, device)))

    def repeated() -> None:
        for _ in range(repeats):
            task()

    return min(timings(lambda: timed(repeated, device), tries=TRIES, limit=limit)) / repeats


def timings(measure: Callable[[], float], *, tries: int, limit: float, at_least: float = 0.0) -> list[float]:
    """Results of calling `measure` again and again, in seconds.

    Args:
        measure: returns seconds.
        tries: number of results at least.
        limit: sum of the results in seconds after which no other is taken, even if fewer than `tries` were.
        at_least: sum of the results in seconds that is reached, with more than `tries` if need be.
    """
    results = [measure()]
    while (len(results) < tries or sum(results) < at_least) and sum(results) < limit:
        results.append(measure())
    return results


def timed(task: Callable[[], Any], device: torch.device, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds until `task` is done, including what it has queued on the device."""
    synchronize(device)
    start = clock()
    task()
    synchronize(device)
    return clock() - start


def synchronize(device: torch.device) -> None:
    """Wait until the device's queue is empty; a CPU has none."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
