"""Stopping on request: SIGINT, SIGTERM and SIGUSR1 are noted when they come, and acted on between two steps."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

NOTICES = (signal.SIGTERM, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else []))  # as schedulers send
HANDLED = (signal.SIGINT, *NOTICES)

Handler = Callable[[int, FrameType | None], None]


class Stop:
    """Whether training is to stop.

    Attributes:
        signal: number of the first signal that came, or 0.
    """

    signal: int = 0


@contextmanager
def noting_signals() -> Iterator[Stop]:
    """Inside, signals are only noted, but for a second SIGINT, which interrupts at once.

    A launcher may forward what the terminal or the scheduler has sent already, so others may come more than once.
    """
    stop = Stop()

    def note(number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and stop.signal == signal.SIGINT:
            raise KeyboardInterrupt
        stop.signal = stop.signal or number

    with _handling(note):
        yield stop


@contextmanager
def forwarding_signals() -> Iterator[None]:
    """Inside, the processes that this one has started are those to stop, and signals are sent on to them.

    But for SIGINT: a terminal sends that to all of them by itself; others come to this one alone.
    """

    def forward(number: int, _: FrameType | None) -> None:
        children = multiprocessing.active_children()
        if not children:  # still starting: there is nothing to lose yet
            raise KeyboardInterrupt
        for child in children if number in NOTICES else []:
            if child.pid:
                os.kill(child.pid, number)

    with _handling(forward):
        yield


@contextmanager
def _handling(handler: Handler) -> Iterator[None]:
    """Inside, `handler` takes the signals of HANDLED; outside the main thread Python allows that to nobody."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in HANDLED}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
