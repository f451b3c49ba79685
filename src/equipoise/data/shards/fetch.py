"""Files over HTTP, read once from front to back: a transfer that breaks goes on at the byte that it had reached."""

import http.client
import io
import re
import time
import urllib.error
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Event
from typing import Any, cast

from equipoise.data.shards.broken import StreamBroken
from equipoise.data.shards.requests import open_url
from equipoise.errors import MOST_REASON, one_line, reason

TIMEOUT = 30.0  # seconds without a byte
SLOWEST = 1000  # bytes a second over so many seconds, below which a server counts as one that has failed
MAX_RETRY_AFTER = 60.0  # seconds that a server may ask to be waited for
TRANSIENT_STATUSES = (408, 425, 429, 500, 502, 503, 504)
CHUNK = 2**18  # bytes
# Headers, as far as they are believed: lengths below 10^18, versions that can be sent back.
LENGTH = re.compile(r"\d{1,18}", re.ASCII)
CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})", re.ASCII)
VERSION = re.compile(r"[\x20-\x7e]{1,1000}")
TRANSFER_ERRORS = (OSError, http.client.HTTPException)  # URLError and time-outs are OSErrors


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long to wait for a server.

    Attributes:
        waits: seconds before each further try; a transfer that got on begins anew with the first.
        timeout: seconds without a byte, or with fewer than SLOWEST a second, or until headers end, that end a try.
        stop: set to give up at once.
        wait: waits for so many seconds, or until the event is set, and returns whether it is: for tests.
    """

    waits: tuple[float, ...] = (0.5, 1, 2, 4, 8)
    timeout: float = TIMEOUT
    stop: Event | None = None
    wait: Callable[[Event, float], bool] = Event.wait

    def sleep(self, seconds: float) -> None:
        """Wait.

        Raises:
            StreamBroken: `stop` is set before.
        """
        if self.wait(self.stop or Event(), seconds):
            raise StreamBroken("reading was stopped")


@dataclass(frozen=True)
class FileStamp:
    """Size in bytes and version of a file as its server gives them; None and "" where it does not."""

    size: int | None
    version: str

    def contradicts(self, other: "FileStamp") -> bool:
        """Whether these cannot be stamps of one file."""
        sizes = None not in (self.size, other.size) and self.size != other.size
        return sizes or bool(self.version and other.version and self.version != other.version)


class Download(io.RawIOBase):
    """A file over HTTP, from its first byte to its last.

    Raises:
        StreamBroken: from any method, when the server has refused, or has failed once more often than is waited for.
    """

    def __init__(self, url: str, retry: RetryPolicy, stamp: FileStamp | None = None) -> None:
        super().__init__()
        self.url, self.retry, self.stamp = url, retry, stamp
        self.position, self.tries = 0, 0
        self.response: Any = None
        # What came in how many seconds of waiting for it, and how often in a row that was too little.
        self.recent, self.waited, self.slow = 0, 0.0, 0

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes; 0 only at the file's end."""
        while True:
            try:
                if self.response is None:
                    self._connect()
                data = self._read(len(buffer))
                buffer[: (count := len(data))] = data
                # A connection that ends early looks like the end of the file; only the size tells them apart.
                if not count and self.stamp and self.stamp.size not in (None, self.position):
                    raise ConnectionError(f"the connection ended after {self.position:,} of {self.stamp.size:,} bytes")
            except TRANSFER_ERRORS as error:
                self._disconnect()
                wait_or_give_up(error, self.url, max(self.tries, self.slow - 1), self.retry)
                self.tries += 1
            else:
                self.position += count
                self.tries = 0 if count else self.tries
                return count

    def _read(self, size: int) -> bytes:
        """The next bytes as they come, `size` at most.

        Raises:
            ConnectionError: they come so slowly that it would take for ever, though no single byte is late.
        """
        began = time.monotonic()
        data = cast(bytes, self.response.read1(size))  # at once what there is: `read` would wait until there is all
        self.recent, self.waited = self.recent + len(data), self.waited + time.monotonic() - began
        if self.recent >= SLOWEST * self.retry.timeout:
            self.recent, self.waited, self.slow = 0, 0.0, 0
        elif self.waited > self.retry.timeout:
            came, self.recent, self.waited, self.slow = self.recent, 0, 0.0, self.slow + 1
            raise ConnectionError(f"only {came:,} bytes came in {self.retry.timeout:g} seconds")
        return data

    def close(self) -> None:
        """Close the connection."""
        self._disconnect()
        super().close()

    def _disconnect(self) -> None:
        if self.response is not None:
            with suppress(*TRANSFER_ERRORS):
                self.response.close()
            self.response = None

    def _connect(self) -> None:
        """Request the bytes from `position` on, of the same file as before."""
        headers = {"Range": f"bytes={self.position}-"} if self.position else {}
        version = self.stamp.version if self.stamp else ""
        # If-Range makes a server send the whole new file where it has changed, which is then noticed below. Weak ETags
        # (W/) are not allowed there.
        if self.position and version and not version.startswith("W/"):
            headers["If-Range"] = version
        self.response = _request(self.url, headers, self.retry)
        stamp = _stamp_of(self.response)
        if self.stamp is not None and self.stamp.contradicts(stamp):
            raise StreamBroken(
                f"{_shown(self.url)} has changed while it was read: start a new run on what is there now, "
                "or bring the old file back and resume"
            )
        if self.stamp is None or self.stamp.size is None:
            self.stamp = stamp
        if self.position and self.response.status != http.HTTPStatus.PARTIAL_CONTENT:
            # A server without ranges sends the whole file again, of which the bytes read before are skipped.
            left = self.position
            while left:
                piece = self._read(min(left, CHUNK))
                if not piece:
                    raise ConnectionError("the connection ended early again")
                left -= len(piece)
        elif self.position and f"bytes {self.position}-" not in self.response.headers.get("Content-Range", ""):
            raise ConnectionError("the server sent another part of the file than was requested")


