"""Scores with the protocol by which they were computed: as JSON, as a table, side by side if their protocols agree."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, model_validator

from equipoise.config.arguments import checked
from equipoise.errors import MOST_QUOTED, UsageError, one_line, quoted, reason
from equipoise.metrics import METRICS, POINT_METRICS, MetricResult
from equipoise.reading import parse_json, read_bytes
from equipoise.runs.files import to_json, write_where_asked

ALL_METRICS = METRICS | POINT_METRICS
FORMER_NAMES = {"dinov2": "dinov2-vits14"}  # of extractors, in older files
UNKNOWN = "a score that this version does not know"
PROTOCOL = 3  # raise it when the same images would be scored differently


class _Part(BaseModel):
    """Part of a file of scores; what is not declared may be anything that JSON can hold."""

    model_config = ConfigDict(extra="allow", strict=True)
    __pydantic_extra__: dict[str, JsonValue]


class _Reference(_Part):
    count: int
    split: str


class _Features(_Part):
    name: str


class _Protocol(_Part):
    reference: _Reference
    features: _Features | None = None
    shape: list[int] = []

    @model_validator(mode="after")
    def _images_have_a_shape(self) -> Self:
        if self.features and len(self.shape) != 3:
            raise ValueError("shape should be of channels, height and width")
        return self


class _Subject(_Part):
    name: str
    count: int
    beside: str
    draws: int = 1


class _ScoresFile(BaseModel):
    """A file of scores: beside what is declared, the metrics' values by name; null for infinite ones."""

    model_config = ConfigDict(extra="allow", strict=True)
    __pydantic_extra__: dict[str, float | None]
    details: dict[str, dict[str, float | None]]
    subject: _Subject
    protocol: _Protocol
    notes: tuple[str, ...]


SCORES_FILE = TypeAdapter(_ScoresFile)


@dataclass(frozen=True)
class Scores:
    """Results of metrics, with what was scored and how.

    Attributes:
        figures: by the metric's name: `value`, and its details, such as `spread`; of several draws of samples, the
            means over them, and `deviation`, the standard deviation of the value.
        subject: what was scored, `draws` times as many as its `count`.
        protocol: everything that a score depends on besides its subject; equal for scores that may be compared.
        notes: what to keep in mind when reading the figures.
    """

    figures: dict[str, MetricResult]
    subject: dict[str, Any]
    protocol: dict[str, Any]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        real, features = self.protocol["reference"], self.protocol.get("features")  # a toy's points need no features
        lines = [
            f"{self.subject['name']}: {self.subject['count']:,} {'images' if features else 'points'} beside "
            f"{real['count']:,} of {self.subject['beside']} ({real['split']})"
        ]
        draws = self.subject.get("draws", 1)
        if draws > 1:
            lines[0] += f", mean ± standard deviation over {draws} draws"
        if features:
            lines.append(f"  features {features['name']}, images {'x'.join(map(str, self.protocol['shape'][:0:-1]))}")
        lines += [f"  {one_line(name, 20):20}{_row(name, result, draws)}" for name, result in self.figures.items()]
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])

    def to_json(self) -> str:
        """The metrics' values by name; beside them details, subject, protocol and notes."""
        values = {name: result["value"] for name, result in self.figures.items()}
        details = {name: {k: v for k, v in result.items() if k != "value"} for name, result in self.figures.items()}
        rest = {"subject": self.subject, "protocol": self.protocol, "notes": list(self.notes)}
        return to_json({**values, "details": details, **rest}, indent=1) + "\n"

    def write(self, path: Path) -> None:
        """Write `to_json()` to a file, whole or not at all.

        Raises:
            UsageError: it cannot be written.
        """
        write_where_asked(path, self.to_json())

    @classmethod
    @checked
    def read(cls, path: Path) -> "Scores":
        """Scores from a file that `write` wrote.

        Raises:
            UsageError: the file is missing, is damaged, or holds no scores.
        """
        try:
            contents = parse_json(SCORES_FILE, read_bytes(path))
        except OSError as error:
            raise UsageError(f"cannot read {path}: {reason(error)}; give a file of scores") from error
        except ValueError as error:
            raise UsageError(f"{path} holds no scores: make them with `equipoise evaluate RUN --json FILE`") from error
        values = contents.__pydantic_extra__
        if alone := sorted(values.keys() ^ contents.details.keys()):
            raise UsageError(
                f"{path} is damaged, it has either a value or details of {quoted(alone[0])}, not both: score anew"
            )
        known = [name for name in ALL_METRICS if name in values]
        names = known + [name for name in values if name not in ALL_METRICS]  # of another version, and kept
        results = {name: {"value": values[name], **contents.details[name]} for name in names}
        figures = {
            name: {key: math.inf if x is None else x for key, x in result.items()} for name, result in results.items()
        }
        subject, protocol = (part.model_dump(exclude_unset=True) for part in (contents.subject, contents.protocol))
        if features := protocol.get("features"):
            features["name"] = FORMER_NAMES.get(features["name"], features["name"])
        return cls(figures, subject, protocol, contents.notes)


