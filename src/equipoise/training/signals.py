"""Stopping on request: signals are noted when they come, and acted on between two steps."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from equipoise.errors import UsageError

# As schedulers send, and a terminal that is closed; Windows has SIGTERM alone.
NOTICES = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGHUP") if hasattr(signal, name))
HANDLED = (signal.SIGINT, *NOTICES)

Handler = Callable[[int, FrameType | None], None]


class Stop:
    """Whether training is to stop.

    Attributes:
        signal: number of the first signal that came, or 0.
        waiting: whether a signal ends at once what is under way, as it may wait for long.
    """

    signal: int = 0
    waiting: bool = False

    @contextmanager
    def ending_waits(self) -> Iterator[None]:
        """Inside, a signal that comes raises UsageError, as data do that cannot be read on: they may lie far away."""
        self.waiting = True
        try:
            yield
        finally:
            self.waiting = False


@contextmanager
def noting_signals() -> Iterator[Stop]:
    """Inside, signals are only noted, but for a second SIGINT, which interrupts at once.

    A launcher may forward what the terminal or the scheduler has sent already, so others may come more than once.
    """
    stop, interrupts = Stop(), 0

    def note(number: int, _: FrameType | None) -> None:
        nonlocal interrupts
        interrupts += number == signal.SIGINT  # of their own: whoever presses Ctrl-C twice knows nothing of a SIGTERM
        if interrupts == 2:
            raise KeyboardInterrupt
        stop.signal = stop.signal or number
        if stop.waiting:
            raise UsageError("stopped while waiting for data")

    with _handling(note):
        yield stop


@contextmanager
def forwarding_signals() -> Iterator[Callable[[], int]]:
    """Inside, the processes that this one has started are those to stop, and signals are sent on to them.

    But for SIGINT: a terminal sends that to all of them by itself; others come to this one alone. Before there are any
    processes there is nothing to lose yet, and a signal does what it did outside.

    Yields:
        The number of the first signal that was sent on, or 0.
    """
    sent = 0

    def forward(number: int, _: FrameType | None) -> None:
        nonlocal sent
        children = multiprocessing.active_children()
        if not children:
            signal.signal(number, before[number])
            signal.raise_signal(number)
        sent = sent or number
        for child in children if number in NOTICES else []:
            if child.pid:
                os.kill(child.pid, number)

    with _handling(forward) as before:
        yield lambda: sent


@contextmanager
def _handling(handler: Handler) -> Iterator[dict[int, "signal._HANDLER"]]:
    """Inside, `handler` takes the signals of HANDLED; yields what took them before.

    Those that this process was started to ignore it goes on to ignore, as `nohup` wants. Outside the main thread Python
    allows nobody to take a signal.
    """
    before: dict[int, signal._HANDLER] = {}
    if threading.current_thread() is threading.main_thread():
        theirs = {number: signal.getsignal(number) for number in HANDLED}
        before = {number: old for number, old in theirs.items() if old not in {signal.SIG_IGN, None}}
    for number in before:
        signal.signal(number, handler)
    try:
        yield before
    finally:
        for number, old in before.items():
            signal.signal(number, old)
