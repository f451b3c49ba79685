"""Other programs on the same processor: how much of it they take, and when threads should be fewer for it."""

import os
import time
from pathlib import Path

import torch

from equipoise.devices import available_cores
from equipoise.errors import as_word

SECONDS = 10.0  # of training after which it is known
SHARED = 0.5  # of a core that a thread may share with others


class BackgroundLoad:
    """CPU load by other processes since this object was created; unknown where there is no /proc."""

    def __init__(self) -> None:
        self._start = self._read()

    def busy_cores(self) -> float | None:
        """Mean number of cores that other processes kept busy since the start; None where it is unknown."""
        now = self._read()
        if self._start is None or now is None:
            return None
        wall, machine, own = (b - a for a, b in zip(self._start, now, strict=True))
        # /proc/stat counts in ticks of 10 ms, so that a short span can come out slightly negative.
        return max(0.0, (machine - own) / wall) if wall > 0 else 0.0

    @staticmethod
    def _read() -> tuple[float, float, float] | None:
        """Seconds: wall clock, busy time of all cores, and CPU time of this process and its children."""
        try:
            fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        except OSError:
            return None
        user, nice, system, _idle, _iowait, irq, softirq = (int(field) for field in fields[:7])
        busy = (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
        return time.monotonic(), busy, sum(os.times()[:4])


def fewer_threads(busy_cores: float, threads: int, cores: int) -> int | None:
    """How many threads to take where `busy_cores` of `cores` leave too little for `threads`; None where they do not.

    Threads wait for one another at the end of each operation, so that one that waits for its core holds up all: where
    three programs kept two cores busy, two threads trained 0.4 images a second, and one thread 300.
    """
    free = cores - busy_cores
    return None if threads == 1 or threads <= free + SHARED else max(1, int(free + SHARED))


class Contention:
    """Says once, some seconds after training began, that it computes on more threads than there are free cores."""

    def __init__(self, run: Path, device: torch.device) -> None:
        self.run, self.load, self.since = run, BackgroundLoad(), time.monotonic()
        # The other processes of a run would be taken for other programs
        self.asked = device.type != "cpu" or (torch.distributed.is_available() and torch.distributed.is_initialized())

    def advice(self) -> str | None:
        """What to say now, or None."""
        if self.asked or time.monotonic() - self.since < SECONDS:
            return None
        self.asked = True
        busy, threads, cores = self.load.busy_cores(), torch.get_num_threads(), available_cores()
        fewer = None if busy is None else fewer_threads(busy, threads, cores)
        if fewer is None:
            return None
        return (
            f"other programs keep {busy:.1f} of {cores} cores busy, where {threads} threads, as they wait for one "
            f"another, can be far slower than {fewer}: Ctrl-C, then OMP_NUM_THREADS={fewer} equipoise resume "
            f"{as_word(self.run)}"
        )