def over_draws(results: Sequence[Mapping[str, MetricResult]]) -> dict[str, MetricResult]:
    """Results of several draws of samples as one: means, and `deviation`, the standard deviation of each value.

    Args:
        results: of each draw. What the later ones lack does not depend on the samples, and has no deviation.
    """
    merged = {}
    for name, first in results[0].items():
        draws = [result[name] for result in results if name in result]
        merged[name] = {key: fmean(draw[key] for draw in draws) for key in first}
        if len(draws) > 1:
            merged[name]["deviation"] = (
                torch.tensor([draw["value"] for draw in draws], dtype=torch.float64).std().item()
            )
    return merged


def difference(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> str | None:
    """The first difference of two protocols, in words, or None."""
    for key in [*a, *(key for key in b if key not in a)]:
        x, y = a.get(key), b.get(key)
        if isinstance(x, Mapping) and isinstance(y, Mapping):
            if inner := difference(x, y, f"{prefix}{key} "):
                return inner
        elif x != y:
            return f"{prefix}{key} ({one_line(str(x), MOST_QUOTED)} and {one_line(str(y), MOST_QUOTED)})"
    return None


def compare(named: Sequence[tuple[str, Scores]]) -> str:
    """A table of scores side by side, each under its name; the better of each row is marked.

    Raises:
        UsageError: there are fewer than two, or the protocols differ.
    """
    if len(named) < 2:
        raise UsageError("comparing takes two or more files of scores: name another")
    (first, reference), *others = named
    for name, scores in others:
        if text := difference(reference.protocol, scores.protocol):
            same = ", the images, their order or their labels" if text.startswith("reference identity") else ""
            raise UsageError(
                f"{first} and {name} cannot be compared, they differ in {text}{same}: score one of them anew"
            )
    names = [*ALL_METRICS, *sorted({name for _, scores in named for name in scores.figures} - ALL_METRICS.keys())]
    results = {metric: [scores.figures.get(metric) for _, scores in named] for metric in names}
    cells = {metric: _cells(metric, row) for metric, row in results.items() if any(row)}
    width = max(12, *(len(name) + 2 for name, _ in named), *(len(cell) + 1 for row in cells.values() for cell in row))
    rows = [" " * 22 + "".join(f"{name:>{width}} " for name, _ in named)]
    rows += [
        f"  {one_line(metric, 20):20}" + "".join(f"{cell:>{width + 1}}" for cell in row)
        for metric, row in cells.items()
    ]
    legend = ["* the better ones"] if any("*" in cell for row in cells.values() for cell in row) else []
    if any(result and "deviation" in result for row in results.values() for result in row):
        legend.append("± standard deviation over draws of samples")
    return "\n".join(row.rstrip() for row in [*rows, *(["; ".join(legend)] if legend else [])])


def _cells(metric: str, results: Sequence[MetricResult | None]) -> list[str]:
    """Cells of one row of the table: the best value is marked, where they differ and one direction is better."""
    distinct = {result["value"] for result in results if result}
    known = ALL_METRICS.get(metric)  # a metric of another version may be none of this one's
    best = {"lower": min, "higher": max}.get(known.better if known else "")
    marked = best(distinct) if best and len(distinct) > 1 else None
    return [
        f"{result['value']:.4g}{_deviation(result)}{'*' if result['value'] == marked else ' '}" if result else "- "
        for result in results
    ]


def _deviation(result: MetricResult) -> str:
    return f" ± {result['deviation']:.2g}" if "deviation" in result else ""


def _row(name: str, result: MetricResult, draws: int) -> str:
    """Value, direction and description of one metric."""
    value = f"{result['value']:.4g}" + (f" of {result['of']:.0f}" if "of" in result else "")
    # Of several draws ± is the deviation over them: what has none is of the generator itself.
    value += _deviation(result) or (f" ± {result['spread']:.2g}" if "spread" in result and draws == 1 else "")
    if (metric := ALL_METRICS.get(name)) is None:
        return f"{value:22}{UNKNOWN}"
    better = {"lower": "lower is better", "higher": "higher is better", "reference": "as the real ones"}[metric.better]
    better += f" ({result['real']:.3g})" if "real" in result else ""
    return f"{value:22}{better:27}{metric.description}"
