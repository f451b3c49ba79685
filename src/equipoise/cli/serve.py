"""equipoise serve: runs in the browser, and over HTTP."""

import os
import secrets
import sys
from pathlib import Path
from typing import Annotated

from pydantic import Field
from tyro.conf import Positional

from equipoise.cli.flags import parse_and_call
from equipoise.data.sources.extras import extra
from equipoise.devices import Device
from equipoise.errors import UsageError
from equipoise.runs.run import CONFIG

TOKEN = "EQUIPOISE_TOKEN"  # noqa: S105  # the variable's name
SHORTEST = 16  # characters of a token
HERE = {"127.0.0.1", "localhost", "::1"}
Port = Annotated[int, Field(ge=0, le=65535)]


def main(words: list[str]) -> int:
    """Parse the words after `equipoise serve`, and serve until told to end; returns the exit code."""
    return parse_and_call(serve, words, "serve")


def serve(
    runs: Positional[tuple[Path, ...]] = (),
    host: str = "127.0.0.1",
    port: Port = 8000,
    token: str | None = None,
    allow_host: tuple[str, ...] = (),
    allow_train: bool = False,
    train_data: Path | None = None,
    device: Device = "auto",
    log: bool = False,
) -> int:
    """Serve runs: a page that watches them live and explores what they have learnt, and an API for programs.

    Example: equipoise serve

    Example: equipoise serve runs/photos runs/digits --port 8080

    Example, for others in the network, who need the token that is printed: equipoise serve runs --host 0.0.0.0

    Args:
        runs: Runs, and folders of runs; by default the folder runs. New ones show up by themselves.
        host: Address to listen at; any but this machine's own needs a token.
        port: Port to listen at; 0 takes one that is free.
        token: Token that clients must give, of 16 characters or more. Other users of this machine can see a command's
            words, so better set it in the variable EQUIPOISE_TOKEN. By default one is made where it is needed.
        allow_host: Names by which this server may be called, beside this machine's own.
        allow_train: Let runs be started from the page: one at a time, on bundled data or those in --train-data.
        train_data: Folder with folders and zips of images that may be trained on.
        device: Where to compute.
        log: Print a line for every request.
    """
    with extra("serve", "equipoise serve"):
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    from equipoise.serving.serve import listen, make_server, paths_to_serve
    from equipoise.serving.settings import Settings

    token = _token(token, host)
    settings = Settings(
        paths=paths_to_serve(runs),
        token=token,
        names=allow_host,
        allow_train=allow_train,
        train_data=train_data,
        device=device,
    )
    if allow_train and all((path / CONFIG).exists() for path in settings.paths):
        raise UsageError("--allow-train needs a folder for new runs: name one, not only runs")
    if train_data is not None and not train_data.is_dir():
        raise UsageError(f"there is no folder {train_data}: give the one that holds folders of images as --train-data")
    listening = listen(host, port)
    with listening:
        server = make_server(settings, access_log=log)
        _say_where(host, listening.getsockname()[1], token)
        if not server.service.catalogue.entries():
            print(f"no runs in {', '.join(map(str, settings.paths))} yet: they show up as training makes them")
        sys.stdout.flush()
        server.run(sockets=[listening])
    return 0


def _token(given: str | None, host: str) -> str | None:
    """The token that clients need: the one given, else one that is made if the server is not for this machine alone.

    Raises:
        UsageError: it can be guessed, or cannot stand in a header.
    """
    token = given if given is not None else os.environ.get(TOKEN)
    if token is None:
        return None if host in HERE else secrets.token_urlsafe(24)
    if len(token) < SHORTEST or not (token.isascii() and token.isprintable()) or " " in token:
        raise UsageError(f"a token has {SHORTEST} or more letters and digits: give another, or none to have one made")
    return token


def _say_where(host: str, port: int, token: str | None) -> None:
    shown = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    # What stands behind a # stays in the browser: no server and no proxy sees or logs it.
    print(f"serving at http://{shown}:{port}/{'' if token is None else f'#token={token}'}  (Ctrl-C ends it)")
    if token is not None:
        print(f"token: {token}")
