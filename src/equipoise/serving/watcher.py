"""Two threads that look at the files of all runs that somebody watches, and tell everybody what is new."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from equipoise.runs.files import to_json
from equipoise.serving.catalogue import Catalogue
from equipoise.serving.following import Event, Follower
from equipoise.serving.refusal import Refusal, busy
from equipoise.serving.settings import Limits

LOOK_SECONDS = 0.05  # between two looks at files
STATUS_SECONDS = 1.0  # between two looks at how runs are
BACKLOG = 4  # lots of events, of jsonl.MOST_NEW bytes at most, that wait for one slow client
BEAT_SECONDS = 15.0  # between two signs of life, so that nobody in between closes the connection


@dataclass(eq=False)
class Client:
    """Somebody who watches one run, or all of them.

    Attributes:
        run_id: of the one; None if it is all.
        followers: of the runs whose files are followed, by id.
        events: that wait to be sent, as they were found together; None at the end.
        begun: the place before the first of them.
    """

    run_id: str | None
    followers: Mapping[str, Follower]
    loop: asyncio.AbstractEventLoop
    events: "asyncio.Queue[list[Event] | None]" = field(default_factory=asyncio.Queue)
    known: dict[str, str] = field(default_factory=dict)  # statuses that were told, as text, by run
    told: bool = False  # of the runs there are
    newest: str | None = None  # that was told
    begun: str = field(init=False)
    open: bool = True

    def __post_init__(self) -> None:
        self.begun = self.place()

    @property
    def keeps_up(self) -> bool:
        """Whether it takes what it is told; else nothing more is read for it, and it gets the rest later."""
        return self.open and self.events.qsize() < BACKLOG

    def place(self, **earlier: str) -> str:
        """From which to go on: of one run as it is, of several by their ids; `earlier` than they were read, of some."""
        places = {run_id: str(follower.place) for run_id, follower in self.followers.items()} | earlier
        return places[self.run_id] if self.run_id else ",".join(map(":".join, places.items()))

    def named(self, run_id: str, event: Event) -> Event:
        """An event of a run, as the stream of all has it: named by the run, with the places of others too."""
        return Event(f"{run_id}/{event.kind}", event.data, event.place and self.place(**{run_id: event.place}))

    def tell(self, events: list[Event]) -> None:
        """Put events in line, from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self.loop.call_soon_threadsafe(self.events.put_nowait, events)

    def end(self) -> None:
        """End the stream after what is in line."""
        self.open = False
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.events.put_nowait, None)


class Watcher:
    """Tells clients what is new in the files of runs."""

    def __init__(self, catalogue: Catalogue, limits: Limits) -> None:
        self.catalogue, self.limits = catalogue, limits
        self._clients: set[Client] = set()
        self._lock = threading.Lock()
        self._somebody = threading.Event()
        self._ending = False
        # To ask for the lock that a training holds takes a tenth of a second, for which lines must not wait.
        for work in (self._follow, self._ask):
            threading.Thread(target=work, name=f"equipoise-watcher{work.__name__}", daemon=True).start()

    @property
    def count(self) -> int:
        """Clients that watch now."""
        return len(self._clients)

    def join(self, run_id: str | None, followers: Mapping[str, Follower]) -> Client:
        """A new client; of one run with its follower, or of all, with those of some.

        Raises:
            Refusal: too many watch already.
        """
        client = Client(run_id, followers, asyncio.get_running_loop())
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

    def _follow(self) -> None:
        """Tell everybody the new lines and samples of the runs that he watches."""
        while clients := self._next_clients():
            for client in clients:
                self._look(client)
            time.sleep(LOOK_SECONDS)

    def _ask(self) -> None:
        """Tell everybody how the runs are."""
        with contextlib.suppress(OSError):  # a shared folder that is away for a moment
            self.catalogue.statuses()  # before anybody asks: the first time, this takes seconds
        due = 0.0
        while clients := self._next_clients():
            if time.monotonic() >= due or any(not client.told for client in clients):
                with contextlib.suppress(OSError):
                    self._tell_statuses(clients)
                due = time.monotonic() + STATUS_SECONDS
            time.sleep(LOOK_SECONDS)

    def _next_clients(self) -> list[Client]:
        """All clients, once there are any; none at the end."""
        while not self._ending:
            with self._lock:
                if self._clients:
                    return list(self._clients)
                self._somebody.clear()
            self._somebody.wait()
        return []

    def _look(self, client: Client) -> None:
        for run_id, follower in client.followers.items():
            if not client.keeps_up:
                return
            with contextlib.suppress(OSError):  # a shared folder that is away for a moment
                if client.run_id is not None:
                    events = list(follower.look())
                else:  # it is said of a run that is gone by those who look at all; it may come back
                    events = [client.named(run_id, event) for event in follower.look() if event.kind != "gone"]
                if events:
                    client.tell(events)
                if any(event.kind == "gone" for event in events):
                    client.end()

    def _tell_statuses(self, clients: list[Client]) -> None:
        """Tell each client the statuses that it does not know yet, and which runs are new or gone."""
        everybody = any(client.run_id is None for client in clients)
        statuses = self.catalogue.statuses() if everybody else self._statuses_of(clients)
        newest = self.catalogue.newest(statuses) if everybody else None
        texts = {status["id"]: (to_json(status), status) for status in statuses}
        for client in filter(lambda client: client.keeps_up, clients):
            events: list[Event] = []
            if client.run_id is None and not client.told:
                events.append(Event("runs", {"ids": [*texts]}))
            for run_id in texts.keys() if client.run_id is None else texts.keys() & {client.run_id}:
                text, status = texts[run_id]
                if client.run_id is None and client.told and run_id not in client.known:
                    events.append(Event("new-run", {"id": run_id, "newest": newest}))
                if client.known.get(run_id) != text:
                    client.known[run_id] = text
                    events.append(Event("status", status))
            for run_id in client.known.keys() - texts.keys():
                del client.known[run_id]
                events.append(Event("gone", {"id": run_id}))
            if client.run_id is None and client.newest != newest:
                client.newest = newest
                events.append(Event("newest", {"id": newest}))
            client.told = True
            if events:
                client.tell(events)

    def _statuses_of(self, clients: list[Client]) -> list[dict[str, Any]]:
        found = []
        for run_id in {client.run_id for client in clients if client.run_id}:
            with contextlib.suppress(Refusal):
                found.append(self.catalogue.status(run_id))
        return found


async def stream(watcher: Watcher, client: Client) -> AsyncIterator[str]:
    """A client's events in the form of server-sent events (HTML Living Standard, section 9.2)."""
    try:
        begun = f"id: {client.begun}\n" if client.followers else ""  # it may break before its first event
        yield f"retry: 1000\n{begun}: {' ' * 2048}\n\n"  # which makes proxies and old browsers begin
        while True:
            try:
                events = await asyncio.wait_for(client.events.get(), BEAT_SECONDS)
            except TimeoutError:
                yield ": still here\n\n"
                continue
            if events is None:
                return
            for event in events:
                place = f"id: {event.place}\n" if event.place else ""
                yield f"{place}event: {event.kind}\ndata: {to_json(event.data)}\n\n"
    finally:
        watcher.leave(client)
