"""Energy of a process, where the machine counts it: NVIDIA GPUs, and Intel and AMD processors by RAPL."""

import time
from contextlib import suppress
from pathlib import Path

import torch

from equipoise.training.contention import BackgroundLoad

RAPL = Path("/sys/class/powercap")


class EnergyMeter:
    """Joules since it was made; on a processor, the share of the whole machine's that this process was busy for."""

    def __init__(self) -> None:
        self.load, self.started, self.seconds = BackgroundLoad(), _rapl_joules(), time.monotonic()
        self.gpu, self.cpu = 0.0, time.process_time()

    def joules(self) -> float | None:
        """Energy until now; None where nothing counts it."""
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            now = time.monotonic()
            with suppress(Exception):  # where pynvml is missing, or the driver does not tell
                self.gpu += torch.cuda.power_draw() / 1000 * (now - self.seconds)
            self.seconds = now
            return self.gpu or None
        joules, others = _rapl_joules(), self.load.busy_cores()
        if joules is None or self.started is None or others is None or joules < self.started:
            return None
        own = (time.process_time() - self.cpu) / max(1e-9, time.monotonic() - self.seconds)
        return (joules - self.started) * own / max(own + others, 1e-9)


def _rapl_joules() -> float | None:
    """What all processor packages have taken since some time; None where it may not be read."""
    try:
        counters = [path / "energy_uj" for path in RAPL.glob("intel-rapl:?")]
        return sum(int(path.read_text()) for path in counters) / 1e6 if counters else None
    except (OSError, ValueError):
        return None
