"""Scores with the protocol they were made by: as JSON, as a table, and side by side only where the protocols agree."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equipoise.errors import UsageError
from equipoise.metrics import METRICS, POINT_METRICS, Figures
from equipoise.runs.files import write_where_asked

KNOWN = METRICS | POINT_METRICS
PROTOCOL = 1  # raise it when the same images would be scored differently


@dataclass(frozen=True)
class Scores:
    """What was found, of what, and how.

    Attributes:
        figures: by the metric's name: `value`, and what else it says, such as `spread`.
        subject: what was scored.
        protocol: everything that a score depends on besides its subject; equal for scores that may be compared.
        notes: what to keep in mind when reading the figures.
    """

    figures: dict[str, Figures]
    subject: dict[str, Any]
    protocol: dict[str, Any]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        real, features = self.protocol["reference"], self.protocol.get("features")  # a toy's points need no features
        lines = [
            f"{self.subject['name']}: {self.subject['count']:,} {'images' if features else 'points'} beside "
            f"{real['count']:,} of {self.subject['beside']} ({real['split']})"
        ]
        if features:
            lines.append(f"  features {features['name']}, images {'x'.join(map(str, self.protocol['shape'][:0:-1]))}")
        lines += [f"  {name:20}{_told(name, figures)}" for name, figures in self.figures.items()]
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])

    def to_json(self) -> str:
        """The metrics' values by name; beside them details, subject, protocol and notes. What is infinite is null."""
        values = {name: figures["value"] for name, figures in self.figures.items()}
        details = {name: {k: v for k, v in figures.items() if k != "value"} for name, figures in self.figures.items()}
        rest = {"subject": self.subject, "protocol": self.protocol, "notes": list(self.notes)}
        return json.dumps(_finite({**values, "details": details, **rest}), indent=1, allow_nan=False) + "\n"

    def write(self, path: Path) -> None:
        """Write `to_json()` to a file, whole or not at all.

        Raises:
            UsageError: it cannot be written.
        """
        write_where_asked(path, self.to_json())

    @classmethod
    def read(cls, path: Path) -> "Scores":
        """Read what `write` wrote.

        Raises:
            UsageError: the file is missing, or holds no scores.
        """
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            values = {name: value for name, value in found.items() if name in KNOWN}
            figures = {
                name: {key: math.inf if figure is None else float(figure) for key, figure in each.items()}
                for name, each in ((name, {"value": value, **found["details"][name]}) for name, value in values.items())
            }
            return cls(figures, dict(found["subject"]), dict(found["protocol"]), tuple(found["notes"]))
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{path} holds no scores: make them with `equipoise evaluate ... --json {path}`"
            ) from error


def difference(one: Mapping[str, Any], other: Mapping[str, Any], where: str = "") -> str | None:
    """The first thing in which two protocols differ, in words, or None."""
    for key in [*one, *(key for key in other if key not in one)]:
        a, b = one.get(key), other.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            if found := difference(a, b, f"{where}{key} "):
                return found
        elif a != b:
            return f"{where}{key} ({a} and {b})"
    return None


def compare(named: Sequence[tuple[str, Scores]]) -> str:
    """A table of scores side by side; the better of each row is marked.

    Raises:
        UsageError: fewer than two, or protocols that differ.
    """
    if len(named) < 2:
        raise UsageError("comparing takes two or more files of scores: name another")
    (first, reference), *others = named
    for name, scores in others:
        if found := difference(reference.protocol, scores.protocol):
            raise UsageError(f"{first} and {name} cannot be compared, they differ in {found}: score one of them anew")
    width = max(12, *(len(name) + 2 for name, _ in named))
    rows = [" " * 22 + "".join(f"{name:>{width}} " for name, _ in named)]
    for metric in KNOWN:
        values = [scores.figures[metric]["value"] if metric in scores.figures else None for _, scores in named]
        if any(value is not None for value in values):
            rows.append(f"  {metric:20}" + "".join(f"{cell:>{width + 1}}" for cell in _cells(metric, values)))
    return "\n".join(row.rstrip() for row in [*rows, "* the better ones"])


def _cells(metric: str, values: Sequence[float | None]) -> list[str]:
    """A row of the table: the best value marked, where some differ and one direction is better."""
    given = {value for value in values if value is not None}
    best = {"lower": min, "higher": max}.get(KNOWN[metric].better)
    marked = best(given) if best and len(given) > 1 else None
    return ["- " if value is None else f"{value:.4g}{'*' if value == marked else ' '}" for value in values]


def _told(name: str, figures: Figures) -> str:
    metric = KNOWN[name]
    value = f"{figures['value']:.4g}" + (f" of {figures['of']:.0f}" if "of" in figures else "")
    value += f" ± {figures['spread']:.2g}" if "spread" in figures else ""
    better = {"lower": "lower is better", "higher": "higher is better", "reference": "as the real ones"}[metric.better]
    better += f" ({figures['real']:.3g})" if "real" in figures else ""
    return f"{value:22}{better:27}{metric.says}"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
