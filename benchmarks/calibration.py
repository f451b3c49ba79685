"""What does each feature extractor punish? Real images, made worse in one way at a time, beside other real ones.

    python -m benchmarks.calibration                                            # the bundled digits, and drawn faces
    python -m benchmarks.calibration --data digits faces photographs=photos/    # and any folder, under a name

Of each kind of images `--count` are the reference, and as many others are blurred, grained, shuffled, warped and so on
(`benchmarks/degradations.py`), weakly to hopelessly. KID and coverage by the extractor that `equipoise evaluate` takes
of such images and by pixels are computed of each (`--features` names others), and what a run's health looks at: fine
detail, grain and the clusters that are reached. Writes calibration.md and
calibration.png into --out; what --cache has is not computed again, so that a stopped benchmark goes on.
"""

import argparse
import json
import math
from itertools import pairwise
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.degradations import SERIES, Degradation
from equipoise.config.datasets import open_dataset
from equipoise.config.train_config import TrainConfig
from equipoise.data import normalise, to_uint8
from equipoise.evaluation.features import extractor_name
from equipoise.metrics import manifold_scores, squared_mmd
from equipoise.metrics.features import Extractor, load_extractor
from equipoise.metrics.similarity import diversity
from equipoise.randomness import keyed_generator
from equipoise.training.likeness import Likeness
from equipoise.views.figures import grid

RESULTS = Path(__file__).parents[1] / "docs" / "results"
AS_THEY_ARE = Degradation("as they are", "", (0.0,), lambda images, _: images)
UNIT = ("blur", 1.0)  # what other degradations are compared with: a blur of one pixel
FLOOR = 1e-5  # a KID below it, of so few images, is nothing but chance
POOL = 4  # times as many images as are scored, so that some can be left out
SHOWN = "faces"  # the kind of images that the picture shows
HEALTH = ("detail", "grain", "clusters", "diversity")

Row = dict[str, float]
"""Figures of one set of worse images, by name: of an extractor as in `digits kid`, or of HEALTH."""


def read_images(data: str, resolution: int, count: int) -> tuple[Tensor, Tensor]:
    """Reference (count, C, H, W) and a pool of others, POOL times as many where there are, both in [-1, 1]."""
    images = open_dataset(TrainConfig(data=data, resolution=resolution)).split("all")
    order = torch.randperm(len(images), generator=keyed_generator(0, "calibration"))[: (1 + POOL) * count]
    pixels = normalise(images.batch(order.numpy()))
    return pixels[:count], pixels[count:]


def measure(images: Tensor, likeness: Likeness, diversity_of_data: float) -> Row:
    """What a run's health looks at, of images (N, C, H, W) in [-1, 1]."""
    return {**likeness.measures(images), "diversity": diversity(images) / diversity_of_data}


def score(images: Tensor, reference: Tensor, extractor: Extractor) -> Row:
    """KID, over all pairs, and coverage of features (N, K) beside those of the reference."""
    vectors = extractor(to_uint8(images)).vectors
    return {
        f"{extractor.name} kid": squared_mmd(vectors, reference),
        f"{extractor.name} coverage": manifold_scores(reference, vectors).coverage,
    }


def calibrate(data: str, extractors: list[str], options: argparse.Namespace, cache: Path) -> dict[str, Row]:
    """Figures of all series on one kind of images, by `series strength`."""
    reference, pool = read_images(data, options.resolution, options.count)
    loaded = [load_extractor(name, shape=tuple(reference.shape[1:])) for name in extractors]
    vectors: dict[str, Tensor] = {}
    likeness, diversity_of_data = Likeness(pool[-3 * options.count :]), diversity(reference)
    rows: dict[str, Row] = json.loads(cache.read_text()) if cache.exists() else {}
    for series in (AS_THEY_ARE, *SERIES):
        for strength in series.strengths:
            row = rows.setdefault(f"{series.name} {strength:g}", {})
            images = series.apply(pool, strength)[: options.count].clamp(-1, 1)
            if not row.keys() >= set(HEALTH):
                row |= measure(images, likeness, diversity_of_data)
            for extractor in loaded:
                if f"{extractor.name} kid" not in row:
                    if extractor.name not in vectors:
                        vectors[extractor.name] = extractor(to_uint8(reference)).vectors
                    row |= score(images, vectors[extractor.name], extractor)
            cache.parent.mkdir(parents=True, exist_ok=True)
            cache.write_text(json.dumps(rows, indent=1))
            print(data, series.name, strength, {name: round(value, 4) for name, value in row.items()}, flush=True)
    return rows


def equivalent(rows: dict[str, Row], series: Degradation, column: str, kid: float) -> str:
    """The strength of a series that costs a given KID, between two strengths interpolated by their logarithms."""
    points = [(strength, rows[f"{series.name} {strength:g}"][column]) for strength in series.strengths]
    if kid < FLOOR:
        return "–"
    if points[0][1] >= kid:
        return f"< {points[0][0]:g}"
    for (weaker, less), (stronger, more) in pairwise(points):
        if less < kid <= more:
            low, high, at = (math.log(max(value, FLOOR)) for value in (less, more, kid))
            return f"{weaker * (stronger / weaker) ** ((at - low) / (high - low)):.2g}"
    return f"> {points[-1][0]:g}"


