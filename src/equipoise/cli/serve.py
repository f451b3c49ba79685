"""equipoise serve: runs in the browser, and over HTTP."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from tyro.conf import Positional

from equipoise.cli.flags import parse_and_call
from equipoise.data.sources.extras import extra
from equipoise.devices import Device

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
    from equipoise.serving.serve import serve as serve_runs

    serve_runs(
        runs or ("runs",),
        host=host,
        port=port,
        token=token,
        allow_host=allow_host,
        allow_train=allow_train,
        train_data=train_data,
        device=device,
        log=log,
    )
    return 0
