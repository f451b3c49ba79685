"""Suggest settings for images: `suggest`, and what it returns."""

import math
import os
import shlex
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import torch

from equipoise.config.arguments import checked
from equipoise.config.changes import flat, with_settings
from equipoise.config.numbers import MOST_MINUTES
from equipoise.config.presets import PRESETS
from equipoise.config.train_config import TrainConfig
from equipoise.data import BUNDLED, TOYS, ProgressCallback, as_text, parse_resolution
from equipoise.devices import available_cores, resolve_device
from equipoise.errors import UsageError, did_you_mean, quoted
from equipoise.isolation import isolated
from equipoise.suggestion.facts import Facts, look
from equipoise.suggestion.rules import WIDTHS, Choice, choose, remarks, require_enough, within
from equipoise.suggestion.speed import images_per_second, seconds_per_score
from equipoise.training.contention import BackgroundLoad, fewer_threads

CHOSEN = (
    "resolution",
    "objective.gamma",
    "network.wavelet",
    "network.width",
    "network.width_ratio",
    "network.latent",
    "lr",
    "flip",
    "augment",
    "batch",
    "images",
)
"""Paths of the settings that there are rules for; where a configuration has no such setting, nothing is chosen."""
OF_BEGAN = {"network.wavelet", "network.width_ratio", "lr"}  # others have rates, and margins of energies, of their own
RULED_NETWORK = "dcgan-autoencoder"  # whose width and latent the rules know
PROBE_SIDE = 32


@dataclass(frozen=True)
class Suggestion:
    """Settings for images, and why.

    Attributes:
        config: to train with.
        facts: what was seen of the images.
        choices: the settings that were chosen, with a reason each; others are as they were given, or the defaults.
        remarks: what else to know, in sentences.
        images_per_second: speed of such a run on this machine, without samples, scores and checkpoints.
        given: names of the settings that were given.
        seconds_of_scores: about how long its scores take; 0 where that was not asked for.
    """

    config: TrainConfig
    facts: Facts
    choices: list[Choice]
    remarks: list[str]
    images_per_second: float
    given: frozenset[str] = frozenset()
    seconds_of_scores: float = 0.0

    @property
    def reasons(self) -> dict[str, str]:
        """Why each setting was chosen, by its path, such as `objective.gamma`."""
        return {choice.setting: choice.reason for choice in self.choices}

    @property
    def seconds(self) -> float:
        """About how long training takes on this machine, once the images are packed."""
        return self.config.images / self.images_per_second + self.seconds_of_scores

    @property
    def sentences(self) -> list[str]:
        """What was seen, what was chosen and why, what else to know, and how long it takes: a sentence each."""
        chosen = [f"{choice.name} {choice.shown}: {choice.reason}" for choice in self.choices]
        return [str(self.facts), *chosen, *self.remarks, self._time]

    @property
    def _time(self) -> str:
        if self.seconds >= 120 * 60:
            time = f"{self.seconds / 3600:.0f} hours"
        else:
            unit, length = ("minute", 60) if self.seconds >= 60 else ("second", 1)
            number = max(1, round(self.seconds / length))
            time = f"{number} {unit}{'' if number == 1 else 's'}"
        speed = f"{self.images_per_second:,.0f}" if self.images_per_second >= 10 else f"{self.images_per_second:.2g}"
        return f"about {time} on this machine, at {speed} images a second"

    @property
    def command(self) -> str:
        """The words that train with these settings, for a shell."""
        words = ["equipoise", "train", self.config.objective_name]
        if "network" in self.given:
            words += ["--network", self.config.network_name]
        for path, value in flat(self.config.to_dict()).items():
            flag = path.rpartition(".")[2].replace("_", "-")
            told = path == "data" or path in CHOSEN or {path, path.rpartition(".")[2]} & self.given
            if told and isinstance(value, bool):
                words.append(f"--{'' if value else 'no-'}{flag}")
            elif told and str(value).startswith("-"):  # else taken for a flag
                words.append(f"--{flag}={value}")
            elif told and value is not None and flag != "name":
                words += [f"--{flag}", *map(str, value if isinstance(value, list | tuple) else [value])]
        return shlex.join(words)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "command": self.command,
            "choices": [vars(choice) for choice in self.choices],
            "remarks": self.remarks,
            "images_per_second": self.images_per_second,
            "seconds": self.seconds,
            "data": asdict(self.facts),
            "config": self.config.to_dict(),
        }

    def __str__(self) -> str:
        name = max((len(choice.name) for choice in self.choices), default=0)
        value = max((len(choice.shown) for choice in self.choices), default=0)
        rows = [f"{choice.name:{name}}  {choice.shown:{value}}  {choice.reason}" for choice in self.choices]
        return "\n  ".join([str(self.facts), *rows, *self.remarks, self._time])


@checked
def suggest(
    data: str | os.PathLike[str], *, objective: str = "began", minutes: float | None = None, **settings: Any
) -> Suggestion:
    """Settings for images, by a look at some of them and by this machine's speed; nothing is trained or written.

    Args:
        data: images of any kind that can be trained on.
        objective: name of the objective, whose defaults hold where nothing is chosen.
        minutes: that training may take; by default as long as the images are good for.
        settings: of a `TrainConfig`, its objective or network by their names alone, such as `resolution=64, width=16`;
            these stay as they are given.

    Raises:
        UsageError: the data or a setting cannot be used, or there are too few images.
    """
    if objective not in PRESETS:
        near = did_you_mean(objective, PRESETS)
        raise UsageError(f"unknown objective {quoted(objective)}{near}: see `equipoise train`")
    default = PRESETS[objective]["default"]
    paths = {path.rpartition(".")[2]: path for path in flat(default.to_dict()) if not path.endswith(".name")}
    for name in settings:
        if name not in paths:
            raise UsageError(
                f"unknown setting {quoted(name)}{did_you_mean(name, paths)}: see `equipoise train {objective} --help`"
            )
    require_images(as_text(data))
    given = {paths[name]: value for name, value in settings.items()}
    return fill_in(with_settings(default, {"data": as_text(data), **given}), given, minutes)


