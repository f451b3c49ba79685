"""Stopping on request: SIGINT, SIGTERM and SIGUSR1 are noted, and heeded between two steps."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

NOTICES = (signal.SIGTERM, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else []))  # as schedulers give
HEEDED = (signal.SIGINT, *NOTICES)


class Stop:
    """What `listening` gives.

    Attributes:
        signal: the number of the first signal that came, or 0.
    """

    signal: int = 0


@contextmanager
def listening() -> Iterator[Stop]:
    """While inside, signals are only noted, but for a second SIGINT, which interrupts at once.

    A launcher may pass on what the terminal or the scheduler has sent already, so others may come more than once.
    """
    stop = Stop()

    def note(number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and stop.signal == signal.SIGINT:
            raise KeyboardInterrupt
        stop.signal = stop.signal or number

    restore = _handle(note)
    try:
        yield stop
    finally:
        restore()


@contextmanager
def passing_on() -> Iterator[None]:
    """While inside, processes that this one starts are the ones to stop: signals go on to them.

    A terminal sends SIGINT to all of them by itself; other signals come to this one alone, and are sent on.
    """

    def pass_on(number: int, _: FrameType | None) -> None:
        children = multiprocessing.active_children()
        if not children:  # still starting
            raise KeyboardInterrupt
        for child in children if number in NOTICES else []:
            if child.pid:
                os.kill(child.pid, number)

    restore = _handle(pass_on)
    try:
        yield
    finally:
        restore()


def _handle(handler: Callable[[int, FrameType | None], None]) -> Callable[[], None]:
    """Install `handler` for every heeded signal (only a main thread may); returns what puts the old ones back."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    usual = {number: signal.signal(number, handler) for number in HEEDED}

    def restore() -> None:
        for number, old in usual.items():
            signal.signal(number, old)

    return restore
