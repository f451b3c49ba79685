"""Connections that are slow on purpose are closed: uvicorn itself waits for them without end."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

from equipoise.serving.settings import Limits


def bounded_protocol(limits: Limits) -> type[H11Protocol]:
    """The protocol of connections with the bounds of `limits`."""

    class BoundedProtocol(H11Protocol):
        """HTTP/1.1 with a time in which a request's head must come, and one in which an answer must be taken."""

        _waiting: asyncio.TimerHandle | None = None
        _stalled: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._expect_head()

        def data_received(self, data: bytes) -> None:
            cycle = self.cycle
            super().data_received(data)
            if self.cycle is not cycle:  # a head has come
                self._forget_head()
            elif self._waiting is None and (cycle is None or cycle.response_complete):
                self._expect_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget_head()
            self.resume_writing()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            loop = asyncio.get_running_loop()
            self._stalled = self._stalled or loop.call_later(limits.stalled_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._stalled is not None:
                self._stalled.cancel()
                self._stalled = None

        def _expect_head(self) -> None:
            loop = asyncio.get_running_loop()
            self._waiting = loop.call_later(limits.request_seconds, self.transport.abort)

        def _forget_head(self) -> None:
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None

    return BoundedProtocol
