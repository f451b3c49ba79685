"""Slow work, done once for all who ask for it: they get it within a second, or are told to ask again."""

import asyncio
import ctypes
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from equipoise.serving.refusal import busy

T = TypeVar("T")
AGAIN_SECONDS = 2.0  # after which to ask again for what is being worked on
HEARD_SECONDS = 2 * AGAIN_SECONDS  # for which a failure waits to be heard


class Stopped(BaseException):
    """Raised in work that is stopped amidst it; no handler of errors takes it for one."""


class Background:
    """One thread that works on things by key, and keeps the latest of them; used from the event loop alone.

    Args:
        name: of what it makes, for messages.
        seconds: to wait for a result before its asker is told to come again; the work goes on.
        waiting: pieces of work that may wait.
        kept: results at most.
        kept_bytes: of them, by the `size` that each is asked for with.
    """

    def __init__(self, name: str, *, seconds: float, waiting: int, kept: int, kept_bytes: int) -> None:
        self.name, self.seconds, self.waiting = name, seconds, waiting
        self.kept, self.kept_bytes = kept, kept_bytes
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"equipoise-{name}")
        self._tasks: OrderedDict[Hashable, asyncio.Future[Any]] = OrderedDict()
        self._sizes: dict[Hashable, int] = {}
        self._lock = threading.Lock()
        self._closed, self._worker = False, 0  # and the thread's number while it works

    @property
    def unfinished(self) -> int:
        """Pieces of work that wait or are being done."""
        return sum(not task.done() for task in self._tasks.values())

    @property
    def held(self) -> int:
        """Results that are kept."""
        return len(self._sizes)

    async def result(self, key: Hashable, work: Callable[[], T], size: Callable[[T], int] = lambda _: 2**16) -> T:
        """What `work` returns; done once for a key, as long as its result is kept.

        Args:
            key: equal for the same work.
            work: a function for the thread.
            size: of its result, in bytes.

        Raises:
            Refusal: it is not done within `seconds`, or too much waits.
            Exception: whatever `work` raises, to one of those who ask; then it is done anew.
        """
        task = self._tasks.get(key)
        if task is None:
            if self.unfinished >= self.waiting:
                raise busy(f"too much {self.name} waits already", AGAIN_SECONDS)
            task = asyncio.get_running_loop().run_in_executor(self._pool, self._work, work)
            task.add_done_callback(partial(self._settle, key, size))  # whether or not anybody comes back for it
            self._tasks[key] = task
        self._tasks.move_to_end(key)
        await asyncio.wait({task}, timeout=self.seconds)
        if not task.done():
            raise busy(f"{self.name} is in the works", AGAIN_SECONDS)
        if (error := task.exception()) is not None:
            self._forget(key, task)
            raise error
        result: T = task.result()
        return result

    def _settle(self, key: Hashable, size: Callable[[T], int], task: "asyncio.Future[T]") -> None:
        """Keep what came of a piece of work: a result for long, a failure as long as an asker may come back for it."""
        if not task.cancelled() and task.exception() is None:
            self._sizes[key] = size(task.result())
            self._trim(key)
            return
        asyncio.get_running_loop().call_later(HEARD_SECONDS, self._forget, key, task)

    def _forget(self, key: Hashable, task: "asyncio.Future[Any]") -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]

    def _trim(self, newest: Hashable) -> None:
        """Let go of what was asked for longest ago, but never of the newest."""
        for key in [key for key in self._tasks if key in self._sizes and key != newest]:
            if len(self._sizes) <= self.kept and sum(self._sizes.values()) <= self.kept_bytes:
                return
            del self._tasks[key], self._sizes[key]

    def _work(self, work: Callable[[], T]) -> T:
        with self._lock:
            if self._closed:
                raise Stopped
            self._worker = threading.get_ident()
        try:
            return work()
        finally:
            with self._lock:
                self._worker = 0

    def close(self) -> None:
        """Drop what waits, and stop what is being done: a process that ends would wait for its thread."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._closed = True
            if self._worker:  # raised there before its next line of Python, so between two operations on tensors
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._worker), ctypes.py_object(Stopped))
