"""What may change in a run's configuration after it has begun, and what may not."""

from collections.abc import Mapping
from typing import Any

from equipoise.config.train_config import TrainConfig

CHANGEABLE = {
    "data",  # where the images lie; that they are the same is checked by their content
    "devices",  # batches and their order are the same on any number of processes
    "images",
    "until_converged",
    "on_divergence",
    "log_every",
    "sample_every",
    "checkpoint_every",
    "keep",
    "keep_every",
    "score_every",
    "score_count",
}
"""Settings that say how long a run is and what it leaves behind, but not how it is trained."""


def forbidden_changes(before: TrainConfig, after: TrainConfig) -> list[str]:
    """The settings that differ although they are not CHANGEABLE, each as 'seed is 1 and was 0'."""
    old, new = (flat(config.to_dict()) for config in (before, after))
    return [
        f"{name} is {_shown(new, name)} and was {_shown(old, name)}"
        for name in dict.fromkeys([*old, *new])
        if name not in CHANGEABLE and (name not in old or name not in new or old[name] != new[name])
    ]


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their path, such as `objective.gamma`."""
    settings: dict[str, Any] = {}
    for name, value in values.items():
        path = f"{prefix}{name}"
        settings |= flat(value, f"{path}.") if isinstance(value, Mapping) else {path: value}
    return settings


def with_settings(config: TrainConfig, settings: Mapping[str, Any]) -> TrainConfig:
    """A copy of `config` with other `settings`, by their paths as in `flat`.

    Raises:
        UsageError: an unknown setting, a value out of range, or settings that do not go together.
    """
    values = config.to_dict()
    for path, value in settings.items():
        *parts, name = path.split(".")
        section = values
        for part in parts:
            section = section[part]
        section[name] = value
    return TrainConfig.from_dict(values)


def _shown(settings: Mapping[str, Any], name: str) -> str:
    return str(settings[name]) if name in settings else "not there"
