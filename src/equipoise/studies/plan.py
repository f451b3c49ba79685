"""What a study compares: arms, data, seeds and a budget, from flags or study.yaml alike."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, ConfigDict, Field, FiniteFloat
from pydantic.dataclasses import dataclass

from equipoise.config.changes import flat
from equipoise.config.messages import check_keys, construct
from equipoise.config.numbers import Count, ProcessCount, Seed, parse_count
from equipoise.errors import UsageError, did_you_mean, quoted, reason
from equipoise.evaluation.request import Draws, Names
from equipoise.reading import parse_yaml, read_text

STUDY = "study.yaml"  # first file of a study's folder
UNITS = {"s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0}
MAX_SEEDS, MAX_ARMS = 1000, 1000
LATER = ("seeds", "baseline", "threads")  # what a study's folder may be given anew


@dataclass(frozen=True)
class Budget:
    """How long each trial trains: so many images, or seconds of one processor core (of a GPU, of its clock)."""

    images: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        lengths = [each for each in (self.images, self.seconds) if each is not None]
        if len(lengths) != 1 or not 0 < lengths[0] < math.inf:
            raise ValueError("should be a number of images or of seconds, one of them, above 0")

    def __str__(self) -> str:
        return f"{self.images:,} images" if self.images else f"{self.seconds:.15g} seconds of a core"


def parse_budget(text: Any) -> Any:
    """'200k' -> images, '10min', '90s' or '1h' -> seconds; anything else is returned for pydantic to refuse.

    Raises:
        ValueError: it is neither, or nothing.
    """
    if isinstance(text, Budget | Mapping):
        return text
    number = re.fullmatch(r"(\d+(?:\.\d+)?) ?(s|sec|min|h)", str(text))
    value = float(number[1]) * UNITS[number[2]] if number else parse_count(text)
    whole = number or (isinstance(value, int | float) and not isinstance(value, bool) and value % 1 == 0)
    if not whole or value <= 0:
        raise ValueError("should be images such as 200k, or time such as 90s, 10min or 1h")
    return Budget(seconds=value) if number else Budget(images=int(value))


def _parse_seeds(seeds: Any) -> Any:
    """5 -> the seeds 0 to 4; a list of seeds stays."""
    count = parse_count(seeds) if isinstance(seeds, int | str) and not isinstance(seeds, bool) else seeds
    if not isinstance(count, int):
        return count
    if not 1 <= count <= MAX_SEEDS:
        raise ValueError(f"should be at least 1, for an arm without a seed is never trained, and at most {MAX_SEEDS}")
    return tuple(range(count))


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One of the things that are compared: a training's settings, but for data, seed and length.

    Attributes:
        objective: its name.
        preset: of the objective; by default the one that `equipoise train` takes for the data.
        network: name of the networks, with their default settings; by default the preset's.
        settings: what differs from these, by name such as `gamma` or by path such as `objective.gamma`.
    """

    objective: str
    preset: str | None = None
    network: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search over settings, of each arm.

    Attributes:
        trials: how many settings are tried of each arm; each is a group of seeds.
        of: the settings that are searched over, by name or path.
        ranges: lowest and highest value by name, where they are not those of `studies.ranges`.
        sampler: tpe (Bergstra et al. 2011), which learns from what was found, or random.
        prune: whether groups that have collapsed, or are worse than half of the others at equal images, are stopped.
    """

    trials: Annotated[Count, Field(le=100_000)]
    of: Names
    ranges: dict[str, tuple[FiniteFloat, FiniteFloat]] = field(default_factory=dict)
    sampler: Literal["tpe", "random"] = "tpe"
    prune: bool = True


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True, extra="forbid"))
class Study:
    """Everything that decides on a study's trials and on how they are scored."""

    arms: dict[str, Arm]
    """What is compared, by name."""
    budget: Annotated[Budget, BeforeValidator(parse_budget)]
    """Length of each trial."""
    data: Names = ("digits",)
    """Data sets; each arm is trained on each."""
    seeds: Annotated[tuple[Seed, ...], BeforeValidator(_parse_seeds)] = (0, 1, 2, 3, 4)
    """Seeds; each arm is trained with each on each data set."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of all arms, under those of an arm."""
    vary: dict[str, list[Any]] = field(default_factory=dict)
    """Settings with several values each: every arm is taken with each combination."""
    metric: str | None = None
    """The metric to compare by: kid for images, and mmd for toys, if none is named."""
    metrics: Names = ("kid", "precision", "recall", "coverage")
    """Metrics that are computed of images at the end; of toys, all are."""
    features: str = "auto"
    """Feature extractor of the metrics."""
    count: Annotated[Count, Field(ge=20, le=1_000_000)] = 1000
    """Samples in each score."""
    draws: Draws = 3
    """Draws of samples over which a score is the mean."""
    test: Annotated[float, Field(ge=0, le=0.4)] = 0.0
    """Share of the images that only final figures are taken of; of a search 0.1."""
    search: Search | None = None
    """A search over settings, of each arm."""
    baseline: str | None = None
    """The arm to beat."""
    threads: ProcessCount = 1
    """Processor threads of each trial."""

    def __post_init__(self) -> None:
        many = len(self.arms) * math.prod(map(len, self.vary.values()))  # before they are all made
        if many > MAX_ARMS:
            raise UsageError(f"a study of {many:,} arms is refused: {MAX_ARMS} at most")
        if not self.expanded:
            raise UsageError("a study needs an arm: name --objectives, or arms in study.yaml")
        for name, choices in self.vary.items():
            known = {str(each) if (number := as_number(each)) is None else number for each in choices}
            if len(known) < len(choices):
                raise UsageError(f"{quoted(name)[1:-1]} is to vary, and has a value twice: name each value once")
        for name, values in (("data", self.data), ("seeds", self.seeds)):
            if not values or len(set(values)) < len(values):
                raise UsageError(f"the study needs {name}, each once: correct {name} in study.yaml")
        if self.baseline is not None and self.baseline not in self.expanded:
            near = did_you_mean(self.baseline, self.expanded)
            names = arm_names(self.expanded)
            raise UsageError(f"there is no arm {quoted(self.baseline)}{near} to be the baseline: use one of {names}")
        if self.search and not self.test:
            object.__setattr__(self, "test", 0.1)

    @property
    def expanded(self) -> dict[str, Arm]:
        """All arms, with each combination of what varies, by name such as `began gamma=0.5`."""
        arms = dict(self.arms)
        for setting, values in self.vary.items():
            arms = {
                varied_name(name, setting, value): replace(arm, settings={**arm.settings, setting: value})
                for name, arm in arms.items()
                for value in values
            }
        return arms

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for YAML; what is as by default is left out."""
        values = asdict(self) | {"data": list(self.data), "seeds": list(self.seeds), "metrics": list(self.metrics)}
        values["budget"] = self.budget.images or f"{Decimal(repr(self.budget.seconds)):f}".removesuffix(".0") + "s"
        values["arms"] = {name: {k: v for k, v in arm.items() if v} for name, arm in values["arms"].items()}
        if self.search:
            ranges = {name: list(ends) for name, ends in self.search.ranges.items()}
            values["search"] |= {"of": list(self.search.of), "ranges": ranges}
        return {name: value for name, value in values.items() if value not in (None, {})}

    def to_yaml(self) -> str:
        """`to_dict` as YAML."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Study":
        """The inverse of `to_dict`; an arm may be given by its objective's name alone, or be empty.

        Raises:
            UsageError: an unknown key, or a value out of range.
        """
        values = {**values}
        check_keys(values, cls, STUDY)
        if "budget" not in values:
            raise UsageError("a study needs a budget: name --budget, such as 200k images or 10min of a core")
        arms = values.get("arms") or {}
        if not isinstance(arms, Mapping):
            raise UsageError("arms should be a mapping of names to settings, such as `began: {}`")
        values["arms"] = {str(name): _arm(str(name), arm) for name, arm in arms.items()}
        if isinstance(values.get("search"), Mapping):
            check_keys(values["search"], Search, "search")
        study: Study = construct(cls, values)
        return study


