"""The server process: a port of its own, and a graceful end."""

import os
import secrets
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import uvicorn

from equipoise.config.arguments import checked
from equipoise.devices import Device
from equipoise.errors import UsageError, reason
from equipoise.runs.run import CONFIG
from equipoise.serving.app import make_app
from equipoise.serving.guard import LOCAL, Guard
from equipoise.serving.protocol import bounded_protocol
from equipoise.serving.service import Service
from equipoise.serving.settings import Settings

BACKLOG = 128
TOKEN = "EQUIPOISE_TOKEN"  # noqa: S105  # the variable's name
SHORTEST = 16  # characters of a token


class Server(uvicorn.Server):
    """uvicorn's server, which lets those who watch go first when it is told to end: they would stay for ever."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End: no new connections, streams closed, what is in flight finished."""
        self.service.end_streams()
        await super().shutdown(sockets)
        if self.force_exit:  # by a second signal, at which uvicorn leaves the application's own end out
            await self.lifespan.shutdown()
        self._captured_signals.clear()  # uvicorn would raise them again: to end when asked to is no failure


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes any that is free.

    Raises:
        UsageError: the port is taken or forbidden, or there is no such address here.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(address)
            listening.listen(BACKLOG)
        except OSError:
            listening.close()
            raise
    except (OSError, UnicodeError) as error:
        raise UsageError(
            f"cannot serve at {host}, port {port}: {reason(error)}; choose another --port or --host"
        ) from error
    return listening


def make_server(settings: Settings, *, access_log: bool = False) -> Server:
    """A server that is ready to run on a socket, `Server.run(sockets=[...])`."""
    app, limits = make_app(settings), settings.limits
    service: Service = app.state.service
    config = uvicorn.Config(
        # Outside of all that answers, the application's own failures too.
        Guard(app, settings, service.telemetry, lambda: len(server.server_state.connections)),
        http=bounded_protocol(limits),
        ws="none",
        lifespan="on",
        log_level="info" if access_log else "warning",
        access_log=access_log,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(limits.request_seconds),
        timeout_graceful_shutdown=int(limits.shutdown_seconds),
        h11_max_incomplete_event_size=2**15,
    )
    server = Server(config, service)
    return server


@checked
def serve(
    paths: Sequence[Path | str] = ("runs",),
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    allow_host: Sequence[str] = (),
    allow_train: bool = False,
    train_data: Path | str | None = None,
    device: Device = "auto",
    log: bool = False,
) -> None:
    """Serve runs until told to end (SIGINT, SIGTERM): a page for people, an API for programs.

    Args:
        paths: runs, and folders of runs.
        host: address to listen at; any but this machine's own needs a token.
        port: to listen at; 0 takes one that is free.
        token: that clients must give; by default the one in EQUIPOISE_TOKEN, or one is made where it is needed, and
            printed.
        allow_host: names by which the server may be called, beside this machine's own.
        allow_train: let runs be started from the page, one at a time.
        train_data: folder with folders and zips of images that may be trained on, beside bundled data.
        device: where to compute.
        log: print a line for every request.

    Raises:
        UsageError: a path is not there, the port is taken, or the token can be guessed.
    """
    folders, data = tuple(map(Path, paths)), None if train_data is None else Path(train_data)
    token = _token(token, host)
    if allow_train and all((path / CONFIG).exists() for path in folders):
        raise UsageError("--allow-train needs a folder for new runs: name one, not only runs")
    if data is not None and not data.is_dir():
        raise UsageError(f"there is no folder {data}: give the one that holds folders of images as --train-data")
    settings = Settings(
        paths=folders,
        token=token,
        names=tuple(allow_host),
        allow_train=allow_train,
        train_data=data,
        device=device,
    )
    with listen(host, port) as listening:
        server = make_server(settings, access_log=log)
        try:
            _say_where(host, listening.getsockname()[1], token)
            if not server.service.catalogue.entries():
                print(f"no runs in {', '.join(map(str, folders))} yet: they show up as training makes them")
            sys.stdout.flush()
            server.run(sockets=[listening])
        finally:
            server.service.close()  # a second time where all went well: Ctrl-C may have come before uvicorn heeds it


def _token(given: str | None, host: str) -> str | None:
    """The token that clients need: the one given, else one that is made if the server is not for this machine alone.

    Raises:
        UsageError: it can be guessed, or cannot stand in a header.
    """
    token = given if given is not None else os.environ.get(TOKEN)
    if token is None:
        return None if host in LOCAL else secrets.token_urlsafe(24)
    if len(token) < SHORTEST or not (token.isascii() and token.isprintable()) or " " in token:
        raise UsageError(f"a token has {SHORTEST} or more letters and digits: give another, or none to have one made")
    return token


def _say_where(host: str, port: int, token: str | None) -> None:
    shown = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    # What stands behind a # stays in the browser: no server and no proxy sees or logs it.
    secret = "" if token is None else f"#token={quote(token, safe='')}"
    print(f"serving at http://{shown}:{port}/{secret}  (Ctrl-C ends it)")
    if token is not None:
        print(f"token: {token}")
