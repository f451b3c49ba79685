"""Real servers on real ports, over small runs that were really trained."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

import equipoise
from equipoise import TrainConfig
from equipoise.config.presets import PRESETS
from equipoise.networks import DCGAN, Autoencoder
from equipoise.objectives import Tasks
from equipoise.serving.catalogue import id_of
from equipoise.serving.serve import Server, listen, make_server
from equipoise.serving.settings import Limits, Settings

SHORT: dict[str, Any] = {
    "resolution": 16,
    "images": 128,
    "batch": 16,
    "log_every": 32,
    "sample_every": 64,
    "checkpoint_every": 64,
    "ema": 100,
    "precision": "fp32",
    "device": "cpu",
}


def write_runs(folder: Path) -> None:
    """An autoencoder's run, one of classes without an encoder, and one in the plane."""
    began = PRESETS["began"]["remedies"].with_changes(network=Autoencoder(width=4, latent=8), **SHORT)
    equipoise.train(began, folder / "began", quiet=True)
    tasks = Tasks(classify_d=1, classify_g=1)
    gan = PRESETS["gan"]["default"].with_changes(data="digits", network=DCGAN(width=4, latent=8), tasks=tasks, **SHORT)
    equipoise.train(gan, folder / "nested" / "gan", quiet=True)
    toy = PRESETS["gan"]["toy"].with_changes(data="ring8", images=1024, device="cpu")
    equipoise.train(toy, folder / "toy", quiet=True)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs that no test changes."""
    folder = tmp_path_factory.mktemp("served") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EQUIPOISE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        write_runs(folder)
    return folder


@dataclass
class Client:
    """A server in a thread of this process, and requests to it."""

    port: int
    server: Server
    runs: Path

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path if path.startswith('/') else '/api/v1/' + path}"

    def request(self, method: str, path: str, **settings: Any) -> requests.Response:
        return requests.request(method, self.url(path), timeout=30, **settings)

    def get(self, path: str, **settings: Any) -> requests.Response:
        return self.request("GET", path, **settings)

    def post(self, path: str, json: Any = None, **settings: Any) -> requests.Response:
        return self.request("POST", path, json=json, **settings)

    def until_done(self, method: str, path: str, **settings: Any) -> requests.Response:
        """The answer to what may take longer than a second, asked for again as the server says."""
        while True:
            response = self.request(method, path, **settings)
            if response.status_code != 503:
                return response
            assert int(response.headers["Retry-After"]) >= 1
            time.sleep(0.1)

    def id(self, name: str) -> str:
        return id_of(self.runs / name)


Serve = Callable[..., Client]


@contextmanager
def serving(runs: Path, limits: Limits | None = None, **settings: Any) -> Iterator[Client]:
    with listen("127.0.0.1", 0) as listening:
        generous = limits or Limits(burst=10_000, requests_per_second=10_000, answer_seconds=20)
        server = make_server(Settings(paths=(runs,), device="cpu", limits=generous, **settings))
        thread = threading.Thread(target=lambda: server.run(sockets=[listening]))
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield Client(listening.getsockname()[1], server, runs)
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture(scope="session")
def served(trained: Path) -> Iterator[Client]:
    """A server that all tests share which change nothing."""
    with serving(trained) as client:
        yield client


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server of a test's own."""
    with ExitStack() as stack:
        yield lambda runs, *args, **settings: stack.enter_context(serving(runs, *args, **settings))


@pytest.fixture
def empty_run(small: TrainConfig, tmp_path: Path) -> equipoise.Run:
    """A run in a folder `runs` that has not begun: tests write into it as training does."""
    run = equipoise.Run.create(tmp_path / "runs" / "live", small)
    run.rewind(0)
    run.append("metrics.jsonl", {"images": 0, "k": 0.0})
    return run
