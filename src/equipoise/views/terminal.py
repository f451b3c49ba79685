"""Training on a terminal: a live region where there is one, a plain line now and then anywhere else."""

import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise
from types import TracebackType
from typing import Self, TextIO, cast

from rich.columns import Columns
from rich.console import Console, ConsoleOptions, OverflowMethod, RenderableType, RenderResult
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.text import Text

from equipoise.errors import printable
from equipoise.views.characters import ASCII, PLAIN
from equipoise.views.labels import MEASURES
from equipoise.views.streams import LossyStream

BARS, ASCII_BARS = "▁▂▃▄▅▆▇█", "_.-=+*#@"
SPARKLINE_WIDTH = 12  # characters
SPARKLINE_UPDATES = 240  # that the sparkline reaches back
BAR_WIDTH = 80  # columns at most
SPEED_WINDOW = 60.0  # seconds over which the speed is averaged
WARNING_LASTS = 0.05  # share of the run for which the last warning stands as the state of health
PLAIN_STEP = 0.05  # share of the run between two plain lines ...
PLAIN_SECONDS = 300.0  # ... which are never further apart than this
NOT_FINITE = ("nan", "inf", "-in")  # beginnings of such numbers in text
STYLES = {"info": "dim", "warning": "yellow", "error": "bold red"}


class SpeedMeter:
    """Images a second over the last SPEED_WINDOW seconds, of this process alone."""

    def __init__(self) -> None:
        self.points: deque[tuple[float, int]] = deque()  # seconds, images seen

    def update(self, now: float, images: int) -> float | None:
        """Speed once `images` were seen at the time `now`, in seconds; None until there is something to compare."""
        if self.points and images < self.points[-1][1]:
            self.points.clear()  # the run went back to a checkpoint
        self.points.append((now, images))
        while len(self.points) > 2 and now - self.points[1][0] >= SPEED_WINDOW:
            self.points.popleft()
        then, before = self.points[0]
        elapsed = now - then
        return (images - before) / elapsed if elapsed > 0 and images > before else None