def varied_name(arm: str, setting: str, value: Any) -> str:
    """Name of an arm whose setting varies, at one of its values."""
    return f"{arm} {setting}={value}"


def as_number(value: Any) -> float | None:
    """A value that varies as a number, also of text, which YAML takes 1e-3 for; None where it is none."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def arm_names(arms: Iterable[str]) -> str:
    """Names of arms in a row, which may have commas themselves."""
    names = list(arms)
    return ("; " if any("," in name for name in names) else ", ").join(names)


def _arm(name: str, arm: Any) -> dict[str, Any]:
    arm = {} if arm is None else {"objective": arm} if isinstance(arm, str) else arm
    if not isinstance(arm, Mapping):
        raise UsageError(f"the arm {quoted(name)} should be a mapping with an objective")
    check_keys(arm, Arm, f"the arm {name}")
    return {"objective": name, **arm}


def read_study(file: Path) -> Study:
    """A study from a file in YAML.

    Raises:
        UsageError: it cannot be read, is no study, or holds a value out of range.
    """
    try:
        values = parse_yaml(read_text(file))
        if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
            raise UsageError("it must hold a mapping, such as `budget: 200k`")
        return Study.from_dict(values)
    except OSError as error:
        raise UsageError(f"cannot read the study {file}: {reason(error)}") from error
    except ValueError as error:  # UsageError is one, too
        raise UsageError(f"{file}: {error}") from error


def check_same(before: Study, now: Study, folder: Path) -> None:
    """Check that the study in `folder` may go on as `now`; further seeds, and another baseline, are fine.

    Raises:
        UsageError: it is another study, or seeds were taken away.
    """
    missing = set(before.seeds) - set(now.seeds)
    difference = f"which has seed {min(missing)}" if missing else ""
    old, new = (flat({k: v for k, v in each.to_dict().items() if k not in LATER}) for each in (before, now))
    for name in [*old, *new]:
        if old.get(name) != new.get(name):
            then, asked = (quoted(each[name]) if name in each else "not set" for each in (old, new))
            difference = f"whose {name} is {then}, here {asked}"
            break
    if difference:
        raise UsageError(
            f"{folder} holds another study, {difference}: choose another --out, or go on with it by `equipoise study "
            f"{folder}`"
        )


def assignments(words: Sequence[str], flag: str) -> dict[str, Any]:
    """Settings from words NAME=VALUE, whose values are read as in YAML.

    Raises:
        UsageError: a word without a name or a value.
    """
    found: dict[str, Any] = {}
    for word in words:
        name, sign, text = word.partition("=")
        if name in found:
            raise UsageError(f"{flag} names {quoted(name)[1:-1]} twice: name it once")
        if not (name and sign and text):
            raise UsageError(f"{flag} takes NAME=VALUE, such as gamma=0.5, not {quoted(word)}")
        try:
            found[name] = parse_yaml(text)
        except ValueError as error:
            raise UsageError(f"{flag} {quoted(word)}: {error}") from error
    return found
