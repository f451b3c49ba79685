"""A trial: one arm on one data set with one seed, in an ordinary run's folder, with its outcome in a file beside it."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass as checked

from equipoise.config.changes import flat, with_settings
from equipoise.config.defaults import network_for
from equipoise.config.presets import PRESETS, default_preset
from equipoise.config.train_config import TrainConfig
from equipoise.errors import UsageError, as_word, did_you_mean, quoted
from equipoise.metrics import METRICS, POINT_METRICS
from equipoise.networks import NETWORKS
from equipoise.reading import parse_json, read_bytes
from equipoise.runs.files import to_json, write_atomically
from equipoise.studies.plan import Arm, Study

TRIALS = "trials"  # folder of all trials in a study's
CURVE_POINTS, PICTURES, CHECKPOINTS = 20, 10, 10  # of each trial over its length
COLLAPSES = {"collapse", "sudden-collapse"}  # kinds of health events

ALIKE = "a study sets it, alike for all trials"
DECIDED = {
    "data": "name data sets with --data",
    "seed": "say how many with --seeds",
    "images": "say how long with --budget",
    "until_converged": "all trials are of equal length, which --budget says",
    "test": "say it as `test: 0.1` in study.yaml",
    "score_count": "say how many with --count",
    **dict.fromkeys(("sample_every", "checkpoint_every", "keep", "score_every"), ALIKE),
}
"""Settings that no arm has of its own, and where they come from."""

State = Literal["finished", "diverged", "stopped", "failed"]


@dataclass(frozen=True)
class Trial:
    """One training of a study.

    Attributes:
        arm: name of the arm.
        data: name of the data set.
        seed: of the training.
        config: all that decides on it.
        place: its folder in the study's, where that is not named by the above.
    """

    arm: str
    data: str
    seed: int
    config: TrainConfig
    place: str = ""

    @property
    def name(self) -> str:
        """Path of its folder in the study's."""
        return self.place or f"{TRIALS}/{slug(self.arm)}/{slug(self.data)}/seed-{self.seed}"


@checked(frozen=True, kw_only=True, config=ConfigDict(extra="ignore"))
class Progress:
    """How far a trial is, and what it has cost until now, all of its processes together.

    Attributes:
        images: seen.
        cpu_seconds: of all threads.
        seconds: by the clock.
        memory: largest resident bytes; on a GPU, bytes allocated there.
        joules: energy, where the machine tells; else None.
        seconds_per_image: of a core (on a GPU by the clock), over the last process.
        attempts: processes that worked on it.
        host: name of the machine.
    """

    images: int = 0
    cpu_seconds: float = 0.0
    seconds: float = 0.0
    memory: int = 0
    joules: float | None = None
    seconds_per_image: float | None = None
    attempts: int = 0
    host: str = ""


@checked(frozen=True, kw_only=True, config=ConfigDict(extra="ignore"))
class Outcome:
    """What became of a trial.

    Attributes:
        state: finished; diverged (scored at its last good checkpoint); stopped (a search has given it up); failed.
        message: why it did not finish, or "".
        cost: until its end.
        health: kinds of the warnings and errors that stood at the end.
        final: scores of the last checkpoint by metric, each the mean over draws of samples.
        best: the same of the checkpoint that had the best KID while training.
        deviation: standard deviation of the last checkpoint's scores over draws.
        best_images: images seen by the best checkpoint.
        protocol: by which all was scored.
    """

    state: State
    message: str = ""
    cost: Progress = field(default_factory=Progress)
    health: tuple[str, ...] = ()
    final: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    deviation: dict[str, float] = field(default_factory=dict)
    best_images: int | None = None
    protocol: dict[str, Any] = field(default_factory=dict)

    @property
    def collapsed(self) -> bool:
        """Whether its samples were alike at the end."""
        return not COLLAPSES.isdisjoint(self.health)


OUTCOME, PROGRESS = TypeAdapter(Outcome), TypeAdapter(Progress)


def outcome_file(folder: Path) -> Path:
    """Where the outcome of the trial in `folder` lies: beside the run's folder, which stays an ordinary one."""
    return folder.with_name(f"{folder.name}.json")


def progress_file(folder: Path) -> Path:
    """Where the progress of the trial in `folder` lies."""
    return folder.with_name(f"{folder.name}.progress.json")


def read_outcome(folder: Path) -> Outcome | None:
    """The outcome of the trial in `folder`; None while it has none, or none that can be read."""
    try:
        return parse_json(OUTCOME, read_bytes(outcome_file(folder)))
    except (OSError, ValueError):
        return None


def read_progress(folder: Path) -> Progress:
    """The progress of the trial in `folder`."""
    try:
        return parse_json(PROGRESS, read_bytes(progress_file(folder)))
    except (OSError, ValueError):
        return Progress()


def write_json(file: Path, value: Outcome | Progress) -> None:
    """Write an outcome or progress, whole or not at all."""
    write_atomically(file, to_json(asdict(value), indent=1).encode())


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Write the outcome of the trial in `folder`, which may never have begun."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    write_json(outcome_file(folder), outcome)


