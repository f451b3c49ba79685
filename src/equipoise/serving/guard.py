"""What is refused before a route sees it: foreign hosts and origins, strangers, floods, the too large or slow."""

import asyncio
import hashlib
import hmac
import ipaddress
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from equipoise.serving.refusal import Refusal, busy
from equipoise.serving.settings import Limits, Settings
from equipoise.serving.telemetry import Telemetry

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
CLIENTS = 1024  # whose rates are remembered
UPLOADS = 4  # that are read at once
OPEN_PATHS = frozenset({"/healthz", "/api/v1/login", "/api/v1/session"})  # which need no token
HEADERS = {
    # No script, style or picture but the server's own, nothing inline, no frame around it.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """Stands before an application; every answer leaves through it with HEADERS.

    Args:
        app: the application.
        settings: of the server.
        telemetry: counts what is answered.
        connections: how many are open.
    """

    def __init__(self, app: ASGIApp, settings: Settings, telemetry: Telemetry, connections: Callable[[], int]) -> None:
        self.app, self.limits, self.token, self.telemetry = app, settings.limits, settings.token, telemetry
        self.connections = connections
        self.names = LOCAL | {name.lower() for name in settings.names}
        if settings.token is not None:  # else the server is for this machine alone
            name = socket.gethostname().lower()
            self.names |= {name, f"{name}.local"}
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()
        self._uploads = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # there are no web sockets here
        head, started, status = scope["method"] == "HEAD", time.monotonic(), 0
        scope = {**scope, "method": "GET"} if head else scope  # answered alike, but for the body

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                # The page's files are asked for anew, and not sent again where they are the same.
                headers.setdefault("Cache-Control", "no-store" if scope["path"].startswith("/api/") else "no-cache")
            if not head:
                await send(message)
            elif message["type"] == "http.response.start":  # the end comes with it, of a stream too
                await send(message)
                await send({"type": "http.response.body"})

        try:
            self._check(scope, Headers(scope=scope))
            await self._pass_on(scope, receive, send_with_headers)
        except Refusal as refusal:
            await refusal.response()(scope, receive, send_with_headers)
        finally:
            self.telemetry.answered(scope, status, time.monotonic() - started)

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Refuse what the head of a request tells.

        Raises:
            Refusal: it is refused.
        """
        if self.connections() > self.limits.connections:
            raise busy(f"{self.limits.connections} connections are open, and no more are served", 1)
        client = (scope.get("client") or ("", 0))[0]
        wait = self._bucket(client).take()
        if wait > 0:
            raise Refusal(429, f"more than {self.limits.requests_per_second:g} requests a second: slow down", wait)
        if not self._is_own_name(headers.get("host", "")):
            # A page of another host may have let its name point here (DNS rebinding).
            raise Refusal(403, "this server is not called by that name: start it with --allow-host NAME for another")
        if (origin := headers.get("origin")) is not None and origin.partition("://")[2] != headers.get("host"):
            raise Refusal(403, "requests of other sites are not answered")
        site, navigates = headers.get("sec-fetch-site", "none"), headers.get("sec-fetch-mode") == "navigate"
        if site not in ("same-origin", "none") and not (navigates and scope["method"] == "GET"):
            raise Refusal(403, "requests of other sites are not answered")
        path = scope["path"]
        protected = path.startswith("/api/") or path in ("/metrics", "/openapi.json")
        if protected and path not in OPEN_PATHS and not is_let_in(headers, self.token):
            raise Refusal(401, "a token is needed: send Authorization: Bearer TOKEN, or log in on the page")

    def _is_own_name(self, host: str) -> bool:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
        name = name.removeprefix("[").removesuffix("]").lower().rstrip(".")
        if name in self.names:
            return True
        try:  # an address in numbers is nobody's name, so that it cannot be pointed elsewhere
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self.token is not None

    def _bucket(self, client: str) -> "Bucket":
        bucket = self._buckets.setdefault(client, Bucket(self.limits.requests_per_second, self.limits.burst))
        self._buckets.move_to_end(client)
        if len(self._buckets) > CLIENTS:
            self._buckets.popitem(last=False)
        return bucket

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read a request's body whole, within bounds, and let the application answer."""
        headers = Headers(scope=scope)
        # The token was asked for, but at OPEN_PATHS: strangers must not hold the places for pictures.
        upload = scope["path"] not in OPEN_PATHS and headers.get("content-type", "").lower().startswith("multipart/")
        if upload and self._uploads >= UPLOADS:
            raise busy(f"{UPLOADS} pictures are being sent already", 1)
        self._uploads += upload
        try:
            body = await _read(receive, headers, self.limits, upload=upload)
            replayed = False

            async def receive_again() -> Message:
                nonlocal replayed
                if replayed:
                    return await receive()
                replayed = True
                return {"type": "http.request", "body": body, "more_body": False}

            await self.app(scope, receive_again, send)
        finally:
            self._uploads -= upload


async def _read(receive: Receive, headers: Headers, limits: Limits, *, upload: bool) -> bytes:
    """The body of a request.

    Raises:
        Refusal: it is too large, or comes too slowly, or not at all.
    """
    most = limits.upload_bytes + 2**16 if upload else limits.body_bytes  # beside a picture stand a form's headers
    too_large = Refusal(413, f"that is more than {(limits.upload_bytes if upload else most):,} bytes: send less")
    length = headers.get("content-length", "0")
    if not length.isdigit() or len(length) > 18 or int(length) > most:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(limits.request_seconds):
            while True:
                message: dict[str, Any] = dict(await receive())
                if message["type"] == "http.disconnect":
                    raise Refusal(400, "the request ended before it was whole")
                body += message.get("body", b"")
                if len(body) > most:
                    raise too_large
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError as error:
        raise Refusal(408, f"the request took more than {limits.request_seconds:g} s to arrive") from error


class Bucket:
    """Lets so much through a second, and a burst at once (a token bucket)."""

    def __init__(self, per_second: float, burst: float) -> None:
        self.per_second, self.burst = per_second, burst
        self._left, self._then = burst, time.monotonic()

    def take(self) -> float:
        """Let one through, and return 0; or the seconds after which to come again."""
        now = time.monotonic()
        self._left = min(self.burst, self._left + (now - self._then) * self.per_second)
        self._then = now
        if self._left < 1:
            return (1 - self._left) / self.per_second
        self._left -= 1
        return 0.0


def is_let_in(headers: Headers, token: str | None) -> bool:
    """Whether a request carries the token, where one is needed, or the cookie of a login."""
    if token is None:
        return True
    kind, _, given = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and same(given.strip(), token):
        return True
    # By hand: SimpleCookie stops reading at the first odd one, and any program on this host may have set that.
    cookies = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
    return any(name == cookie_name(headers) and same(value, cookie_value(token)) for name, _, value in cookies)


def same(given: str, wanted: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), wanted.encode())


def cookie_name(headers: Headers) -> str:
    """What the cookie of a login is called: by the port, as a browser sends all of a host's cookies to each of them."""
    port = headers.get("host", "").rpartition(":")[2]
    return f"equipoise-{port}" if port.isdecimal() else "equipoise"


def cookie_value(token: str) -> str:
    """What a browser keeps after a login instead of the token itself."""
    return hmac.new(token.encode(), b"a session of equipoise serve", hashlib.sha256).hexdigest()
