"""The server process: a port of its own, and a graceful end."""

import socket
from pathlib import Path

import uvicorn

from equipoise.errors import UsageError, reason
from equipoise.serving.app import make_app
from equipoise.serving.protocol import bounded_protocol
from equipoise.serving.service import Service
from equipoise.serving.settings import Settings

BACKLOG = 128


class Server(uvicorn.Server):
    """uvicorn's server, which lets those who watch go first when it is told to end: they would stay for ever."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End: no new connections, streams closed, what is in flight finished."""
        self.service.end_streams()
        await super().shutdown(sockets)
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
    config = uvicorn.Config(
        app,
        http=bounded_protocol(limits),
        ws="none",
        lifespan="on",
        log_level="info" if access_log else "warning",
        access_log=access_log,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=limits.connections,
        timeout_keep_alive=int(limits.request_seconds),
        timeout_graceful_shutdown=int(limits.shutdown_seconds),
        h11_max_incomplete_event_size=2**15,
    )
    return Server(config, app.state.service)


def paths_to_serve(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    """The folders to look into; by default `runs`."""
    return paths or (Path("runs"),)
