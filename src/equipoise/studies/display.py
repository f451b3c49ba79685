"""The progress of a study: all trials together, with the time left, and each that runs."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from types import TracebackType
from typing import Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from equipoise.studies.trials import Outcome, Progress, Trial, read_outcome, read_progress
from equipoise.views.terminal import BAR_WIDTH, PLAIN_SECONDS, PLAIN_STEP, duration, error_console, short

SHOWN = 16  # running trials at most
REFRESH = 1.0  # seconds


class StudyDisplay:
    """Shows a study while it goes on; a context manager. On a terminal live, anywhere else by a line now and then.

    Args:
        folder: of the study.
        total: trials in all.
        quiet: show nothing.
    """

    def __init__(self, folder: Path, total: int, *, quiet: bool = False) -> None:
        self.folder, self.total, self.quiet = folder, total, quiet
        self.console = error_console()
        self.outcomes: dict[str, Outcome] = {}
        self.due, self.next_share, self.next_line = 0.0, 0.0, 0.0
        self.live: Live | None = None

    def __enter__(self) -> Self:
        if not self.quiet and self.console.is_interactive:
            self.live = Live(console=self.console, auto_refresh=False)
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.stop()

    def update(self, trials: Sequence[Trial], running: Sequence[Trial]) -> None:
        """Show how the trials stand that are known by now, of which some are running."""
        now = time.monotonic()
        if self.quiet or (running and now < self.due):
            return
        self.due = now + REFRESH
        for trial in trials:
            if trial.name not in self.outcomes and (outcome := read_outcome(self.folder / trial.name)):
                self.outcomes[trial.name] = outcome
                if outcome.state == "failed":
                    self.console.print(Text(f"warning: {trial.name} failed: {outcome.message}", "yellow"))
        at = {trial.name: read_progress(self.folder / trial.name) for trial in running}
        share, left = self._share(trials, at), _seconds_left(trials, self.outcomes, at, len(running))
        words = self._words(share, left)
        if self.live:
            lines: list[RenderableType] = [
                Text(f"study {self.folder}", "bold"),
                ProgressBar(1.0, share, BAR_WIDTH),
                Text(words),
            ]
            lines += [Text(_line(trial, at[trial.name]), "dim") for trial in running[:SHOWN]]
            self.live.update(Group(*lines), refresh=True)
        elif not running or (share < 1 and (share >= self.next_share or now >= self.next_line)):
            self.next_share = (math.floor(share / PLAIN_STEP) + 1) * PLAIN_STEP
            self.next_line = now + PLAIN_SECONDS
            self.console.print(Text(words), soft_wrap=True)

    def _share(self, trials: Sequence[Trial], at: dict[str, Progress]) -> float:
        lengths = {trial.name: trial.config.images for trial in trials}
        done = sum(name in self.outcomes for name in lengths)
        # One that has seen all its images is still to be scored.
        begun = sum(min(0.99, at[name].images / lengths[name]) for name in at if name not in self.outcomes)
        return min(1.0, (done + begun) / max(1, self.total))

    def _words(self, share: float, left: float | None) -> str:
        states = [outcome.state for outcome in self.outcomes.values()]
        parts = [f"{math.floor(100 * share)}%", f"{len(states)} of {self.total} trials done"]
        parts += [f"{states.count(state)} {state}" for state in ("diverged", "stopped", "failed") if state in states]
        collapsed = sum(outcome.collapsed for outcome in self.outcomes.values())
        parts += [f"{collapsed} collapsed"] if collapsed else []
        return "  ".join(parts + ([f"{duration(left)} left"] if left is not None else []))


def _line(trial: Trial, at: Progress) -> str:
    seed = f"{trial.arm} on {trial.data}, seed {trial.seed}"
    return f"  {seed}: {short(at.images)} of {short(trial.config.images)} images"


def _seconds_left(
    trials: Sequence[Trial], outcomes: dict[str, Outcome], at: dict[str, Progress], places: int
) -> float | None:
    """Time left by the clock, by what an image of each arm has taken until now; None where nothing tells."""
    paces: dict[str, list[float]] = {}
    for trial in trials:
        cost = at.get(trial.name) or (outcomes[trial.name].cost if trial.name in outcomes else None)
        if cost and cost.images and cost.seconds:
            paces.setdefault(trial.arm, []).append(cost.seconds / cost.images)
    if not paces or not places:
        return None
    usual = fmean(fmean(each) for each in paces.values())
    seconds = 0.0
    for trial in trials:
        if trial.name not in outcomes:
            images = trial.config.images - (at[trial.name].images if trial.name in at else 0)
            seconds += max(0, images) * fmean(paces.get(trial.arm, [usual]))
    return seconds / places
