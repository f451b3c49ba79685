"""Fixtures for pages: Chromium, visits that fail on any error, and `equipoise serve` in a process of its own."""

import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from zygote import Forked, Zygote

Serve = Callable[..., "Server"]
Open = Callable[..., "Visit"]
PATIENCE = 60  # seconds, of a machine that has much else to do


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where Debian's Chromium, or another one, is."""
    names = [os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome"]
    found = next((place for name in names if name and (place := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium: `apt-get install chromium`, or name one in CHROMIUM")
    return found


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


class Visit:
    """A page, and what went on in it: errors, refusals of its Content-Security-Policy among them, and requests.

    What goes wrong fails the test as the page is closed, unless `expected` has a part of its message.
    """

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.context = browser.new_context(accept_downloads=True, **options)
        self.context.set_default_timeout(1000 * PATIENCE)
        self.page = self.context.new_page()
        self.host = urlsplit(address).netloc
        self.errors: list[str] = []
        self.expected = ["503 (Service Unavailable)"]  # while the server works on an answer; the page asks again
        self.hosts: set[str] = set()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.page.on("request", self._note)
        self.page.goto(address)

    def _note(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("blob", "data"):
            self.hosts.add(parts.netloc)

    def until(self, expression: str, argument: Any = None) -> None:
        """Wait until JavaScript is true of the page; Playwright's own way to would need its policy to allow eval."""
        deadline = time.monotonic() + PATIENCE
        while not self.page.evaluate(expression, argument):
            assert time.monotonic() < deadline, f"never came true: {expression}"
            self.page.wait_for_timeout(50)

    def serious(self) -> list[str]:
        """What axe-core finds serious or worse in the page as it is."""
        axe = pytest.importorskip("axe_playwright_python.sync_playwright")
        found = axe.Axe().run(self.page).response["violations"]
        nodes = [
            (each["id"], node["html"], node["failureSummary"])
            for each in found
            for node in each["nodes"]
            if each["impact"] in ("serious", "critical")
        ]
        return [" ".join(node) for node in nodes]

    def close(self) -> None:
        print(self.page.url, self.page.inner_text("body"), sep="\n")  # which pytest shows of a test that failed
        self.context.close()  # the last messages come as it closes
        assert self.hosts <= {self.host}, "nothing is loaded from elsewhere"
        assert [error for error in self.errors if not any(part in error for part in self.expected)] == []


@pytest.fixture
def visit(browser: Any) -> Iterator[Open]:
    """Opens an address; what goes wrong in the page fails the test, unless the test expects it."""
    visits: list[Visit] = []

    def go(address: str, **options: Any) -> Visit:
        visits.append(Visit(browser, address, **options))
        return visits[-1]

    yield go
    for each in visits:
        each.close()


class Server:
    """`equipoise serve` with some words, in a process of its own."""

    def __init__(self, zygote: Zygote, cwd: Path, *words: object, port: int = 0) -> None:
        self.process = zygote.start("serve", *words, "--port", port, "--device", "cpu", cwd=cwd)
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(r"serving at (http://[^/]*/)", self.process.output.read_text())):
            assert self.process.alive, self.process.output.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        self.address = found[1]
        self.port = int(self.address.rpartition(":")[2].rstrip("/"))

    def end(self, how: int = signal.SIGTERM) -> None:
        self.process.kill(how)
        self.process.wait()


@pytest.fixture(scope="module")
def serving(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Starts servers, and ends them."""
    servers: list[Server] = []
    folder = tmp_path_factory.mktemp("servers")

    def start(*words: object, port: int = 0) -> Server:
        servers.append(Server(zygote, folder, *words, port=port))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.code is None:
            server.end()


def train(zygote: Zygote, folder: Path, *words: object) -> Forked:
    """A training of some seconds, in a process of its own."""
    settings = ["--data", "digits", "--resolution", 16, "--width", 4, "--latent", 8, "--precision", "fp32", "--quiet"]
    return zygote.start(
        "train", "began", *settings, "--device", "cpu", "--out", folder, *words, cwd=folder.parent.parent
    )
