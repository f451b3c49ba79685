"""What a run has done so far, from the files of its folder alone: `curves.png` and `report.html`."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import BaseModel, BeforeValidator, Field

from equipoise.data import TOYS
from equipoise.errors import printable
from equipoise.reading import parse_yaml, read_bytes
from equipoise.runs import jsonl
from equipoise.runs.files import write_atomically
from equipoise.runs.numbered import images_of, numbered_files
from equipoise.views.figures import Mark, Series, curves
from equipoise.views.labels import MEASURES, Measure

MAX_MARKS = 60  # vertical lines in the curves
MAX_EVENTS = 200  # lines in the report, the latest ones
MAX_PICTURES = 24  # embedded
MOST_PICTURE = 2**26  # bytes of one
PNG_END = b"IEND\xaeB`\x82"  # a picture without it is still being written, or was cut short
DOTS_PER_INCH = 200  # 9 inches at 200 stay sharp at 900 pixels on a screen of twice that density


class Event(NamedTuple):
    """One line of `events.jsonl`."""

    images: int
    level: str
    kind: str
    message: str


class Objective(BaseModel):
    """What a report says of an objective."""

    name: str = ""
    gamma: float | None = None


def _as_mapping(value: object) -> object:
    """An objective may be given by its name alone."""
    return {"name": value} if isinstance(value, str) else value


class Config(BaseModel):
    """What a report says of a configuration, however old; nothing of one that is damaged."""

    objective: Annotated[Objective, BeforeValidator(_as_mapping)] = Objective()
    data: str = ""
    resolution: int | str = ""
    images: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Images to train on; 0 where the configuration does not say."""
    made_with: dict[str, str] = {}


@dataclass(frozen=True)
class RunSummary:
    """What a run folder says; every part may be empty."""

    config_text: str
    config: Config
    measures: Mapping[str, Series]
    events: Sequence[Event]
    pictures: Sequence[tuple[int, Path]]
    """Images seen and the file of the samples, in order."""

    @property
    def images(self) -> int:
        """Images seen at the last sign of life."""
        measured = [series.images[-1] for series in self.measures.values()]
        pictured = [images for images, _ in self.pictures]
        return int(max([*measured, *pictured], default=0))

    @property
    def gamma(self) -> float | None:
        """Diversity ratio of the objective, if it has one."""
        return self.config.objective.gamma

    @property
    def title(self) -> str:
        """Objective, data and, of images, the resolution, such as `BEGAN on digits, 32×32`."""
        name, data, side = self.config.objective.name, printable(self.config.data), self.config.resolution
        title = f"{name.upper()} on {Path(data).name or data}" if name and data else "A training run"
        size = str(side).replace("x", "×") if "x" in str(side) else f"{side}×{side}"
        return f"{title}, {size}" if side and data not in TOYS else title


def read_summary(folder: Path) -> RunSummary:
    """Read a run folder; files that are missing, empty or cut off in their last line are no error."""
    try:
        text = read_bytes(folder / "config.yaml").decode("utf-8", "replace")
    except OSError:
        text = ""
    config = Config()
    with suppress(ValueError):
        config = Config.model_validate(parse_yaml(text))

    points: dict[str, dict[int, float]] = {}  # by measure and images: what a resumed run measured again counts once
    for row in jsonl.read(folder / "metrics.jsonl"):
        for name, value in row.items():
            if name != "images":
                points.setdefault(name, {})[row["images"]] = value
    measures = {name: Series(*np.array(sorted(each.items()), np.float64).T) for name, each in points.items()}

    events = [Event(*(row[name] for name in Event._fields)) for row in jsonl.read(folder / "events.jsonl")]
    pictures = [(images_of(path), path) for path in numbered_files(folder / "samples", ".png")]
    return RunSummary(text, config, measures, events, pictures)


def draw_curves(folder: Path) -> Path:
    """Write `curves.png` into a run folder: its measures over images seen. Safe in any thread."""
    write_atomically(folder / "curves.png", _curves_png(read_summary(folder)))
    return folder / "curves.png"


