"""The figures of a study's report."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from equipoise.errors import UsageError
from equipoise.runs.run import Run
from equipoise.sampling.sample import sample
from equipoise.studies.plan import as_number, varied_name
from equipoise.studies.results import Pair, Results, Summary
from equipoise.studies.statistics import best_of, interquartile_mean_interval, performance_profile
from equipoise.views.captions import stacked
from equipoise.views.figures import BLUE, FAINT, GREEN, INK, PURPLE, VERMILION, grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by the colour-blind; further arms take it again, dashed.
PALETTE = (BLUE, VERMILION, GREEN, PURPLE, "#e69f00", "#56b4e9", "#000000")
DASHES = ("-", "--", ":", "-.")
DOTS_PER_INCH = 160
WIDTH = 9.0  # inches
BAND_REPETITIONS = 1_000  # of the bootstrap of each point of a curve
SHOWN = 24  # samples of each arm in the grids
WIDE = 20  # ratio of the largest to the smallest value beyond which an axis is logarithmic
NOTHING = Image.new("L", (1, 1), "white")  # below the caption of an arm without samples
LARGE = 12  # arms from which on lines are thin


def scale_of(values: Sequence[float]) -> str:
    """Scale of an axis on which these values are shown."""
    return "log" if values and 0 < WIDE * min(values) < max(values) else "linear"


def style_of(index: int, count: int) -> dict[str, Any]:
    """Colour and dashes of an arm; of many arms that are one setting's values, a scale of colours."""
    if count > len(PALETTE):
        from matplotlib import colormaps

        return {"color": colormaps["viridis"](0.9 * index / max(1, count - 1)), "linestyle": "-"}
    return {"color": PALETTE[index % len(PALETTE)], "linestyle": DASHES[index // len(PALETTE) % len(DASHES)]}


def png(figure: "Figure") -> bytes:
    """A figure as PNG; safe in any thread."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    data = BytesIO()
    figure.savefig(data, format="png", dpi=DOTS_PER_INCH)
    return data.getvalue()


def intervals(results: Results, summaries: Sequence[Summary]) -> "Figure":
    """Each arm's interquartile mean with its interval, final and best, over a dot for each trial."""
    figure, (axes,) = _panels(1, 0.9 + 0.42 * len(summaries))
    scored = [value for each in summaries for row in results.scaled(each.arm) for value in row if math.isfinite(value)]
    for index, each in enumerate(summaries):
        style, y = style_of(index, len(summaries)), len(summaries) - index
        dots = np.concatenate(results.scaled(each.arm))
        dots = dots[np.isfinite(dots)]
        axes.plot(dots, np.full(len(dots), y), "o", ms=4, alpha=0.35, mew=0, color=style["color"])
        for interval, shift, face in ((each.final, 0.0, style["color"]), (each.best, -0.28, "white")):
            if math.isfinite(interval.value):
                ends = [interval.low, interval.high]
                if not all(map(math.isfinite, ends)):  # by a failed trial
                    ends = np.clip(ends, min(scored), max(scored)).tolist()
                axes.plot(ends, [y + shift] * 2, color=style["color"], lw=2, solid_capstyle="butt")
                axes.plot(interval.value, y + shift, "D", ms=6, mec=style["color"], mfc=face)
    axes.set_yticks([len(summaries) - index for index in range(len(summaries))], [each.arm for each in summaries])
    axes.set_ylim(0.4, len(summaries) + 0.6)
    axes.set_xlabel(_axis_title(results))
    axes.set_xscale(scale_of(scored))
    axes.set_title(
        "Filled: final, open: best checkpoint; 95 % intervals; dots: trials", loc="left", size=9, color=FAINT
    )
    return figure


def against(results: Results) -> "Figure | None":
    """The score, and how diverse the samples are, against the setting that varies; None unless it is one, a number."""
    if len(results.plan.vary) != 1 or results.plan.search:  # whose arms are called otherwise
        return None
    ((setting, values),) = results.plan.vary.items()
    names = {number: value for value in values if (number := as_number(value)) is not None}
    if len(values) < 2 or len(names) < len(values):
        return None
    figure, panels = _panels(2, 3.6)
    measures: list[Callable[[str], list[NDArray[np.float64]]]] = [results.scaled, partial(_diversity, results)]
    shown: list[list[float]] = [[], []]
    for index, base in enumerate(results.plan.arms):
        style = style_of(index, len(results.plan.arms))
        for axes, scores_of, heights in zip(panels, measures, shown, strict=True):
            rows = {number: scores_of(varied_name(base, setting, names[number])) for number in sorted(names)}
            spread = {number: interquartile_mean_interval(row) for number, row in rows.items() if all(map(len, row))}
            spread = {number: each for number, each in spread.items() if all(map(math.isfinite, each))}
            heights += [each.value for each in spread.values()]
            axes.plot(list(spread), [each.value for each in spread.values()], marker="o", label=base, lw=1.8, **style)
            low, high = [each.low for each in spread.values()], [each.high for each in spread.values()]
            axes.fill_between(list(spread), low, high, color=style["color"], alpha=0.15, lw=0)
    for axes, title, heights in zip(panels, (_axis_title(results), "diversity, 1 as the data's"), shown, strict=True):
        axes.set_xlabel(setting)
        axes.set_ylabel(title)
        axes.set_yscale(scale_of(heights))
    _legend(panels[0], len(results.plan.arms))
    return figure


def _diversity(results: Results, arm: str) -> list[NDArray[np.float64]]:
    """The last diversity that each of an arm's trials logged, by data set."""
    rows = []
    for data in results.plan.data:
        lines = [Run(results.folder / trial.name, trial.config).rows() for trial, _ in results.of(arm, data)]
        logged = [[line["diversity"] for line in each if "diversity" in line] for each in lines]
        rows.append(np.array([each[-1] for each in logged if each], np.float64))
    return rows


def probabilities(pairs: Sequence[Pair]) -> "Figure":
    """How probably a trial of one arm scores better than one of another, with intervals."""
    figure, (axes,) = _panels(1, 0.9 + 0.32 * len(pairs))
    for index, pair in enumerate(pairs):
        y, colour = len(pairs) - index, INK if pair.significant else FAINT
        axes.plot([pair.probability.low, pair.probability.high], [y, y], color=colour, lw=2, solid_capstyle="butt")
        axes.plot(pair.probability.value, y, "D", color=colour, ms=6)
    axes.axvline(0.5, color=FAINT, lw=1, ls=(0, (4, 3)))
    labels = [f"{pair.first} better than {pair.second}" for pair in pairs]
    axes.set_yticks([len(pairs) - index for index in range(len(pairs))], labels)
    axes.set_ylim(0.4, len(pairs) + 0.6)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("probability; dark where it is significant")
    return figure


def profiles(results: Results) -> "Figure | None":
    """Share of the trials of each arm at least as good as a score; None where no trial has one."""
    every = np.concatenate([row for arm in results.comparable for row in results.scaled(arm)])
    finite = every[np.isfinite(every)]
    if not len(finite):
        return None
    figure, (axes,) = _panels(1, 3.6)
    low, high = finite.min(), finite.max()
    scale = scale_of([low, high])
    thresholds = np.geomspace(low, high, 120) if scale == "log" else np.linspace(low, high, 120)
    for arm in results.comparable:
        style = style_of(results.arms.index(arm), len(results.arms))
        profile = performance_profile(results.scaled(arm), thresholds, lower_is_better=results.lower_is_better)
        axes.plot(thresholds, profile.share, label=arm, lw=1.8, **style)
        if len(results.comparable) <= len(PALETTE):
            axes.fill_between(thresholds, profile.low, profile.high, color=style["color"], alpha=0.12, lw=0)
    axes.set_xscale(scale)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(_axis_title(results))
    axes.set_ylabel("share of trials as good or better")
    _legend(axes, len(results.comparable))
    return figure


def curves(results: Results, data: str) -> "Figure | None":
    """The measure that was logged while training, over images and over seconds of a core, with bands over seeds."""
    from matplotlib.ticker import EngFormatter

    name = "in_modes" if any(trial.config.toy for trial in results.trials) else "kid"
    figure, panels = _panels(2, 3.6)
    drawn = False
    for index, arm in enumerate(results.arms):
        images, rows, pace = logged(results, arm, data, name)
        if not len(images):
            continue
        drawn, style = True, style_of(index, len(results.arms))
        spread = [interquartile_mean_interval([row], repetitions=BAND_REPETITIONS) for row in rows]
        for axes, x in zip(panels, (images, images * pace), strict=True):
            axes.plot(x, [each.value for each in spread], label=arm, lw=1.8, **style)
            if len(results.arms) <= len(PALETTE):
                low, high = [each.low for each in spread], [each.high for each in spread]
                axes.fill_between(x, low, high, color=style["color"], alpha=0.14, lw=0)
    if not drawn:
        return None
    for axes, label in zip(panels, ("images seen", "seconds of a core"), strict=True):
        axes.set_xlabel(label)
        lowest, highest = axes.dataLim.intervaly
        axes.set_yscale(scale_of([lowest, highest]))
    panels[0].xaxis.set_major_formatter(EngFormatter(sep=""))
    panels[0].set_ylabel("KID while training" if name == "kid" else "share of points in modes")
    _legend(panels[0], len(results.arms))
    return figure


def logged(
    results: Results, arm: str, data: str, name: str
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]], float]:
    """A measure of an arm's trials: images (m,), at each the values of all seeds that came so far, and s an image."""
    points: dict[int, list[float]] = {}
    paces = []
    for trial, outcome in results.of(arm, data):
        if outcome.cost.seconds_per_image:
            paces.append(outcome.cost.seconds_per_image)
        for row in Run(results.folder / trial.name, trial.config).rows():
            if name in row and row["images"]:
                points.setdefault(int(row["images"]), []).append(row[name])
    images = sorted(points)
    pace = float(np.median(paces)) if paces else math.nan
    return np.array(images, np.float64), [np.array(points[each]) for each in images], pace


