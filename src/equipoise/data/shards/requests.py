"""Requests of http and https, and of nothing else, whose headers come within bounded time."""

import http.client
import io
import math
import socket
import time
import urllib.request
from typing import Any


def open_url(url: str, headers: dict[str, str], timeout: float) -> Any:
    """Response to a GET of `url`.

    Args:
        url: of http or https.
        headers: of the request.
        timeout: seconds to wait for a connection, for each byte, and for all that comes before the body.

    Raises:
        OSError, HTTPException: the server refuses (urllib.error.HTTPError), fails or takes too long.
        ValueError, OverflowError: the URL cannot be read.
    """
    # urllib's usual opener also reads file: and ftp:, to which a hostile server could redirect. Here redirects can lead
    # to no other scheme, since no other has a handler.
    opener = urllib.request.OpenerDirector()
    for handler in (
        *(urllib.request.ProxyHandler, urllib.request.UnknownHandler, _TimedHTTPHandler, _TimedHTTPSHandler),
        *(urllib.request.HTTPDefaultErrorHandler, urllib.request.HTTPRedirectHandler),
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener.open(urllib.request.Request(url, headers=headers), timeout=timeout)  # noqa: S310


class _TimedReader(io.RawIOBase):
    """A connection's bytes, which are given up once `deadline` has passed, though no single byte is late."""

    def __init__(self, connection: io.RawIOBase, seconds: float) -> None:
        super().__init__()
        self.connection, self.seconds = connection, seconds
        self.deadline = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if time.monotonic() > self.deadline:
            raise TimeoutError(f"headers did not end in {self.seconds:g} seconds")
        return self.connection.readinto(buffer)

    def close(self) -> None:
        self.connection.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    """A response whose status, headers and redirects must end in the time of one byte, as must what frames a chunk.

    A socket's timeout is for each byte alone: a server that sends one now and then would be waited for without end.
    """

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.timed = _TimedReader(self.fp.detach(), sock.gettimeout() or math.inf)
        self.fp = io.BufferedReader(self.timed)

    def read1(self, n: int = -1) -> bytes:
        self.timed.deadline = time.monotonic() + self.timed.seconds
        return super().read1(n)


class _TimedHTTPConnection(http.client.HTTPConnection):
    response_class = _TimedResponse


class _TimedHTTPSConnection(http.client.HTTPSConnection):
    response_class = _TimedResponse


class _TimedHTTPHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_TimedHTTPConnection, req)


class _TimedHTTPSHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_TimedHTTPSConnection, req)
