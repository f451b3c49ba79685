"""A process that trains and scores one trial, and writes down what became of it: `python -m equipoise.studies.worker`.

The job is one line of JSON on standard input, which stays open: when it ends, as it does when whoever started this
process dies or wants it to stop, the process sends itself SIGTERM, upon which training writes a checkpoint and ends.
"""

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from equipoise.bench.energy import EnergyMeter
from equipoise.config.train_config import TrainConfig
from equipoise.errors import Diverged, Interrupted, UsageError
from equipoise.evaluation.evaluate import evaluate
from equipoise.runs import jsonl
from equipoise.runs.listing import read_status
from equipoise.runs.lock import locked_if_free
from equipoise.runs.numbered import images_of, numbered_files
from equipoise.runs.run import CHECKPOINT, CONFIG, Run
from equipoise.studies.speed import seconds_per_step
from equipoise.studies.trials import (
    Outcome,
    Progress,
    progress_file,
    read_outcome,
    read_progress,
    write_json,
    write_outcome,
)
from equipoise.training.train import resume_if_exists

BEAT = 2.0  # seconds between two notes of progress
SEED = 2**31 - 1  # of the latents that are scored: of no trial's, whose best checkpoint was chosen by those of its own
PATIENCE = 60.0  # seconds to wait for another process that still holds the trial, as one whose machine is dying


def main() -> int:
    """Do the job on standard input; returns the exit code, 0 once its outcome is written, 128 + N at a signal N."""
    line = sys.stdin.buffer.readline()
    threading.Thread(target=_stop_at_end_of_input, name="equipoise-parent", daemon=True).start()
    job = json.loads(line)
    torch.set_num_threads(job["threads"])
    if "folder" not in job:
        try:
            print(seconds_per_step(TrainConfig.from_dict(job["config"])), flush=True)
        except UsageError as error:
            print(error, flush=True)
            return 1
        return 0
    return run_trial(Path(job["folder"]), TrainConfig.from_dict(job["config"]), job["scoring"])


def _stop_at_end_of_input() -> None:
    # Not by way of `sys.stdin`: a thread that waits inside its buffer holds a lock that the interpreter wants at its
    # end, and aborts without.
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def run_trial(folder: Path, config: TrainConfig, scoring: Mapping[str, Any]) -> int:
    """Train the trial in `folder`, from its last checkpoint if there is one, score it, and write its outcome.

    Args:
        folder: of the run.
        config: of the run.
        scoring: arguments of `evaluate`.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _wait_until_free(folder)
    if read_outcome(folder):
        return 0
    outcome = Outcome(state="finished")
    with closing(Heartbeat(folder)) as heartbeat:
        try:
            resume_if_exists(config, folder, quiet=True)
        except Interrupted as stop:
            return 128 + stop.signal
        except Diverged as error:
            outcome = replace(outcome, state="diverged", message=str(error))
        except UsageError as error:
            outcome = replace(outcome, state="failed", message=str(error))
        heartbeat.trained()
        if outcome.state != "failed":
            try:
                outcome = replace(outcome, **scores(Run.open(folder), scoring))
            except UsageError as error:
                outcome = replace(outcome, state="failed", message=str(error))
    health = read_status(folder).health if (folder / CONFIG).exists() else ()
    write_outcome(folder, replace(outcome, cost=read_progress(folder), health=health))
    return 0


def scores(run: Run, scoring: Mapping[str, Any]) -> dict[str, Any]:
    """Final and best scores of a run, of latents that training has not used.

    Returns:
        `final`, `deviation`, `best`, `best_images` and `protocol`, as an `Outcome` has them.

    Raises:
        UsageError: as `evaluate`.
    """
    best, last = run.best_checkpoint(), evaluate(run, seed=SEED, device=run.config.device, quiet=True, **scoring)
    chosen = last
    if best and images_of(best) != images_of(run.checkpoints()[-1]):  # else it has just been scored
        chosen = evaluate(run, seed=SEED, best=True, device=run.config.device, quiet=True, **scoring)
    return {
        "final": {name: figure["value"] for name, figure in last.figures.items()},
        "deviation": {name: figure["deviation"] for name, figure in last.figures.items() if "deviation" in figure},
        "best": {name: figure["value"] for name, figure in chosen.figures.items()},
        "best_images": images_of(best) if best else None,
        "protocol": last.protocol,
    }


def _wait_until_free(folder: Path) -> None:
    """Wait for a process that still writes the run, up to PATIENCE; then training refuses in words."""
    until = time.monotonic() + PATIENCE
    while folder.exists() and time.monotonic() < until:
        with locked_if_free(folder) as free:
            if free is not False:
                return
        time.sleep(0.5)


class Heartbeat:
    """Notes a trial's progress and cost every BEAT seconds, on top of what earlier processes had noted."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.before = folder, read_progress(folder)
        checkpoints = numbered_files(folder / "checkpoints", CHECKPOINT)
        self.first = images_of(checkpoints[-1]) if checkpoints else 0  # from which training goes on
        self.started, self.cpu, self.energy = time.monotonic(), time.process_time(), EnergyMeter()
        self.ended, self.lock = threading.Event(), threading.Lock()
        self.speed = self.before.seconds_per_image
        self.training = True
        self.beat()
        threading.Thread(target=self._run, name="equipoise-heartbeat", daemon=True).start()

    def _run(self) -> None:
        while not self.ended.wait(BEAT):
            self.beat()

    def beat(self) -> None:
        """Note where the trial stands now."""
        with self.lock, suppress(OSError):  # of a full disk the training itself will tell
            images = self._images()
            cpu, seconds = time.process_time() - self.cpu, time.monotonic() - self.started
            cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
            if self.training and images > self.first:
                self.speed = (seconds if cuda else cpu) / (images - self.first)
            joules, before = self.energy.joules(), self.before
            now = Progress(
                images=images,
                cpu_seconds=before.cpu_seconds + cpu,
                seconds=before.seconds + seconds,
                memory=max(before.memory, torch.cuda.max_memory_allocated() if cuda else _resident_bytes()),
                joules=None if joules is None else joules + (before.joules or 0.0),
                seconds_per_image=self.speed,
                attempts=before.attempts + 1,
                host=socket.gethostname(),
            )
            write_json(progress_file(self.folder), now)

    def trained(self) -> None:
        """Note the end of the training: what follows is no part of its speed."""
        self.beat()
        self.training = False

    def _images(self) -> int:
        rows = jsonl.read_end(self.folder / "metrics.jsonl") if self.folder.exists() else []
        return int(rows[-1]["images"]) if rows else 0

    def close(self) -> None:
        """Note the end, scoring included, and stop."""
        self.ended.set()
        self.beat()


def _resident_bytes() -> int:
    """Largest resident memory of this process; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def job_line(folder: Path, config: TrainConfig, scoring: Mapping[str, Any], threads: int) -> bytes:
    """The line that asks a process for a trial."""
    job = {"folder": str(folder), "config": config.to_dict(), "scoring": dict(scoring), "threads": threads}
    return (json.dumps(job) + "\n").encode()  # which keeps names that are no text


if __name__ == "__main__":
    sys.exit(main())