def request_stamp(url: str, retry: RetryPolicy) -> FileStamp:
    """Size and version of a file, by a request for its first byte: unlike HEAD, that works with signed URLs too.

    Raises:
        StreamBroken: the server has refused, or has failed once more often than is waited for.
    """
    tries = 0
    while True:
        try:
            with _request(url, {"Range": "bytes=0-0"}, retry) as response:
                return _stamp_of(response)
        except TRANSFER_ERRORS as error:
            wait_or_give_up(error, url, tries, retry)
            tries += 1


def wait_or_give_up(error: Exception, url: str, tries: int, retry: RetryPolicy) -> None:
    """Wait after a failure, or say in one sentence that it was the last.

    Raises:
        StreamBroken: the server has refused, or was waited for often enough.
    """
    status = error.code if isinstance(error, urllib.error.HTTPError) else None
    if status is not None and status not in TRANSIENT_STATUSES:
        raise StreamBroken(f"{_shown(url)} is refused by its server ({_reason(error)}): check the URL and its access")
    if tries >= len(retry.waits):
        raise StreamBroken(
            f"{_shown(url)} cannot be reached or read ({_reason(error)}), tried {tries + 1} times: "
            "see to the server or the network, then resume"
        ) from error
    retry_after = 0.0
    if isinstance(error, urllib.error.HTTPError):
        with suppress(ValueError):  # it may be a date, too; NaN and what is too long become the bound
            retry_after = min(MAX_RETRY_AFTER, float(error.headers.get("Retry-After", "0")))
    retry.sleep(max(retry_after, retry.waits[tries]))


def redacted(url: str) -> str:
    """A URL without what may be secret: user, password and query."""
    scheme, _, rest = re.split(r"[?#]", url, maxsplit=1)[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def _shown(url: str) -> str:
    """A URL for messages, without what may be secret."""
    return one_line(redacted(url), MOST_REASON)


def _stamp_of(response: Any) -> FileStamp:
    """Size and version by the headers of a response, whole or partial."""
    headers = response.headers
    total = CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    length = total[2] if total else headers.get("Content-Length", "")
    whole = total is not None or response.status == http.HTTPStatus.OK
    version = headers.get("ETag") or headers.get("Last-Modified") or ""
    return FileStamp(
        size=int(length) if whole and LENGTH.fullmatch(length) else None,
        version=version if VERSION.fullmatch(version) else "",
    )


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"{error.code} {one_line(str(error.reason), MOST_REASON)}"
    cause = getattr(error, "reason", error)
    return reason(cause) if isinstance(cause, Exception) else one_line(str(cause), MOST_REASON)


def _request(url: str, headers: dict[str, str], retry: RetryPolicy) -> Any:
    """Open a URL of http or https."""
    # "identity": a compressed transfer has other byte positions than the file.
    headers = {"User-Agent": "equipoise", "Accept-Encoding": "identity", **headers}
    try:
        return open_url(url, headers, retry.timeout)
    except (http.client.InvalidURL, ValueError, OverflowError) as error:  # of ports, OverflowError
        raise StreamBroken(f"{_shown(url)} is no URL that can be read ({reason(error)}): correct it") from error