def equivalents_table(results: dict[str, dict[str, Row]], extractors: dict[str, list[str]]) -> str:
    """Table of the strengths that cost as much as UNIT: a row a series, a column a kind of images and extractor."""
    columns = [(data, name) for data in results for name in extractors[data]]
    unit = f"{UNIT[0]} {UNIT[1]:g}"
    cells = {
        series.name: [
            equivalent(results[data], series, f"{name} kid", results[data][unit][f"{name} kid"])
            for data, name in columns
        ]
        for series in SERIES
        if series.name != UNIT[0]
    }
    kids = [f"{results[data][unit][f'{name} kid']:.3g}" for data, name in columns]
    units = {series.name: series.unit for series in SERIES}
    lines = [
        f"| as much as {unit} | {' | '.join(f'{data}, {name}' for data, name in columns)} |",
        "|---" * (len(columns) + 1) + "|",
        f"| KID of it | {' | '.join(kids)} |",
        *(f"| {name}, {units[name]} | {' | '.join(row)} |" for name, row in cells.items()),
    ]
    return "\n".join(lines)


def full_table(rows: dict[str, Row], extractors: list[str]) -> str:
    """Table of all figures of one kind of images: a row a strength."""
    heads = [f"{name} {what}" for name in extractors for what in ("KID", "coverage")]
    lines = [f"| | {' | '.join([*heads, *HEALTH])} |", "|---" * (len(heads) + len(HEALTH) + 1) + "|"]
    for name, row in rows.items():
        figures = [row[f"{extractor} {what}"] for extractor in extractors for what in ("kid", "coverage")]
        cells = [f"{figure:.3g}" if abs(figure) >= 5e-4 else "0" for figure in figures]
        lines.append(f"| {name.removesuffix(' 0')} | {' | '.join(cells + [f'{row[key]:.2f}' for key in HEALTH])} |")
    return "\n".join(lines)


def picture(
    results: dict[str, dict[str, Row]], extractors: dict[str, list[str]], options: argparse.Namespace
) -> Figure:
    """One drawn face through all series, and below it KID over strength, a row a kind and a column an extractor."""
    columns = max(map(len, extractors.values()))
    figure = Figure(figsize=(max(9, 4 * columns), 3 + 2.6 * len(results)), dpi=90, layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(3, 2.6 * len(results)))
    _, pool = read_images(SHOWN, options.resolution, 64)
    longest = max(len(series.strengths) for series in SERIES)
    for axes, series in zip(top.subplots(2, math.ceil(len(SERIES) / 2)).flat, SERIES, strict=False):
        worse = [pool[0], *(series.apply(pool, strength)[0] for strength in series.strengths)]
        axes.imshow(grid(to_uint8(torch.stack(worse[: longest + 1])), columns=3))
        axes.set_title(series.name, loc="left", size=9)
        axes.set_axis_off()
    panels = bottom.subplots(len(results), columns, squeeze=False)
    for line, (data, rows) in zip(panels, results.items(), strict=True):
        floor = {name: abs(rows[f"{AS_THEY_ARE.name} 0"][f"{name} kid"]) for name in extractors[data]}
        for axes, name in zip(line, extractors[data], strict=False):
            for series in SERIES:
                kids = [rows[f"{series.name} {strength:g}"][f"{name} kid"] for strength in series.strengths]
                axes.plot([max(kid, 1e-4) for kid in kids], marker="o", markersize=3, label=series.name)
            axes.axhspan(1e-4, max(floor[name], 2e-4), color="#dddddd")
            axes.set(yscale="log", title=f"{data}, {name}", ylabel="KID", xticks=[])
    panels[0, 0].legend(frameon=False, ncols=2, fontsize=7)
    panels[-1, 0].set_xlabel("strength, from hardly seen to hopeless")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", nargs="+", default=["digits", "faces"], help="what `train --data` takes, or NAME=that"
    )
    parser.add_argument("--features", nargs="+", default=["auto", "pixels"])
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=Path("runs/calibration"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    named = {text.partition("=")[0]: text.rpartition("=")[2] for text in options.data}
    extractors = {
        name: list(dict.fromkeys(extractor_name(feature, data) for feature in options.features))
        for name, data in named.items()
    }
    results = {
        name: calibrate(data, extractors[name], options, options.cache / f"{name}-{options.resolution}.json")
        for name, data in named.items()
    }
    words = [name if name == data else f"{name}=PLACE" for name, data in named.items()]
    about = (
        f"`python -m benchmarks.calibration --data {' '.join(words)} --count {options.count}`: real images at "
        f"{options.resolution}², made worse in one way at a time, beside {options.count} other real ones. KID is over "
        "all pairs, coverage as in [Scores](../evaluation.md). What the series are: `benchmarks/degradations.py`. The "
        "last four columns are what a run's health looks at, as in its metrics."
    )
    parts = ["# What each extractor punishes", about, "![a face through all series, and KID](calibration.png)"]
    parts += ["## How much of one costs as much as of another", equivalents_table(results, extractors)]
    for name, rows in results.items():
        parts += [f"## {name.capitalize()}", full_table(rows, extractors[name])]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "calibration.md").write_text("\n\n".join(parts) + "\n")
    picture(results, extractors, options).savefig(options.out / "calibration.png")


if __name__ == "__main__":
    main()