def sample_grids(results: Results, data: str) -> bytes | None:
    """Samples of each arm's first seed at its end, of equal latents where latents are of one kind."""
    parts = []
    for arm in results.arms:
        finished = [trial for trial, outcome in results.of(arm, data) if outcome.final and not trial.config.toy]
        for trial in finished:
            with suppress(UsageError):  # of a run that was deleted since, or its checkpoints were
                images = sample(Run.open(results.folder / trial.name), SHOWN, seed=0)
                parts.append((f"{arm}, seed {trial.seed}", grid(images, columns=12)))
                break
        else:
            if finished:
                parts.append((f"{arm}: no samples, as no run of it has a checkpoint that can be read", NOTHING))
    return captioned_png(parts) if parts else None


def captioned_png(parts: Sequence[tuple[str, Image.Image]]) -> bytes:
    """Pictures under their captions as PNG: gray ones in 128 shades, which halves the file, colours as they are."""
    in_colour = any(picture.mode != "L" for _, picture in parts)
    data, sheet = BytesIO(), stacked([(caption, picture.convert("RGB")) for caption, picture in parts])
    if not in_colour:  # of colours 128 are too few: photographs would have specks that they have not
        sheet = sheet.quantize(128, method=Image.Quantize.MEDIANCUT)
    sheet.save(data, "PNG", optimize=True)
    return data.getvalue()


