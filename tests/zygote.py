"""A process that has imported everything, and runs the real command in forks of itself: each starts at once.

Python takes seconds to import torch. Here one process does that, and trains nothing itself; every fork of it is a
process of its own, with its own session, signals and death.
"""

import json
import os
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from precision import note_command

IMPORTED = (
    *("cli.main", "cli.train", "cli.resume", "cli.sample"),
    *("config.presets", "views.report", "evaluation.periodic_kid"),
)


class Zygote:
    """Starts the command `equipoise` in forks; a context that ends all of them."""

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self.ask({}) == {"ready": True}
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=60)

    def ask(self, question: Mapping[str, Any]) -> Any:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def start(
        self, *words: object, cwd: Path, slow_disk: float = 0.0, environment: Mapping[str, str] | None = None
    ) -> "Forked":
        """Start `equipoise WORDS` in `cwd`; each fsync takes `slow_disk` seconds longer."""
        note_command(*words)
        told = cwd / f"told-{time.monotonic_ns()}.txt"
        told.touch()
        pid = self.ask(
            {
                "words": [str(word) for word in words],
                "cwd": str(cwd),
                "told": str(told),
                "slow_disk": slow_disk,
                "environment": dict(environment or {}),
            }
        )["pid"]
        return Forked(self, pid, told)

    def run(self, *words: object, cwd: Path, **options: Any) -> tuple[int, str]:
        """Start the command and wait for it: its exit code, and what it printed."""
        return self.start(*words, cwd=cwd, **options).wait()

    def ranks(self, count: int, *words: object, cwd: Path) -> "list[Forked]":
        """Start the command as torchrun would, in so many processes that find each other."""
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
        return [self.start(*words, cwd=cwd, environment=environment) for environment in each]


class Forked:
    """One command on its way."""

    def __init__(self, zygote: Zygote, pid: int, told: Path) -> None:
        self.zygote, self.pid, self.told = zygote, pid, told
        self.code: int | None = None

    def kill(self, number: int) -> None:
        """Send a signal; nothing happens if it has ended already."""
        os.kill(self.pid, number)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.code is None and Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"

    def wait(self) -> tuple[int, str]:
        """Its exit code (minus the signal that killed it), and what it printed on either stream."""
        if self.code is None:
            self.code = int(self.zygote.ask({"wait": self.pid})["code"])
            self.text = self.told.read_text(errors="replace")
            self.told.unlink()
        return self.code, self.text


def _serve() -> None:
    import importlib

    for name in IMPORTED:
        importlib.import_module(f"equipoise.{name}")
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401  # imported by a run at its end, for the report
    import torch

    torch.set_num_threads(1)
    answers = os.fdopen(os.dup(1), "w")  # forks print elsewhere
    for line in sys.stdin:
        question = json.loads(line)
        if "wait" in question:
            answer = {"code": os.waitstatus_to_exitcode(os.waitpid(question["wait"], 0)[1])}
        elif "words" in question:
            pid = os.fork()
            if pid == 0:
                _run(question)
            answer = {"pid": pid}
        else:
            answer = {"ready": True}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _run(question: dict[str, Any]) -> None:
    """Be the command, from its first to its last moment."""
    os.setsid()
    os.chdir(question["cwd"])
    os.environ.update(question["environment"])
    told = os.open(question["told"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(told, stream)
    if question["slow_disk"]:
        sync = os.fsync
        os.fsync = lambda file: (time.sleep(question["slow_disk"]), sync(file))[1]  # type: ignore[assignment]
    code = 1
    try:
        from equipoise.cli.main import main

        code = main(question["words"])
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
