"""One item made ahead, in a thread that never outlives its use and never keeps the program from ending."""

from collections.abc import Generator
from queue import Empty, SimpleQueue
from threading import Event, Semaphore, Thread
from typing import Generic, TypeVar

Item = TypeVar("Item")
POLL = 0.2  # seconds after which a wait lets signals through


class Ahead(Generic[Item]):
    """Take the items of an endless generator, of which one is made while another is in use.

    Args:
        items: run in a thread of its own; what it raises is raised by `next`, again and again.
        stop: set by `close`; `items` should look at it where it can take long.
    """

    def __init__(self, items: Generator[Item, None, None], stop: Event) -> None:
        self.stop = stop
        self._ready: SimpleQueue[Item | BaseException] = SimpleQueue()
        self._wanted = Semaphore(0)
        self._failure: BaseException | None = None
        self._thread = Thread(target=self._work, args=(items,), name="equipoise-stream", daemon=True)
        self._thread.start()

    def next(self) -> Item:
        """Give the next item, and have the one after it made."""
        while self._failure is None:
            try:
                item = self._ready.get(timeout=POLL)
            except Empty:
                continue
            self._wanted.release()
            if not isinstance(item, BaseException):
                return item
            self._failure = item
        raise self._failure

    def close(self, patience: float = 2.0) -> None:
        """End the thread; one that waits for a server ends by itself, at the latest when its time is out."""
        self.stop.set()
        self._wanted.release()
        self._thread.join(patience)

    def _work(self, items: Generator[Item, None, None]) -> None:
        try:
            for item in items:
                self._ready.put(item)
                del item  # else it would be held beside the next
                self._wanted.acquire()
                if self.stop.is_set():
                    break
            items.close()
        except BaseException as error:
            self._ready.put(error)