def search_curves(found: Sequence[tuple[str, NDArray[np.float64]]], metric: str) -> "Figure":
    """What a search finds against its length: the expected best of k, and all that was found, in order."""
    figure, panels = _panels(2, 3.4)
    for index, (arm, scores) in enumerate(found):
        style = style_of(index, len(found))
        panels[0].plot(np.arange(1, len(scores) + 1), best_of(scores), label=arm, lw=1.8, **style)
        ordered = np.sort(scores[np.isfinite(scores)])
        panels[1].plot(ordered, np.arange(1, len(ordered) + 1) / len(scores), label=arm, lw=1.8, **style)
    panels[0].set_xlabel("settings tried, k")
    panels[0].set_ylabel(f"expected best {metric} of k")
    panels[1].set_xlabel(f"{metric} on held-out images")
    panels[1].set_ylabel("share of settings as good or better")
    panels[1].set_xscale(scale_of([score for _, scores in found for score in scores[np.isfinite(scores)]]))
    _legend(panels[0], len(found))
    return figure


def search_settings(tried: Sequence[tuple[dict[str, float], float]], metric: str, title: str) -> "Figure":
    """The score of everything that was tried, against each setting."""
    names = list(tried[0][0])
    figure, panels = _panels(len(names), 2.8)
    for axes, name in zip(panels, names, strict=True):
        points = [(settings[name], score) for settings, score in tried if math.isfinite(score)]
        x, y = [point[0] for point in points], [point[1] for point in points]
        axes.plot(x, y, "o", ms=5, color=BLUE, alpha=0.7, mew=0)
        axes.set_xscale(scale_of(x))
        axes.set_yscale(scale_of(y))
        axes.set_xlabel(name)
    panels[0].set_ylabel(metric)
    panels[0].set_title(title, loc="left", size=9, color=FAINT)
    return figure


def _axis_title(results: Results) -> str:
    unit = ", in units of the data's median" if len(results.plan.data) > 1 else ""
    return f"{results.metric}{unit} ({'lower' if results.lower_is_better else 'higher'} is better)"


def _panels(count: int, height: float) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), facecolor="white", layout="constrained")
    panels = list(np.atleast_1d(figure.subplots(1, count)))
    for axes in panels:
        axes.grid(visible=True, color="#e8e8e8", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=8.5, colors=INK, length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color("#bbbbbb")
    return figure, panels


def _legend(axes: "Axes", count: int) -> None:
    axes.legend(frameon=False, fontsize=8 if count > LARGE else 9, labelcolor=INK, ncols=2 if count > LARGE else 1)
