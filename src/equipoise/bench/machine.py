"""What this machine is, what else it is doing, and how fast it multiplies at best."""

import os
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
"""Images, channels in and out, and side of 3x3 convolutions, by kind of device; the fastest of them is the peak."""
SQUARE = {"cpu": 2048, "cuda": 8192}  # rows and columns of the matrices
TRIES, LONG_ENOUGH = 5, 0.05  # timings of which the shortest counts, and seconds that one takes at least


def describe(device: torch.device) -> dict[str, Any]:
    """The processor and the versions, by name."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    features = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    wanted = ("avx2", "avx512_f", "avx512_bf16", "amx_bf16")
    return {
        "device": name,
        "features": [feature for feature in wanted if features.get(feature)] if device.type == "cpu" else [],
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _processor() -> str:
    with Path("/proc/cpuinfo").open() if Path("/proc/cpuinfo").exists() else Path(os.devnull).open() as lines:
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


class Others:
    """How many cores other processes keep busy from here on; nothing is known of it where /proc is missing."""

    def __init__(self) -> None:
        self.start = self._read()

    def busy(self) -> float | None:
        """Cores that others kept busy since the start, on average."""
        if self.start is None or (now := self._read()) is None:
            return None
        wall, machine, own = (b - a for a, b in zip(self.start, now, strict=True))
        return max(0.0, (machine - own) / wall) if wall > 0 else 0.0

    @staticmethod
    def _read() -> tuple[float, float, float] | None:
        """Seconds: of a clock, busy of all cores, busy by this process and its children."""
        try:
            fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        except OSError:
            return None
        user, nice, system, _, _, irq, soft = (int(field) for field in fields[:7])
        own = os.times()
        ticks = os.sysconf("SC_CLK_TCK")
        return time.monotonic(), (user + nice + system + irq + soft) / ticks, sum(own[:4])


def convolution_peaks(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """Floating-point operations a second of a convolution's three passes, each at the fastest of CONVOLUTIONS.

    Returns:
        `forward`, and of the gradients `images` and `weights`; channels-last, as training has it.
    """
    found = [_convolution(*each, device, dtype) for each in CONVOLUTIONS.get(device.type, CONVOLUTIONS["cpu"])]
    return {name: max(each[name] for each in found) for name in found[0]}


def _convolution(
    count: int, n_in: int, n_out: int, side: int, device: torch.device, dtype: torch.dtype
) -> dict[str, float]:
    def made(*shape: int) -> Tensor:
        return torch.randn(shape, device=device).to(dtype).to(memory_format=torch.channels_last)

    def gradient(*mask: bool) -> Callable[[], Any]:
        return lambda: torch.ops.aten.convolution_backward(
            slopes, images, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [*mask, False]
        )

    images, weight, slopes = made(count, n_in, side, side), made(n_out, n_in, 3, 3), made(count, n_out, side, side)
    passes = {
        "forward": lambda: F.conv2d(images, weight, padding=1),
        "images": gradient(True, False),
        "weights": gradient(False, True),
    }
    work = 2 * 9 * n_in * n_out * count * side * side
    return {name: work / _shortest(task, device) for name, task in passes.items()}


def product_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a product of two SQUARE matrices."""
    side = SQUARE.get(device.type, SQUARE["cpu"])
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / _shortest(lambda: a @ b, device)


@torch.no_grad()
def _shortest(task: Callable[[], Any], device: torch.device) -> float:
    """Seconds of `task`, at best."""
    task()
    once = seconds(task, device)
    repeats = max(1, int(LONG_ENOUGH / once))

    def repeated() -> None:
        for _ in range(repeats):
            task()

    return min(seconds(repeated, device) for _ in range(TRIES)) / repeats


def seconds(task: Callable[[], Any], device: torch.device) -> float:
    """Seconds until `task` is done, the device's queue included."""
    wait(device)
    start = time.perf_counter()
    task()
    wait(device)
    return time.perf_counter() - start


def wait(device: torch.device) -> None:
    """Until everything that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