def require_images(data: str) -> None:
    """Refuse a toy, with UsageError."""
    if data in TOYS:
        raise UsageError(
            f"{data} is a toy, of points and not of images: its preset has all settings, as in "
            f"`equipoise train began --data {data}`"
        )


def is_chosen_for(data: str) -> bool:
    """Whether settings are chosen for `data` by themselves: not for toys and bundled images, which presets are for."""
    return data not in {*TOYS, *BUNDLED}


def open_settings(config: TrainConfig, given: Collection[str]) -> list[str]:
    """Paths of the settings of `config` that there are rules for and that are not given; see `fill_in`."""
    settings = flat(config.to_dict())
    ruled = [path for path in CHOSEN if path in settings and not _is_given(path, given)]
    if config.objective.needs.levels or config.tasks.inpaint:
        ruled = [path for path in ruled if path != "augment"]  # which these refuse
    if config.network_name != RULED_NETWORK:
        ruled = [path for path in ruled if not path.startswith("network.") and path != "lr"]
    return ruled if config.objective_name == "began" else [path for path in ruled if path not in OF_BEGAN]


@isolated()
def fill_in(
    config: TrainConfig,
    given: Collection[str],
    minutes: float | None = None,
    progress: ProgressCallback | None = None,
) -> Suggestion:
    """Choose the settings of `config` that are not given.

    Args:
        config: says what the data are, and all that is not chosen.
        given: names of settings that stay, such as `gamma`, `objective.gamma`, or `objective` for all of its own.
        minutes: that training may take.
        progress: called with the number of images looked at, and to look at.

    Raises:
        UsageError: as `suggest`.
    """
    _check_minutes(config, given, minutes)
    require_images(config.data)
    facts, device = look(config, progress), torch.device(resolve_device(config.device))
    free = open_settings(config, given)
    if {*free} - {"images"}:
        require_enough(facts)
    kept = {path: value for path, value in flat(config.to_dict()).items() if path not in free}
    if "network.wavelet" not in free:
        kept.setdefault("network.wavelet", 0)  # the energy of networks that have no such setting is of pixels

    load = BackgroundLoad()
    # How fast the machine is decides on the resolution and the width, if these are open
    sized = {"resolution": PROBE_SIDE, "network.width": WIDTHS["usual"]}
    probed = with_settings(config, {path: value for path, value in sized.items() if path in free})
    measured = probe = math.inf
    if {"resolution", "network.width"} & set(free):
        measured = _speed(probed, facts, device)
        height, width = parse_resolution(probed.resolution)
        probe = measured * height * width / PROBE_SIDE**2
    choices = [choice for choice in choose(facts, kept, probe, minutes) if choice.setting in free]
    chosen = with_settings(config, {choice.setting: choice.value for choice in choices})

    # And how long it takes, on the length
    alike = all(getattr(chosen, name) == getattr(probed, name) for name in ("resolution", "network", "batch"))
    speed = measured if alike and math.isfinite(measured) else _speed(chosen, facts, device)
    score, every = 0.0, chosen.score_every or math.inf
    if minutes is not None:
        if chosen.score_every:
            score = seconds_per_score(chosen, _shape(chosen, facts), facts.classes, device)
        pace = 1 / speed + score / every  # seconds an image, its share of a score among it
        # The real images are looked at once, as long as a score takes, and the last score is beside the regular ones.
        choices[-1] = within(minutes, 1 / pace, choices[-1], 2 * score)
        chosen = chosen.with_changes(images=choices[-1].value)
    scores = (chosen.images / every + 2) * score
    busy = load.busy_cores() or 0.0
    fewer = fewer_threads(busy, torch.get_num_threads(), available_cores()) if device.type == "cpu" else None
    said = remarks(facts, chosen.tasks, busy_cores=busy, fewer_threads=fewer)
    return Suggestion(chosen, facts, choices, said, speed, frozenset(given), scores)


def _check_minutes(config: TrainConfig, given: Collection[str], minutes: float | None) -> None:
    """Check the time that training may take.

    Raises:
        UsageError: it is none, or something else says how long to train.
    """
    if minutes is None:
        return
    if not 0 < minutes <= MOST_MINUTES:
        raise UsageError(f"minutes must be a number above 0, and at most {MOST_MINUTES:,}, not {quoted(minutes)}")
    if "images" in given:
        raise UsageError("--minutes and --images both say how long to train: leave one of them out")
    if config.toy:
        raise UsageError(
            f"--minutes is for images, and {config.data} is a toy, of points: use --images, as in --images 50k"
        )


def _speed(config: TrainConfig, facts: Facts, device: torch.device) -> float:
    return images_per_second(config, _shape(config, facts), facts.classes, device)


def _shape(config: TrainConfig, facts: Facts) -> tuple[int, int, int]:
    return (facts.channels, *parse_resolution(config.resolution))


def _is_given(path: str, given: Collection[str]) -> bool:
    """Whether a setting is named: by its path, by its name alone, or as part of all of its section."""
    section, _, name = path.rpartition(".")
    return bool({path, name, section} & set(given))
