"""One item made ahead, in a thread that never outlives its use and never keeps the program from ending."""

from collections.abc import Generator
from queue import Empty, SimpleQueue
from threading import Event, Semaphore, Thread
from typing import Generic, TypeVar

Item = TypeVar("Item")
POLL_SECONDS = 0.2


class Prefetcher(Generic[Item]):
    """Items of an endless generator, of which one is made while another is in use.

    Args:
        items: run in a thread of its own; what it raises is raised by `next`, again and again.
        stop: set by `close`; `items` should look at it where it can take long.
    """

    def __init__(self, items: Generator[Item, None, None], stop: Event) -> None:
        self.stop = stop
        self._ready: SimpleQueue[Item | BaseException] = SimpleQueue()
        # A bounded queue would hold one item more: the one that waits for a place in it. Items are large.
        self._wanted = Semaphore(0)
        self._failure: BaseException | None = None
        # A daemon, so that a thread that waits for a server does not hold up the end of the program.
        self._thread = Thread(target=self._make, args=(items,), name="equipoise-stream", daemon=True)
        self._thread.start()

    def next(self) -> Item:
        """The next item; the one after it is then made."""
        while self._failure is None:
            try:
                item = self._ready.get(timeout=POLL_SECONDS)  # without a timeout, Ctrl-C would wait for the item
            except Empty:
                continue
            self._wanted.release()
            if not isinstance(item, BaseException):
                return item
            self._failure = item
        raise self._failure

    def close(self, timeout: float = 2.0) -> None:
        """End the thread; one that waits for a server ends by itself, at the latest when its time is out."""
        self.stop.set()
        self._wanted.release()
        self._thread.join(timeout)

    def _make(self, items: Generator[Item, None, None]) -> None:
        try:
            for item in items:
                self._ready.put(item)
                del item  # else it would be held beside the next one
                self._wanted.acquire()
                if self.stop.is_set():
                    break
            items.close()
        except BaseException as error:
            self._ready.put(error)