@dataclass(frozen=True)
class View:
    """All that is shown at one moment; replaced as a whole, so that the thread that draws never sees half an update."""

    title: str
    total: int
    images: int
    started: float
    clock: Callable[[], float]
    images_per_second: float | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    history: Sequence[float] = ()
    health: tuple[str, str] = ("info", "starting")

    @property
    def share(self) -> float:
        """Share of the run that is done, in [0, 1]."""
        return min(1.0, self.images / self.total) if self.total else 1.0

    def progress(self) -> list[str]:
        """Images done and to do, speed, and times."""
        speed = self.images_per_second
        parts = [f"{self.share:.0%}", f"{short(self.images)} / {short(self.total)} images"]
        if speed:
            parts.append(f"{short(speed)} images/s")
        parts.append(f"{duration(self.clock() - self.started)} elapsed")
        if speed and self.images < self.total:
            parts.append(f"{duration((self.total - self.images) / speed)} left")
        return parts

    def figures(self, *, unicode: bool, trend: bool) -> Iterator[tuple[str, str]]:
        """Name and value of each measure, the known ones first; M_global with its `trend` if asked."""
        for name in [*MEASURES, *(name for name in self.measures if name not in MEASURES)]:
            if name in self.measures:
                symbol = MEASURES[name].symbol if name in MEASURES else name.replace("_", " ")
                symbol = symbol if unicode else symbol.translate(ASCII)
                spark = sparkline(self.history, unicode=unicode) if trend and name == "m_global" else ""
                yield symbol, f"{number(self.measures[name])} {spark}".rstrip()

    def line(self, *, unicode: bool) -> str:
        """Everything on one plain line."""
        figures = (f"{name} {value}" for name, value in self.figures(unicode=unicode, trend=False))
        return "  ".join([*self.progress(), *figures])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The live region, as wide as the terminal allows."""
        unicode, (level, words) = not options.ascii_only, self.health
        yield Text(encodable(self.title, console), style="bold")
        width = min(options.max_width, BAR_WIDTH)
        yield ProgressBar(max(self.total, 1), min(self.images, self.total), width, complete_style="cyan")
        yield Segment.line()
        yield Columns([Text(part) for part in self.progress()], padding=(0, 2))
        cells: list[RenderableType] = [
            Text.assemble(
                (f"{encodable(name, console)}\n", "dim"), (value, "bold red" if value[:3] in NOT_FINITE else "bold")
            )
            for name, value in self.figures(unicode=unicode, trend=True)
        ]
        if cells:
            yield Columns(cells, padding=(0, 2))
        bullet, overflow = ("● ", "ellipsis") if unicode else ("* ", "crop")
        style = STYLES.get(level, "green")
        yield Text(bullet + encodable(words, console), style, no_wrap=True, overflow=cast(OverflowMethod, overflow))


class Display:
    """Shows a training run while it goes on; a context manager.

    On a terminal it keeps a few lines up to date; in a pipe, a log file or CI it prints a line every 5 % of the run,
    and at least every five minutes. An update only notes what to show: the drawing is done four times a second.

    Args:
        total_images: images to train on.
        title: what is trained, on what.
        console: where to show it; by default standard error.
        start_at: images seen when this process began, for the speed; by default those of the first update.
        quiet: show nothing at all.
        balanced: whether the latest measures are those of a run in balance.
        clock: seconds, from any start.
    """

    def __init__(
        self,
        total_images: int,
        title: str,
        console: Console | None = None,
        *,
        start_at: int | None = None,
        quiet: bool = False,
        balanced: Callable[[Mapping[str, float]], bool] = lambda measures: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console = console or error_console()
        self.quiet, self.balanced, self.clock, self.start_at = quiet, balanced, clock, start_at
        self.view = View(title, total_images, start_at or 0, clock(), clock)
        self._speed, self._history = SpeedMeter(), deque[float](maxlen=SPARKLINE_UPDATES)
        self._warned_at: int | None = None
        self._next_line = (0.0, 0.0)  # share of the run, seconds: whichever comes first
        self._live: Live | None = None

    def __enter__(self) -> Self:
        self.view = replace(self.view, started=self.clock())
        if self.start_at is not None:
            self._speed.update(self.view.started, self.start_at)
        if self.quiet:
            return self
        if self.console.is_interactive:
            on_screen = sys.stdout.isatty()  # what is printed to a file stays there
            self._live = Live(get_renderable=lambda: self.view, console=self.console, redirect_stdout=on_screen)
            self._live.start()
        else:
            self._print(f"{self.view.title}, {short(self.view.total)} images")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        elif not self.quiet and self.view.share >= 1 and self.view.measures:
            self._print(self.view.line(unicode=not self.console.options.ascii_only))

    def update(self, images: int, measures: Mapping[str, float], images_per_second: float | None = None) -> None:
        """Show that `images` were seen, and the latest `measures` by name; others stay as they were."""
        if self.quiet:
            return
        if "m_global" in measures and math.isfinite(measures["m_global"]):
            self._history.append(measures["m_global"])
        self.view = replace(
            self.view,
            images=images,
            measures={**self.view.measures, **measures},
            images_per_second=images_per_second
            or self._speed.update(self.clock(), images)
            or self.view.images_per_second,
            history=tuple(self._history),
        )
        self.view = replace(self.view, health=self._health())
        if self._live is None:
            (share, seconds), now = self._next_line, self.clock()
            # The last line waits until all is measured, and warned of, that the end brings.
            if self.view.share < 1 and (self.view.share >= share or now >= seconds):
                self._next_line = (math.floor(self.view.share / PLAIN_STEP) + 1) * PLAIN_STEP, now + PLAIN_SECONDS
                self._print(self.view.line(unicode=not self.console.options.ascii_only))

    def message(self, level: str, text: str) -> None:
        """Print a message above the live region, to stay; `level` is info, warning or error."""
        if self.quiet:
            return
        if level in ("warning", "error"):
            self.view = replace(self.view, health=(level, text))
            self._warned_at = self.view.images
        prefix = "" if level == "info" else f"{level}: "
        self._print(f"{prefix}{text}", STYLES.get(level, ""))

    def _health(self) -> tuple[str, str]:
        """An error stands; a warning until a while has passed without another."""
        if self.view.health[0] == "error" or (
            self._warned_at is not None and self.view.images < self._warned_at + WARNING_LASTS * self.view.total
        ):
            return self.view.health
        if self._warned_at is not None:
            return "info", f"no new warning since {short(self._warned_at)} images"
        return ("good", "balanced") if self.balanced(self.view.measures) else ("info", "no warnings")

    def _print(self, text: str, style: str = "") -> None:
        self.console.print(Text(encodable(text, self.console), style=style), soft_wrap=self._live is None)


@contextmanager
def progress_bar(task: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr for a task that counts images; yields a callback (images done, images in all).

    The bar appears with the first call, so that a task that was already done shows nothing.
    """
    # As plain text: brackets in the name of a folder are no styles.
    name = TextColumn("{task.description}", markup=False)
    bar = Progress(name, BarColumn(), MofNCompleteColumn(), console=error_console(), transient=True)
    shown: TaskID | None = None
    ended = quiet

    def update(done: int, total: int) -> None:
        nonlocal shown
        if ended:
            return  # nobody would stop a bar that begins now
        if shown is None:
            bar.start()
            shown = bar.add_task(printable(task), total=total)
        bar.update(shown, completed=done)

    try:
        yield update
    finally:
        ended = True
        if shown is not None:
            bar.stop()


def error_console() -> Console:
    """Standard error, whose reader may leave at any time: what is shown there is not worth ending the work for."""
    return Console(file=cast(TextIO, LossyStream(sys.stderr)))


def encodable(text: str, console: Console) -> str:
    """`text` in the characters that `console` can write."""
    if console.options.ascii_only:
        text = text.translate(ASCII)
    return text.encode(console.encoding, PLAIN).decode(console.encoding, "replace")


def short(count: float) -> str:
    """Three digits and a unit: 12.3k, 300k, 1.2M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= 0.9995 * size:
            return f"{count / size:.3g}{unit}"
    return f"{count:.3g}"


def duration(seconds: float) -> str:
    """Days, hours, minutes and seconds, such as 0:01:40."""
    return str(timedelta(seconds=round(seconds)))


def number(value: float) -> str:
    """Three digits that keep their width while the value moves; small values as 5e-05."""
    if not math.isfinite(value) or 0 < abs(value) < 1e-3:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:#.3g}".rstrip(".")


def sparkline(history: Sequence[float], *, unicode: bool = True) -> str:
    """SPARKLINE_WIDTH characters at most, each the mean of its part of `history`; logarithmic if all are positive."""
    if len(history) < 2:
        return ""
    count = min(SPARKLINE_WIDTH, len(history))
    edges = [round(index * len(history) / count) for index in range(count + 1)]
    means = [sum(history[start:end]) / (end - start) for start, end in pairwise(edges)]
    means = [math.log(mean) for mean in means] if min(means) > 0 else means
    low, bars = min(means), BARS if unicode else ASCII_BARS
    span = max(means) - low or 1.0
    return "".join(bars[round((mean - low) / span * (len(bars) - 1))] for mean in means)
