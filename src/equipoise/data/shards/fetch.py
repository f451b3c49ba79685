"""Files over HTTP, read once from front to back: what breaks is tried again, and goes on at the byte it had reached."""

import http.client
import io
import re
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from threading import Event
from typing import Any, cast

from equipoise.data.shards.broken import StreamBroken

TIMEOUT = 30.0  # seconds without a byte
LONGEST_WAIT = 60.0  # seconds that a server may ask for
PASSING = (408, 425, 429, 500, 502, 503, 504)  # statuses of what may pass
CHUNK = 2**18  # bytes
BROKEN = (OSError, http.client.HTTPException)  # URLError and time-outs are OSErrors


@dataclass(frozen=True)
class Patience:
    """How to wait for a server.

    Attributes:
        waits: seconds before each further try; a transfer that got on begins anew with the first.
        timeout: seconds without a byte that end a try.
        stop: set to give up at once.
    """

    waits: tuple[float, ...] = (0.5, 1, 2, 4, 8)
    timeout: float = TIMEOUT
    stop: Event | None = None

    def sleep(self, seconds: float) -> None:
        """Wait, unless nobody wants the answer any more."""
        if (self.stop or Event()).wait(seconds):
            raise StreamBroken("reading was stopped")


@dataclass(frozen=True)
class Facts:
    """What a server tells of a file: its size in bytes, and a version; None and "" where it does not."""

    size: int | None
    version: str


class Download(io.RawIOBase):
    """A file over HTTP, from its first byte to its last.

    Raises:
        StreamBroken: from any method, when the server has refused, or has failed once more often than is waited for.
    """

    def __init__(self, url: str, patience: Patience, facts: Facts | None = None) -> None:
        super().__init__()
        self.url, self.patience, self.facts = url, patience, facts
        self.position, self.tries = 0, 0
        self.response: Any = None

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what there is next; 0 only at the file's end."""
        while True:
            try:
                if self.response is None:
                    self._connect()
                count = cast(int, self.response.readinto(buffer))
                if not count and self.facts and self.facts.size not in (None, self.position):
                    raise ConnectionError(f"the connection ended after {self.position:,} of {self.facts.size:,} bytes")
            except BROKEN as error:
                self._broke(error)
            else:
                self.position += count
                self.tries = 0 if count else self.tries
                return count

    def close(self) -> None:
        """Hang up."""
        self._hang_up()
        super().close()

    def _hang_up(self) -> None:
        if self.response is not None:
            with suppress(*BROKEN):
                self.response.close()
            self.response = None

    def _connect(self) -> None:
        """Ask for the bytes from `position` on, of the same file as before."""
        headers = {"Range": f"bytes={self.position}-"} if self.position else {}
        version = self.facts.version if self.facts else ""
        if self.position and version and not version.startswith("W/"):
            headers["If-Range"] = version
        self.response = _request(self.url, headers, self.patience)
        facts = facts_of(self.response)
        if self.facts is not None and changed(self.facts, facts):
            raise StreamBroken(
                f"{shown(self.url)} has changed while it was read: start a new run on what is there now, "
                "or bring the old file back and resume"
            )
        if self.facts is None or self.facts.size is None:
            self.facts = facts
        if self.position and self.response.status != http.HTTPStatus.PARTIAL_CONTENT:
            self._pass_over(self.position)
        elif self.position and f"bytes {self.position}-" not in self.response.headers.get("Content-Range", ""):
            raise ConnectionError("the server sent another part of the file than was asked for")

    def _pass_over(self, left: int) -> None:
        """Read again what has been read, from a server that sends nothing but whole files."""
        while left:
            piece = self.response.read(min(left, CHUNK))
            if not piece:
                raise ConnectionError("the connection ended early again")
            left -= len(piece)

    def _broke(self, error: Exception) -> None:
        """Wait before the next try.

        Raises:
            StreamBroken: there is none.
        """
        self._hang_up()
        wait_or_give_up(error, self.url, self.tries, self.patience)
        self.tries += 1


def ask(url: str, patience: Patience) -> Facts:
    """Ask a server for a file's size and version, by its first byte: unlike HEAD, that works with signed URLs too.

    Raises:
        StreamBroken: it has refused, or has failed once more often than is waited for.
    """
    tries = 0
    while True:
        try:
            with _request(url, {"Range": "bytes=0-0"}, patience) as response:
                return facts_of(response)
        except BROKEN as error:
            wait_or_give_up(error, url, tries, patience)
            tries += 1


def wait_or_give_up(error: Exception, url: str, tries: int, patience: Patience) -> None:
    """Wait after a failure, in all determinism, or say in one sentence that it was the last.

    Raises:
        StreamBroken: the server has refused, or it has been waited for often enough.
    """
    status = error.code if isinstance(error, urllib.error.HTTPError) else None
    if status is not None and status not in PASSING:
        raise StreamBroken(f"{shown(url)} is refused by its server ({_why(error)}): check the URL and its access")
    if tries >= len(patience.waits):
        raise StreamBroken(
            f"{shown(url)} cannot be reached or read ({_why(error)}), tried {tries + 1} times: "
            "see to the server or the network, then resume"
        ) from error
    asked = 0.0
    if isinstance(error, urllib.error.HTTPError):
        with suppress(ValueError):
            asked = min(LONGEST_WAIT, float(error.headers.get("Retry-After", "0")))
    patience.sleep(max(asked, patience.waits[tries]))


def facts_of(response: Any) -> Facts:
    """Read size and version from an answer, whole or partial."""
    total = re.fullmatch(r"bytes \d+-\d+/(\d+)", response.headers.get("Content-Range", ""))
    length = total[1] if total else response.headers.get("Content-Length", "")
    whole = total is not None or response.status == http.HTTPStatus.OK
    version = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
    return Facts(int(length) if whole and length.isdecimal() else None, version)


def changed(before: Facts, now: Facts) -> bool:
    """Whether these cannot be facts of one file."""
    sizes = None not in (before.size, now.size) and before.size != now.size
    return sizes or bool(before.version and now.version and before.version != now.version)


def shown(url: str) -> str:
    """A URL without what may be secret: user, password and query."""
    scheme, _, rest = re.split(r"[?#]", url, maxsplit=1)[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def _why(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"{error.code} {error.reason}"
    reason = getattr(error, "reason", error)
    return str(getattr(reason, "strerror", None) or reason) or type(error).__name__


def _request(url: str, headers: dict[str, str], patience: Patience) -> Any:
    """Open a URL of http or https; redirects can lead to no other scheme, since no other has a handler."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        *(urllib.request.ProxyHandler, urllib.request.UnknownHandler, urllib.request.HTTPHandler),
        *(urllib.request.HTTPSHandler, urllib.request.HTTPDefaultErrorHandler),
        *(urllib.request.HTTPRedirectHandler, urllib.request.HTTPErrorProcessor),
    ):
        opener.add_handler(handler())
    headers = {"User-Agent": "equipoise", "Accept-Encoding": "identity", **headers}
    try:
        return opener.open(urllib.request.Request(url, headers=headers), timeout=patience.timeout)  # noqa: S310
    except (http.client.InvalidURL, ValueError) as error:
        raise StreamBroken(f"{shown(url)} is no URL that can be read ({error}): correct it") from error


__all__ = ["Download", "Facts", "Patience", "ask", "changed", "shown"]
