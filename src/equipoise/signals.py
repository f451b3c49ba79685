"""Stopping on request: SIGINT and SIGTERM are noted, and heeded between two steps."""

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

HEEDED = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """What `listening` gives.

    Attributes:
        signal: the number of the signal that came, or 0.
    """

    signal: int = 0


@contextmanager
def listening() -> Iterator[Stop]:
    """While inside, the first SIGINT or SIGTERM is only noted; a second one has its usual effect."""
    stop = Stop()

    def note(number: int, _: FrameType | None) -> None:
        stop.signal = number
        restore()

    restore = _handle(note)
    try:
        yield stop
    finally:
        restore()


@contextmanager
def passing_on() -> Iterator[None]:
    """While inside, processes that this one starts are the ones to stop: signals go on to them.

    A terminal sends SIGINT to all of them by itself; SIGTERM comes to this one alone, and is sent on.
    """

    def pass_on(number: int, _: FrameType | None) -> None:
        children = multiprocessing.active_children()
        if not children:  # still starting
            raise KeyboardInterrupt
        for child in children if number == signal.SIGTERM else []:
            child.terminate()

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
