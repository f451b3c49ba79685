"""One thread that looks at the files of all runs that somebody watches, and tells everybody what is new."""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from equipoise.runs.files import to_json
from equipoise.serving.catalogue import Catalogue
from equipoise.serving.following import Event, Follower, Place, place_now
from equipoise.serving.refusal import Refusal, busy
from equipoise.serving.settings import Limits

LOOK_SECONDS = 0.05  # between two looks at files
STATUS_SECONDS = 1.0  # between two looks at how runs are
BEAT_SECONDS = 15.0  # between two signs of life, so that nobody in between closes the connection


@dataclass(eq=False)
class Client:
    """Somebody who watches one run, or all of them where there is no follower.

    Attributes:
        events: that wait to be sent; None at the end.
    """

    run_id: str | None
    follower: Follower | None
    loop: asyncio.AbstractEventLoop
    events: "asyncio.Queue[Event | None]"
    known: dict[str, str] = field(default_factory=dict)  # statuses that were told, as text, by run
    open: bool = True

    def tell(self, event: Event) -> None:
        """Put an event in line, from any thread; a client that has too many waiting is sent away."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self.loop.call_soon_threadsafe(self._put, event)

    def end(self) -> None:
        """End the stream after what is in line."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._end)

    def _put(self, event: Event) -> None:
        if self.open and self.events.qsize() >= self.events.maxsize - 1:
            self._end()  # it connects again, and goes on from the last event that it got
        elif self.open:
            self.events.put_nowait(event)

    def _end(self) -> None:
        if self.open:
            self.open = False
            self.events.put_nowait(None)  # for which there is always room


class Watcher:
    """Tells clients what is new in the files of runs."""

    def __init__(self, catalogue: Catalogue, limits: Limits) -> None:
        self.catalogue, self.limits = catalogue, limits
        self._clients: set[Client] = set()
        self._lock = threading.Lock()
        self._somebody = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._watch, name="equipoise-watcher", daemon=True)
        self._thread.start()

    @property
    def count(self) -> int:
        """Clients that watch now."""
        return len(self._clients)

    def join(self, run_id: str | None, place: Place | None) -> Client:
        """A new client; of one run, from `place` on, or else from where its files end now.

        Raises:
            Refusal: there is no such run, or too many watch already.
        """
        follower = None
        if run_id is not None:
            folder = self.catalogue.entry(run_id).folder
            follower = Follower(folder, place or place_now(folder))
        loop = asyncio.get_running_loop()
        client = Client(run_id, follower, loop, asyncio.Queue(self.limits.backlog + 1))
        with self._lock:
            if self._ending:
                raise busy("the server is about to end", 5)
            if len(self._clients) >= self.limits.watchers:
                raise busy(f"{self.limits.watchers} streams are open, and no more are served", 5)
            self._clients.add(client)
        self._somebody.set()
        return client

    def leave(self, client: Client) -> None:
        """Forget a client."""
        with self._lock:
            self._clients.discard(client)

    def close(self) -> None:
        """End all streams, and the thread."""
        with self._lock:
            self._ending, clients = True, list(self._clients)
        self._somebody.set()
        for client in clients:
            client.end()

    def _watch(self) -> None:
        due = 0.0
        while not self._ending:
            with self._lock:
                clients = list(self._clients)
                if not clients:
                    self._somebody.clear()
            if not clients:
                self._somebody.wait()
                continue
            for client in clients:
                self._look(client)
            if time.monotonic() >= due or any(not client.known for client in clients):
                self._tell_statuses(clients)
                due = time.monotonic() + STATUS_SECONDS
            time.sleep(LOOK_SECONDS)

    def _look(self, client: Client) -> None:
        if client.follower is None or not client.open:
            return
        with contextlib.suppress(OSError):  # a shared folder that is away for a moment
            for event in client.follower.look():
                client.tell(event)
                if event.kind == "gone":
                    client.end()

    def _tell_statuses(self, clients: list[Client]) -> None:
        """Tell each client the statuses that it does not know yet, and which runs are new or gone."""
        everybody = any(client.run_id is None for client in clients)
        statuses = self.catalogue.statuses() if everybody else self._statuses_of(clients)
        texts = {status["id"]: (to_json(status), status) for status in statuses}
        newest = self.catalogue.newest(statuses) if everybody else None
        for client in clients:
            first = not client.known
            wanted = texts.keys() if client.run_id is None else texts.keys() & {client.run_id}
            for run_id in wanted:
                text, status = texts[run_id]
                if client.run_id is None and not first and run_id not in client.known:
                    client.tell(Event("new-run", {"id": run_id, "newest": newest}))
                if client.known.get(run_id) != text:
                    client.known[run_id] = text
                    client.tell(Event("status", status))
            for run_id in client.known.keys() - texts.keys():
                del client.known[run_id]
                client.tell(Event("gone", {"id": run_id}))
            if first and not client.known:
                client.known[""] = ""  # nothing to tell yet

    def _statuses_of(self, clients: list[Client]) -> list[dict[str, Any]]:
        found = []
        for run_id in {client.run_id for client in clients if client.run_id}:
            with contextlib.suppress(Refusal):
                found.append(self.catalogue.status(run_id))
        return found


async def stream(watcher: Watcher, client: Client) -> AsyncIterator[str]:
    """A client's events in the form of server-sent events (HTML Living Standard, section 9.2)."""
    try:
        yield f"retry: 1000\n: {' ' * 2048}\n\n"  # which makes proxies and old browsers begin
        while True:
            try:
                event = await asyncio.wait_for(client.events.get(), BEAT_SECONDS)
            except TimeoutError:
                yield ": still here\n\n"
                continue
            if event is None:
                return
            place = f"id: {event.place}\n" if event.place else ""
            yield f"{place}event: {event.kind}\ndata: {json.dumps(json.loads(to_json(event.data)))}\n\n"
    finally:
        watcher.leave(client)
