"""What an evaluation is asked to do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from equipoise.reading import expand_home
from equipoise.runs.run import CONFIG, Run

Split = Literal["held-out", "train", "all"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """Settings of an evaluation; see `equipoise.evaluate`, which takes them one by one."""

    images: str
    reference: str | None = None
    features: str = "auto"
    weights: Path | None = None
    metrics: tuple[str, ...] | None = None
    count: int = 5000
    split: Split = "held-out"
    resolution: int | str | None = None
    crop: int | None = None
    seed: int = 0
    ema: bool = True
    best: bool = False


def open_run(name: str) -> Run | None:
    """The run in the folder `name`, or None if that is no run's folder.

    Raises:
        UsageError: its configuration cannot be read.
    """
    path = expand_home(name)
    return Run.open(path) if (path / CONFIG).is_file() else None
