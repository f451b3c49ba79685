"""How many images each arm trains on with each data set: as many as its budget says, or as it has time for."""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter

from equipoise.config.train_config import TrainConfig
from equipoise.errors import StudyInterrupted, UsageError
from equipoise.reading import parse_json, read_bytes
from equipoise.runs.files import to_json, write_atomically
from equipoise.studies.plan import Study
from equipoise.studies.scheduler import POLL, LocalProcess
from equipoise.studies.trials import TRIALS, Cell
from equipoise.training.signals import Stop
from equipoise.views.terminal import progress_bar

LENGTHS = "lengths.json"  # of a study whose budget is of time, in its folder
FILE = TypeAdapter(dict[str, dict[str, int]])
ROUNDS = 3  # in which the speed of every arm is measured once


def read_lengths(plan: Study, folder: Path) -> dict[str, dict[str, int]]:
    """Images that each arm trains on with each data set, as far as that is known."""
    if plan.budget.images:
        return {arm: dict.fromkeys(plan.data, plan.budget.images) for arm in plan.expanded}
    try:
        return parse_json(FILE, read_bytes(folder / LENGTHS))
    except (OSError, ValueError):
        return {}


def measured_lengths(
    plan: Study, folder: Path, configs: Mapping[Cell, TrainConfig], stop: Stop, *, quiet: bool
) -> dict[str, dict[str, int]]:
    """Images that each arm trains on with each data set; a budget of time is measured, and noted in the folder.

    All arms in turn, several times: the speed of a virtual machine changes within minutes, by a quarter, and arms that
    are measured one after the other differ by that.

    Raises:
        UsageError: it cannot be measured.
        StudyInterrupted: a signal came; all are measured anew then.
    """
    lengths, seconds = read_lengths(plan, folder), plan.budget.seconds
    missing = [cell for cell in configs if cell.data not in lengths.get(cell.arm, {})]
    if seconds is None or not missing:
        return lengths
    times: dict[Cell, float] = dict.fromkeys(missing, math.inf)
    turns = [cell for _ in range(ROUNDS) for cell in missing]
    with progress_bar("measuring the speed of each arm", quiet=quiet) as progress:
        for done, cell in enumerate(turns):
            progress(done, len(turns))
            place = folder / TRIALS / f"speed-{missing.index(cell)}"
            a_step = time_step(f"{cell.arm} on {cell.data}", place, configs[cell], plan.threads, stop)
            if a_step is None:
                raise StudyInterrupted(str(folder), 0, len(configs) * len(plan.seeds), stop.signal)
            times[cell] = min(times[cell], a_step)
    for cell in missing:
        lengths.setdefault(cell.arm, {})[cell.data] = max(1, round(seconds / times[cell])) * configs[cell].batch
    write_atomically(folder / LENGTHS, to_json(lengths, indent=1).encode())
    return lengths


def time_step(name: str, place: Path, config: TrainConfig, threads: int, stop: Stop) -> float | None:
    """Seconds per step, measured in a process of its own; None if a signal comes.

    Args:
        name: of what is measured.
        place: beside which the process writes its log.
        config: of the training.
        threads: of the process.
        stop: whether a signal has come.

    Raises:
        UsageError: it could not be measured.
    """
    job = {"config": config.to_dict(), "threads": threads}
    handle = LocalProcess(place, f"{json.dumps(job)}\n".encode(), threads)
    try:
        while (code := handle.poll()) is None and not stop.signal:
            time.sleep(POLL)
    finally:
        handle.stop()
        handle.process.wait()
    if code is None:
        return None
    if code:
        raise UsageError(f"the speed of {name} cannot be measured: {handle.error() or f'exit code {code}'}")
    return float(handle.log.read_text(errors="replace").split()[-1])