def write_report(folder: Path) -> Path:
    """Write `report.html`, one file that needs no other, and `curves.png` into a run folder. Safe in any thread."""
    summary = read_summary(folder)
    png = _curves_png(summary)
    write_atomically(folder / "curves.png", png)
    write_atomically(folder / "report.html", _page(summary, png).encode(errors="replace"))
    return folder / "report.html"


def _curves_png(summary: RunSummary) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    marks = [Mark(event.images, event.level) for event in summary.events if event.level in ("warning", "error")]
    figure = curves(summary.measures, gamma=summary.gamma, marks=marks[-MAX_MARKS:], title=summary.title)
    FigureCanvasAgg(figure)  # a canvas of the figure's own: pyplot keeps global state, and is not safe in threads
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=DOTS_PER_INCH)
    return png.getvalue()


def _page(summary: RunSummary, curves_png: bytes) -> str:
    done, total, title = summary.images, summary.config.images, _e(summary.title)
    share = (
        f' of {total:,} images <progress max="{total}" value="{min(done, total)}"></progress>' if total else " images"
    )
    percent = f" {min(100, 100 * done // total)} %" if total else ""
    picture = f'<img class="curves" src="{_embedded(curves_png)}" alt="{_e(_curves_in_words(summary))}">'
    sections = [
        f"<header><h1>{title}</h1><p>{done:,}{share}{percent}</p></header>",
        *_score(summary),
        _figures(summary),
        _health(summary),
        _slider("Samples", summary.pictures),
        f"<section><h2>Curves</h2>{picture}</section>",
        f"<section><h2>Configuration</h2><pre>{_e(summary.config_text) or 'no config.yaml'}</pre></section>",
        f"<footer>{_e(_versions(summary))}</footer>",
    ]
    body = "\n".join(sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n"
        f"<body><main>\n{body}\n</main><script>{SCRIPT}</script></body></html>\n"
    )


def _score(summary: RunSummary) -> list[str]:
    """The sentence with which the training ended, if it has."""
    sentences = [event.message for event in summary.events if event.kind == "score" and event.images == summary.images]
    return [f"<section><h2>Score</h2><p>{_e(sentence)}.</p></section>" for sentence in sentences[-1:]]


def _figures(summary: RunSummary) -> str:
    """The last value of every measure, the known ones first."""
    cells = []
    for name in [*MEASURES, *sorted(summary.measures.keys() - MEASURES.keys())]:
        if name not in summary.measures:
            continue
        _, label, note, _ = MEASURES.get(name, Measure("", _e(name.replace("_", " "))))
        if name == "balance" and summary.gamma is not None:
            note = f"boundary: γ = {summary.gamma:g}"
        value = f"{summary.measures[name].values[-1]:.4g}"
        cells.append(f"<div><dt>{label}</dt><dd>{value}</dd><dd class=note>{note}</dd></div>")
    listed = f"<dl>{''.join(cells)}</dl>" if cells else "<p>Nothing measured yet.</p>"
    return f"<section><h2>Latest figures</h2>{listed}</section>"


def _health(summary: RunSummary) -> str:
    """In words: how many warnings and errors, and everything that happened."""
    counts = {level: sum(event.level == level for event in summary.events) for level in ("error", "warning")}
    counted = [f"{count} {level}{'s' if count > 1 else ''}" for level, count in counts.items() if count]
    worst = next((level for level, count in counts.items() if count), "well")
    items = "".join(
        f'<li class="{event.level if event.level in counts else "info"}"><b>{event.images:,} images</b> '
        f"{f'{event.level}: ' if event.level in counts else ''}{_e(event.message or event.kind)}</li>"
        for event in summary.events[-MAX_EVENTS:]
    )
    sentence = ", ".join(counted).capitalize() if counted else "No warnings"
    return f'<section><h2>Health</h2><p class="{worst}">{sentence}.</p><ol>{items}</ol></section>'


