"""Trials on a Ray cluster: each a task that starts a worker process on its node, and begins anew where that dies.

The study's folder must lie on a disk that every node sees, and equipoise be installed on each.
"""

import logging
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from equipoise.errors import UsageError, quoted, reason
from equipoise.studies.scheduler import WORKER, Handle

ANSWER = 5.0  # seconds in which an address must answer
POLL = 0.5  # seconds between two looks for a request to stop
WAITING = 2  # trials that wait on the cluster beside those that have a place, so that none stays empty


def work(folder: str, job: bytes, threads: int) -> int:
    """Work on a trial as a task of Ray: its worker process ends with this one, and when `stop_file` is there."""
    stop = stop_file(Path(folder))
    command = [sys.executable, *WORKER[1:]]
    log = Path(folder).with_name(f"{Path(folder).name}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output)  # noqa: S603
    assert process.stdin is not None  # noqa: S101
    process.stdin.write(job)
    process.stdin.flush()
    try:
        while process.poll() is None and not stop.exists():
            time.sleep(POLL)
    finally:
        process.stdin.close()
    return process.wait()


def stop_file(folder: Path) -> Path:
    """What asks the task of the trial in `folder` to stop, wherever it runs."""
    return folder.with_name(f"{folder.name}.stop")


@dataclass
class Task:
    """A trial that is a task of the cluster."""

    folder: Path
    reference: Any
    failure: str = ""

    def poll(self) -> int | None:
        """The worker's exit code, None while it runs or waits; 1 where the cluster has given it up."""
        import ray

        ready, _ = ray.wait([self.reference], timeout=0)
        if not ready:
            return None
        stop_file(self.folder).unlink(missing_ok=True)
        try:
            return int(ray.get(self.reference))
        except Exception as error:  # of many kinds: a node, a worker or the task itself
            self.failure = reason(error)
            return 1

    def stop(self) -> None:
        """Ask the task to stop."""
        stop_file(self.folder).touch()

    def error(self) -> str:
        """Why the cluster gave it up, or the last line that its worker wrote."""
        log = self.folder.with_name(f"{self.folder.name}.log")
        lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        return self.failure or (lines[-1] if lines else "")


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster, on which each trial takes `threads` processors."""

    threads: int

    def free(self, running: int) -> bool:
        """Whether one more may begin; the cluster may grow and shrink meanwhile."""
        import ray

        resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
        return running < int(resources.get("CPU", 0)) // self.threads + WAITING

    def start(self, folder: Path, job: bytes) -> Handle:
        """A task for the trial in `folder`; Ray begins it anew on another node if its own dies."""
        import ray

        folder.parent.mkdir(parents=True, exist_ok=True)
        stop_file(folder).unlink(missing_ok=True)
        environment = {"env_vars": {"OMP_NUM_THREADS": str(self.threads)}}
        options = {"num_cpus": self.threads, "max_retries": -1, "runtime_env": environment}
        task = ray.remote(**options)(work)  # type: ignore[call-overload]
        return Task(folder, task.remote(str(folder), job, self.threads))


@contextmanager
def connected(address: str, threads: int) -> Iterator[Cluster]:
    """Inside, this process is connected to the cluster at `address`, or to the one of this machine by `auto`.

    Raises:
        UsageError: Ray is not installed, or no cluster answers there.
    """
    if find_spec("ray") is None:
        raise UsageError("a cluster needs Ray: pip install 'equipoise[cluster]'")
    if address != "auto":
        _require_answer(address)
    import ray

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"no Ray cluster answers at {quoted(address)} ({reason(error)}): start one with `ray start --head`, or "
            "give --ray its address"
        ) from error
    try:
        yield Cluster(threads)
    finally:
        with suppress(Exception):  # a cluster that is gone by now
            ray.shutdown()


def _require_answer(address: str) -> None:
    """Refuse an address where nothing listens, at once; Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(f"{quoted(address)} is no address of a Ray cluster: use --ray auto, or HOST:PORT")
    try:
        socket.create_connection((host, int(port)), ANSWER).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"no Ray cluster answers at {address} ({reason(error)}): start it, or give --ray another address"
        ) from error
