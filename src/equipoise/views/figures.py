"""Pictures people look at: grids of images, and the curves of a run."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from equipoise.errors import UsageError, one_line
from equipoise.views.labels import PANELS, REAL, Measure, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

CELL = 56  # pixels: a smaller cell is enlarged until it has these, so 32 becomes 64
MODES: dict[int, Literal["L", "RGB", "RGBA"]] = {1: "L", 3: "RGB", 4: "RGBA"}


def grid(
    images: "Tensor | NDArray[np.uint8]", columns: int | None = None, gap: int = 2, scale: int | None = None
) -> Image.Image:
    """Lay images out in rows, left to right, on a white ground (transparent for RGBA).

    Args:
        images: (N, C, H, W) uint8, C of 1 (gray), 3 (RGB) or 4 (RGBA); on any device.
        columns: images a row; by default near-square, with few empty cells.
        gap: pixels of ground between two cells, none around the grid.
        scale: whole factor of enlargement, every pixel staying a sharp square; by default cells reach about 64 pixels.

    Raises:
        UsageError: not uint8, not of that shape, no image at all, or `columns`, `gap` or `scale` out of range.
    """
    pixels = np.asarray(images if isinstance(images, np.ndarray) else images.detach().cpu())
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1] not in MODES or 0 in pixels.shape:
        raise UsageError(
            f"a grid needs uint8 images (N, C, H, W) with C of 1, 3 or 4, not {pixels.dtype} {pixels.shape}"
        )
    count, channels, height, width = pixels.shape
    if columns is None:  # nearest to a square, where an empty cell weighs as much as two columns too many

        def untidiness(columns: int) -> tuple[int, int]:
            rows = math.ceil(count / columns)
            empty = rows * columns - count
            return 2 * empty + columns - rows, empty

        columns = min(range(math.ceil(math.sqrt(count)), count + 1), key=untidiness)
    scale = math.ceil(CELL / max(height, width)) if scale is None else scale
    if columns < 1 or scale < 1 or gap < 0:
        raise UsageError(f"columns and scale must be 1 or more and gap 0 or more, not {columns}, {scale} and {gap}")
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    cells = pixels.repeat(scale, axis=2).repeat(scale, axis=3).transpose(0, 2, 3, 1)
    down, across = height * scale + gap, width * scale + gap
    sheet = np.full((rows * down - gap, columns * across - gap, channels), 0 if channels == 4 else 255, np.uint8)
    for index, cell in enumerate(cells):
        top, left = index // columns * down, index % columns * across
        sheet[top : top + down - gap, left : left + across - gap] = cell
    return Image.fromarray(sheet[..., 0] if channels == 1 else sheet, MODES[channels])


class Series(NamedTuple):
    """One measure over a run: both (n,), finite, in order of `images`."""

    images: NDArray[np.float64]
    """Images seen."""
    values: NDArray[np.float64]


class Mark(NamedTuple):
    """Something that happened at a point of a run."""

    images: int
    level: str
    """`warning` or `error`."""


SIDES = {"real": "real", "fake": "generated"}
MAX_UNKNOWN = 6  # panels of measures that PANELS does not name
MAX_POINTS = 2_000  # of a line; more are averaged
FEW = 40  # points that are shown as such, unsmoothed
WIDTH, ROW = 9.0, 2.3  # inches: of a figure of curves, and from one row of panels to the next
LEFT, RIGHT = 0.78, 0.16  # inches beside each panel: its unit and numbers; half of the last number below it
TOP, ABOVE, BOTTOM = 0.18, 0.56, 0.46  # inches over all, for the title; over each panel, for its own; below all
# Okabe and Ito's palette, told apart by the colour-blind
BLUE, VERMILION, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
TITLE, LEAST_TITLE = 12.5, 8.0  # points
INK, FAINT = "#333333", "#8a8a8a"
COLOURS = {"m_global": GREEN, "k": PURPLE, "balance": VERMILION, "lr": FAINT}
LEVELS = {"warning": "#e69f00", "error": "#c1272d"}


def curves(
    measures: Mapping[str, Series], *, gamma: float | None = None, marks: Sequence[Mark] = (), title: str = ""
) -> "Figure":
    """Draw a run's measures over images seen, 9 inches wide: one panel a known group, a plain one for any other.

    Args:
        measures: by the names they have in the run's metrics; empty ones are left out.
        gamma: BEGAN's diversity ratio, drawn where the energies and their balance should lie.
        marks: warnings and errors, drawn as faint vertical lines.
        title: one line above all.
    """
    from matplotlib.figure import Figure

    measures = {name: thinned(series, MAX_POINTS) for name, series in measures.items() if len(series.values)}
    panels = _panels(measures)
    rows = max(1, math.ceil(len(panels) / 2))
    height = TOP + ROW * rows + BOTTOM
    figure = Figure(figsize=(WIDTH, height), facecolor="white")
    levels = [level for level in ("error", "warning") if any(mark.level == level for mark in marks)]
    if title:
        text, size = _fitted(title, WIDTH * (0.93 - 0.075 * len(levels)))  # drawn letters are up to 5 % wider
        figure.suptitle(
            _without_maths(text), x=0.012, y=1 - 0.08 / height, ha="left", size=size, weight="bold", color=INK
        )
    if not panels:
        figure.text(0.5, 0.45, "no measures yet", ha="center", color=FAINT, size=12)
        return figure
    # Places are fixed: matplotlib's constrained layout draws all text once more to find its own, half of the time.
    cells = figure.add_gridspec(
        rows,
        2,
        left=LEFT / WIDTH,
        right=1 - RIGHT / WIDTH,
        top=1 - (TOP + ABOVE) / height,
        bottom=BOTTOM / height,
        wspace=2 * (LEFT + RIGHT) / (WIDTH - 2 * (LEFT + RIGHT)),
        hspace=ABOVE / (ROW - ABOVE),
    )
    wide = len(panels) % 2  # an odd panel out: the first takes a whole row
    shared: Axes | None = None
    for index, panel in enumerate(panels):
        row, column = divmod(index + wide, 2) if index else (0, 0)
        cell = cells[0, :] if wide and index == 0 else cells[row, column]
        axes = figure.add_subplot(cell, sharex=shared)
        shared = shared or axes
        own = {name: measures[name] for name in panel.lines if name in measures}
        _draw_panel(axes, panel, own, gamma, bottom=index >= len(panels) - 2 or row == rows - 1)
        for mark in marks:
            axes.axvline(mark.images, color=LEVELS[mark.level], linewidth=1, alpha=0.55, zorder=0.5)
    for number, level in enumerate(levels):  # a legend for the marks, from the right
        place = 0.99 - 0.07 * number
        figure.text(place, 0.992, f"| {level}", color=LEVELS[level], size=9, ha="right", va="top", weight="bold")
    return figure


def _fitted(title: str, room: float) -> tuple[str, float]:
    """A title, and the size of its bold letters with which it takes no more than `room` in inches.

    They are no smaller than LEAST_TITLE: of a longer title the middle is left out.
    """
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    path = TextPath((0, 0), _without_maths(title), size=TITLE, prop=FontProperties(weight="bold"))
    share = room * 72 / max(path.get_extents().width, 1e-6)
    most = int(len(title) * share * TITLE / LEAST_TITLE)
    return one_line(title, most), max(LEAST_TITLE, TITLE * min(1.0, share))


def thinned(series: Series, limit: int) -> Series:
    """At most `limit` points, each the mean of as many neighbours."""
    run = math.ceil(len(series.values) / limit)
    starts = np.arange(0, len(series.values), run)
    counts = np.diff(np.append(starts, len(series.values)))
    return Series(*(np.add.reduceat(part, starts) / counts for part in series))


def smooth(values: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """`values` (n,) under a Gaussian window with a standard deviation of `width` samples, fair at both ends."""
    reach = min(math.ceil(3 * width), len(values) - 1)
    if reach < 1:
        return values
    window = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    total, weight = (np.convolve(row, window)[reach:-reach] for row in (values, np.ones_like(values)))
    return np.asarray(total / weight)


def _panels(measures: Mapping[str, Series]) -> list[Panel]:
    """The known panels that have something to show, then plain ones; `a_real` and `a_fake` share one."""
    moving = {name for name, series in measures.items() if np.ptp(series.values) > 0}
    known = [panel for panel in PANELS if panel.lines.keys() & (moving if panel.steps else measures.keys())]
    named = {name for panel in PANELS for name in panel.lines}
    groups: dict[str, dict[str, Measure]] = {}
    for name in sorted(measures.keys() - named, reverse=True):
        stem, _, side = name.rpartition("_")
        if side in SIDES and stem:
            groups.setdefault(stem, {})[name] = Measure(SIDES[side], "")
        else:
            groups.setdefault(name, {})[name] = Measure("", "")
    titles = {stem: _without_maths(stem.replace("_", " ").capitalize()[:40]) for stem in sorted(groups)}
    return known + [Panel(title=title, lines=groups[stem]) for stem, title in titles.items()][:MAX_UNKNOWN]


def _draw_panel(
    axes: "Axes", panel: Panel, measures: Mapping[str, Series], gamma: float | None, *, bottom: bool
) -> None:
    """One panel: its lines, smoothed over the raw ones, and what to compare them with."""
    colours = (BLUE, VERMILION) if len(panel.lines) > 1 else (COLOURS.get(next(iter(panel.lines)), BLUE),)
    smoothed = {}
    for (name, measure), colour in zip(panel.lines.items(), colours, strict=False):
        if name not in measures:
            continue
        images, values = measures[name]
        style: dict[str, Any] = {"drawstyle": "steps-post"} if panel.steps else {"marker": "o", "markersize": 3}
        if len(values) > FEW and not panel.steps:
            axes.plot(images, values, color=colour, alpha=0.22, linewidth=0.7)
            values, style = smooth(values, len(values) / 120), {}
        label = f"{measure.maths or measure.symbol}  {values[-1]:.3g}".strip()
        axes.plot(images, values, color=colour, linewidth=1.7, label=label, **style)
        smoothed[name] = values

    # Dashed: where theory wants a measure to be, or the best it has been
    guides = [] if panel.ideal is None else [panel.ideal]
    dashed: dict[str, Any] = {"color": INK, "linewidth": 1, "linestyle": (0, (4, 3)), "zorder": 1.5}
    if gamma is not None and "energy_real" in measures:
        target = gamma * smoothed["energy_real"]
        images = measures["energy_real"].images
        guides.append(float(target[images >= images[-1] * 0.03].max()))
        axes.plot(images, target, label=rf"$\gamma\,${REAL}", **dashed)
    if gamma is not None and "balance" in measures:
        guides.append(gamma)
        axes.axhline(gamma, label=rf"$\gamma = {gamma:g}$", **dashed)
    if "m_global" in measures:
        lowest = np.minimum.accumulate(smoothed["m_global"])
        axes.plot(measures["m_global"].images, lowest, label=f"lowest  {lowest[-1]:.3g}", **dashed)
    if panel.ideal is not None:
        axes.axhline(panel.ideal, label=f"ideal {panel.ideal:g}", **dashed)

    # Limits: the panel's own, or those of the values after the first 3 % of the images, when networks find their feet;
    # and what is drawn to compare them with
    late = [series.values[series.images >= series.images[-1] * 0.03] for series in measures.values()]
    low, high = min(part.min() for part in late), max(part.max() for part in late)
    if panel.limits:
        low, high = panel.limits[0], panel.limits[1] or high
    low, high = min([low, *guides]), max([high, *guides])
    margin = 0.06 * (high - low) or 1.0
    axes.set_ylim(low - (0 if panel.limits else margin), high + margin)

    _style(axes, panel, bottom=bottom)


def _style(axes: "Axes", panel: Panel, *, bottom: bool) -> None:
    """Title, units, a quiet frame, and the legend below the title."""
    from matplotlib.ticker import EngFormatter
    from matplotlib.transforms import ScaledTranslation

    axes.set_title(panel.title, loc="left", y=1, size=10, weight="bold", color=INK, pad=20)  # y: not to be searched for
    axes.set_ylabel(panel.unit, size=8.5, color=INK)
    unit_place = axes.transAxes + ScaledTranslation(-(LEFT - 0.18), 0, axes.figure.dpi_scale_trans)
    axes.yaxis.set_label_coords(0, 0.5, transform=unit_place)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    if panel.steps or not 1e-3 <= max(map(abs, axes.get_ylim())) < 1e5:  # else a power of ten stands over the axis
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.tick_params(labelsize=8.5, colors=INK, length=0, labelbottom=bottom)
    axes.locator_params(nbins=5)
    axes.set_xlabel("images seen" if bottom else "", size=8.5, color=INK)
    axes.xaxis.set_label_coords(0.5, -(BOTTOM - 0.22) / (ROW - ABOVE))  # else all ticks are laid out twice to find it
    axes.grid(visible=True, color="#e8e8e8", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0.01)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#bbbbbb")
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.02, 0.975),
        ncols=4,
        frameon=False,
        fontsize=8.5,
        labelcolor=INK,
        handlelength=1.2,
        columnspacing=1.0,
        handletextpad=0.5,
    )


def _without_maths(text: str) -> str:
    """`text` as it stands, even where matplotlib would read mathematics."""
    return text.replace("$", r"\$")
