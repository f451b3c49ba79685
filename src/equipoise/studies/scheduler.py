"""Trials side by side: started as places become free, watched, stopped, and started again where their process died."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from equipoise.studies.trials import Outcome, Trial, read_outcome, read_progress, write_outcome
from equipoise.studies.worker import job_line

POLL = 0.2  # seconds between two looks at all trials
MOST_ATTEMPTS = 5  # processes that may die over one trial, each of which went on at the last checkpoint
WORKER = [sys.executable, "-m", "equipoise.studies.worker"]


class Handle(Protocol):
    """A trial that is being worked on somewhere."""

    def poll(self) -> int | None:
        """The exit code of its process; None while that runs."""

    def stop(self) -> None:
        """Ask it to write a checkpoint and end."""

    def error(self) -> str:
        """The end of what its process said, once it has ended."""


class Places(Protocol):
    """Where trials run: the cores of this machine, or a cluster."""

    def free(self, running: int) -> bool:
        """Whether one more trial may begin beside those that are running."""

    def start(self, folder: Path, job: bytes) -> Handle:
        """Begin to work on the trial in `folder`."""


class LocalProcess:
    """A worker process on this machine; the end of its input stops it, so it never outlives this process."""

    def __init__(self, folder: Path, job: bytes, threads: int) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        self.log = folder.with_name(f"{folder.name}.log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603
                WORKER,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": str(threads)},
                start_new_session=True,  # Ctrl-C is for the study, which then stops its trials
            )
        assert self.process.stdin is not None  # noqa: S101
        self.process.stdin.write(job)
        self.process.stdin.flush()

    def poll(self) -> int | None:
        """The exit code, None while the process runs."""
        return self.process.poll()

    def stop(self) -> None:
        """End its input, upon which it ends."""
        if self.process.stdin and not self.process.stdin.closed:
            self.process.stdin.close()

    def error(self) -> str:
        """The last line that it wrote."""
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.exists() else []
        return lines[-1] if lines else ""


@dataclass(frozen=True)
class Cores:
    """The cores of this machine, for `jobs` trials at once of `threads` each."""

    jobs: int
    threads: int

    def free(self, running: int) -> bool:
        """Whether one more may begin."""
        return running < self.jobs

    def start(self, folder: Path, job: bytes) -> Handle:
        """A process of this machine for the trial in `folder`."""
        return LocalProcess(folder, job, self.threads)


@dataclass
class Scheduler:
    """Runs trials to their outcomes.

    Attributes:
        folder: of the study.
        places: where trials run.
        scoring: how a trial is scored, for the worker.
        threads: of each trial.
        wanted: the next trial to begin, or None where there is none now; asked whenever a place is free.
        watch: called with all running trials at each look; gives those that are to be given up, and why.
        show: called at each look, for a display.
        stopping: whether a signal has come.
    """

    folder: Path
    places: Places
    scoring: Callable[[Trial], Mapping[str, Any]]
    threads: int
    wanted: Callable[[], Trial | None]
    stopping: Callable[[], bool]
    show: Callable[[list[Trial]], None] = lambda running: None
    watch: Callable[[list[Trial]], Mapping[str, str]] = lambda running: {}
    running: dict[str, tuple[Trial, Handle]] = field(default_factory=dict)
    given_up: dict[str, str] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)

    def run(self) -> None:
        """Run until nothing is wanted and nothing runs, or a signal came and all have written their checkpoints."""
        with self._stopped_at_the_end():
            while True:
                self._collect()
                while not self.stopping() and self.places.free(len(self.running)):
                    trial = self.wanted()
                    if trial is None:
                        break
                    self._start(trial)
                trials = [trial for trial, _ in self.running.values()]
                self.show(trials)
                if self.stopping() or not self.running:
                    return
                for name, why in self.watch(trials).items():
                    self.given_up.setdefault(name, why)
                    self.running[name][1].stop()
                time.sleep(POLL)

    def _start(self, trial: Trial) -> None:
        folder = self.folder.absolute() / trial.name
        job = job_line(folder, trial.config, self.scoring(trial), self.threads)
        self.running[trial.name] = trial, self.places.start(folder, job)

    def _collect(self) -> None:
        """Take note of the processes that have ended; those that died without an outcome are begun again."""
        for name, (trial, handle) in list(self.running.items()):
            code = handle.poll()
            if code is None:
                continue
            del self.running[name]
            folder = self.folder / name
            if read_outcome(folder):
                continue
            cost = read_progress(folder)
            if name in self.given_up:
                write_outcome(folder, Outcome(state="stopped", message=self.given_up[name], cost=cost))
                continue
            if self.stopping():
                continue
            self.attempts[name] = self.attempts.get(name, 0) + 1
            if self.attempts[name] < MOST_ATTEMPTS:
                self._start(trial)
            else:
                message = f"its process died {MOST_ATTEMPTS} times, at last with code {code}: {handle.error()}"
                write_outcome(folder, Outcome(state="failed", message=message, cost=cost))

    @contextmanager
    def _stopped_at_the_end(self) -> Iterator[None]:
        """At the end, whatever it is, let all that still run write their checkpoints, and wait for them."""
        try:
            yield
        finally:
            for _, handle in self.running.values():
                handle.stop()
            while any(handle.poll() is None for _, handle in self.running.values()):
                time.sleep(POLL)