def _slider(heading: str, pictures: Sequence[tuple[int, Path]]) -> str:
    """Pictures over time with a slider; without scripts, and on paper, the last one."""
    evenly = np.linspace(0, len(pictures) - 1, min(len(pictures), MAX_PICTURES)).round().astype(int)
    chosen = [pictures[index] for index in evenly]  # with the first and the last
    shown = [(images, png) for images, path in chosen if (png := _whole_png(path))]
    if not shown:
        return f"<section><h2>{heading}</h2><p>None yet.</p></section>"
    last = len(shown) - 1
    frames = "".join(
        f'<figure{"" if index == last else " hidden"}><img src="{_embedded(content)}" '
        f'alt="{heading} after {images:,} images"><figcaption>after {images:,} images</figcaption></figure>'
        for index, (images, content) in enumerate(shown)
    )
    control = f'<input type="range" min="0" max="{last}" value="{last}" aria-label="{heading} over time" hidden>'
    return f'<section class="slides"><h2>{heading}</h2>{control if last else ""}{frames}</section>'


def _whole_png(path: Path) -> bytes:
    """A picture's bytes; none where it is cut short, too large, or gone meanwhile."""
    try:
        content = read_bytes(path, MOST_PICTURE)
    except OSError:
        return b""
    return content if content.endswith(PNG_END) else b""


def _embedded(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def _curves_in_words(summary: RunSummary) -> str:
    last = ", ".join(f"{name.replace('_', ' ')} {series.values[-1]:.3g}" for name, series in summary.measures.items())
    return f"Curves over images seen; at the end: {last}" if last else "No measures yet"


def _versions(summary: RunSummary) -> str:
    """What the run was made with, and what wrote the report."""
    made = ", ".join(f"{name} {number}" for name, number in summary.config.made_with.items())
    return f"{f'Run made with {made}. ' if made else ''}Report written by equipoise {version('equipoise')}."


def _e(text: object) -> str:
    return html.escape(str(text))


STYLE = """
:root { color-scheme: light dark; --ink: #222; --faint: #666; --ground: #fff; --card: #f4f4f2; --line: #ddd }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --faint: #a0a0a0; --ground: #16181b; --card: #212428; --line: #3a3e44 }
  .curves { filter: invert(0.92) hue-rotate(180deg); mix-blend-mode: lighten }
}
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
main { max-width: 900px; margin: 0 auto; padding: 1.5rem 1rem }
h1 { margin: 0; font-size: 1.7rem } h2 { margin: 2rem 0 .6rem; font-size: 1.15rem } header p { margin: .3rem 0 }
progress { width: 12rem; vertical-align: middle; accent-color: #0072b2; margin: 0 .4rem }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(165px, 1fr)); gap: .6rem; margin: 0 }
dl div, pre { background: var(--card); border-radius: 8px; padding: .7rem .9rem }
dt, .note, figcaption, footer { color: var(--faint); font-size: .85rem } dd { margin: 0 }
dd:not(.note) { font-size: 1.5rem; font-variant-numeric: tabular-nums }
ol { padding: 0; list-style: none } li { border-left: 4px solid var(--line); padding: .1rem .8rem; margin: .3rem 0 }
.warning { border-left: 4px solid #e69f00; padding-left: .8rem } .error { border-left: 4px solid #c1272d }
.well, p.error { border-left: 4px solid #009e73; padding-left: .8rem } p.error { border-color: #c1272d }
figure { margin: .4rem 0 } img { max-width: 100%; height: auto }
input { width: 100%; max-width: 34rem; accent-color: #0072b2 }
pre { overflow-x: auto; font-size: .85rem } footer { margin-top: 2rem; border-top: 1px solid var(--line) }
@media print { section { break-inside: avoid } input { display: none } .curves { filter: none } }
"""
SCRIPT = """
for (const slides of document.querySelectorAll(".slides")) {
  const slider = slides.querySelector("input"), frames = slides.querySelectorAll("figure");
  if (!slider) continue;
  slider.hidden = false;
  slider.oninput = () => frames.forEach((frame, index) => { frame.hidden = index != slider.value; });
}
"""
