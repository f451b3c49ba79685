"""Server process that imports torch once, and runs the real command in forks of itself, which start at once.

Importing torch takes seconds. The server trains nothing itself; each fork is a process with its own session, signals
and exit. Requests and replies are lines of JSON on the server's stdin and stdout.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from precision import NOTE_FILE, asked

IMPORTED = (
    *("cli.main", "cli.train", "cli.resume", "cli.sample"),
    *("config.presets", "views.report", "evaluation.periodic_kid", "serving.serve", "studies.study"),
)


class Zygote:
    """Starts the command `equipoise` in forks; a context that ends all of them."""

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self.request() == {"ready": True}
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=60)

    def request(self, **fields: Any) -> Any:
        """Send a request, and wait for the reply."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(fields) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def start(
        self, *words: object, cwd: Path, slow_disk: float = 0.0, environment: Mapping[str, str] | None = None
    ) -> "Forked":
        """Start `equipoise WORDS` in `cwd`; each fsync takes `slow_disk` seconds longer."""
        output = cwd / f"output-{time.monotonic_ns()}.txt"
        output.touch()
        reply = self.request(
            words=[str(word) for word in words],
            cwd=str(cwd),
            output=str(output),
            slow_disk=slow_disk,
            environment={**(environment or {}), NOTE_FILE: f"{output}.asked"},
        )
        return Forked(self, reply["pid"], output)

    def run(self, *words: object, cwd: Path, **options: Any) -> tuple[int, str]:
        """Start the command and wait for it: exit code and output."""
        return self.start(*words, cwd=cwd, **options).wait()

    def ranks(self, count: int, *words: object, cwd: Path) -> "list[Forked]":
        """Start the command as torchrun would, in `count` processes that communicate."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        common = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": str(count),
            "LOCAL_WORLD_SIZE": str(count),
            "GROUP_RANK": "0",
            "GROUP_WORLD_SIZE": "1",
            "TORCHELASTIC_RUN_ID": "tests",
        }
        each = [common | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
        self.request(module="lightning_fabric")  # which takes seconds to import, too
        return [self.start(*words, cwd=cwd, environment=environment) for environment in each]


class Forked:
    """A running command."""

    def __init__(self, zygote: Zygote, pid: int, output: Path) -> None:
        self.zygote, self.pid, self.output = zygote, pid, output
        self.code: int | None = None

    def kill(self, number: int) -> None:
        """Send a signal; nothing happens if it has ended already."""
        os.kill(self.pid, number)

    @property
    def alive(self) -> bool:
        """Whether it still runs; it is a zombie after its end, since the server waits for it only on request."""
        return self.code is None and Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"

    def wait(self) -> tuple[int, str]:
        """Exit code, or minus the signal that killed it; and stdout and stderr together."""
        if self.code is None:
            self.code = int(self.zygote.request(wait=self.pid)["code"])
            self.text = self.output.read_text(errors="replace")
            self.output.unlink()
            note = Path(f"{self.output}.asked")
            if note.exists():  # the command asked what precision `auto` means (see precision.py)
                asked.append("cpu")
                note.unlink()
        return self.code, self.text


def _serve() -> None:
    import importlib

    for name in IMPORTED:
        importlib.import_module(f"equipoise.{name}")
    import numpy as np
    import torch
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from equipoise.views.figures import Series, curves

    torch.set_num_threads(1)
    # What a run draws at its end, for the report, is drawn quicker from the second time on.
    FigureCanvasAgg(curves({"energy_real": Series(np.arange(2.0), np.arange(2.0))}, gamma=0.5, title="x")).draw()
    replies = os.fdopen(os.dup(1), "w")  # a copy, since forks replace their stdout
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            reply = {"code": os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])}
        elif "words" in request:
            pid = os.fork()
            if pid == 0:
                _run(request)
            reply = {"pid": pid}
        else:
            if "module" in request:
                importlib.import_module(request["module"])
            reply = {"ready": True}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def _run(request: dict[str, Any]) -> None:
    """Run the command in this fork, and exit without returning to the server's loop."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGHUP):  # which whoever started the tests may have had ignored
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    os.chdir(request["cwd"])
    os.environ.update(request["environment"])
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(output, stream)
    if request["slow_disk"]:
        sync = os.fsync
        os.fsync = lambda file: (time.sleep(request["slow_disk"]), sync(file))[1]  # type: ignore[assignment]
    code = 1
    try:
        from equipoise.cli.main import main

        code = main(request["words"])
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