def slug(name: str) -> str:
    """`name` as a part of a path: what is unusual in a file's name becomes a dash."""
    return re.sub(r"[^\w.=,+-]+", "-", Path(name).name if "/" in name else name).strip("-.") or "data"


def arm_config(study: Study, arm: Arm, data: str) -> TrainConfig:
    """The configuration of an arm on a data set, but for length and seed.

    Raises:
        UsageError: an unknown objective, preset, network or setting, or settings that do not go together.
    """
    if arm.objective not in PRESETS:
        near = did_you_mean(arm.objective, PRESETS)
        raise UsageError(f"unknown objective {quoted(arm.objective)}{near}: use one of {', '.join(PRESETS)}")
    presets, preset = PRESETS[arm.objective], arm.preset or default_preset(arm.objective, data)
    if preset not in presets:
        near = did_you_mean(preset, presets)
        raise UsageError(f"unknown preset {quoted(preset)}{near}: {arm.objective} has {', '.join(presets)}")
    config = presets[preset]
    if arm.network is not None:
        if arm.network not in NETWORKS:
            near = did_you_mean(arm.network, NETWORKS)
            raise UsageError(f"unknown network {quoted(arm.network)}{near}: use one of {', '.join(NETWORKS)}")
        config = config.with_changes(network=network_for(config.objective, arm.network))
    settings = {**study.settings, **arm.settings}
    paths = {setting_path(config, name): value for name, value in settings.items()}
    return with_settings(config, {"data": data, "test": study.test, **paths})


def setting_path(config: TrainConfig, name: str) -> str:
    """Path of a setting in `flat` form that is named by it, or by its last part alone, such as `gamma`.

    Raises:
        UsageError: there is none, or several, or the study decides it.
    """
    paths, name = list(flat(config.to_dict())), name.replace("-", "_")
    found = [name] if name in paths else [path for path in paths if path.rpartition(".")[2] == name]
    if len(found) != 1 or name.endswith("name"):
        lasts = [path.rpartition(".")[2] for path in paths]
        why = f": name one of {' or '.join(found)}" if found else did_you_mean(name, lasts)
        raise UsageError(f"{config.objective_name} has no setting {quoted(name)}{why}")
    if found[0] in DECIDED:
        raise UsageError(f"{found[0].replace('_', '-')} is no setting of an arm: {DECIDED[found[0]]}")
    return found[0]


def trial_config(study: Study, config: TrainConfig, images: int, seed: int) -> TrainConfig:
    """The configuration of a trial: of an arm, with length, seed, and what a study needs it to leave behind.

    Raises:
        UsageError: it is shorter than one line of its log.
    """
    if images < max(config.log_every, config.batch):
        raise UsageError(
            f"the budget of {images:,} images is shorter than one line of the log, which comes every "
            f"{config.log_every:,}: raise --budget, or add --set log-every={max(1, images // 10)}"
        )
    images = images // config.batch * config.batch
    return config.with_changes(
        images=images,
        seed=seed,
        sample_every=_part(images, PICTURES, config.batch),
        checkpoint_every=_part(images, CHECKPOINTS, config.batch),
        keep=2,
        score_every=0 if config.toy else _part(images, CURVE_POINTS, config.batch),
        score_count=study.count,
    )


def _part(images: int, parts: int, batch: int) -> int:
    """A `parts`-th of the length, in whole batches, so that all arms are measured at equal images."""
    return max(batch, images // parts // batch * batch)


class Cell(NamedTuple):
    """An arm on a data set."""

    arm: str
    data: str


def all_trials(
    plan: Study, configs: Mapping[Cell, TrainConfig], lengths: Mapping[str, Mapping[str, int]]
) -> list[Trial]:
    """Every trial, the first seed of all arms before the second, so that arms can be compared early."""
    return [
        Trial(cell.arm, cell.data, seed, trial_config(plan, config, lengths[cell.arm][cell.data], seed))
        for seed in plan.seeds
        for cell, config in configs.items()
    ]


def metric_of(plan: Study, config: TrainConfig) -> str:
    """Name of the metric to compare by.

    Raises:
        UsageError: there is none of that name that has a better and a worse end.
    """
    known = POINT_METRICS if config.toy else METRICS
    name = plan.metric or ("mmd" if config.toy else "kid")
    usable = [each for each, metric in known.items() if metric.better != "reference"]
    if config.toy and not config.toy.modal:
        usable = [each for each in usable if not POINT_METRICS[each].needs_modes]
    if name not in usable:
        raise UsageError(f"a study cannot compare by {name!r}: use --metric {' or '.join(usable)}")
    return name


def command_of(folder: Path) -> str:
    """The command that makes the run in `folder` again."""
    return f"equipoise train --config {as_word(folder / 'config.yaml')} --out {as_word(folder.name + '-again')}"


def check_slugs(names: Mapping[str, Any] | tuple[str, ...], what: str) -> None:
    """Refuse names that would share a folder, with UsageError."""
    seen: dict[str, str] = {}
    for name in names:
        if (part := slug(name).lower()) in seen:
            both = f"{quoted(seen[part])} and {quoted(name)}"
            raise UsageError(f"the {what} {both} would share a folder: name them otherwise")
        seen[part] = name
