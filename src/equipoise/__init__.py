"""equipoise: GANs kept in balance. BEGAN and its family, trained, watched, resumed and compared.

>>> import equipoise
>>> run = equipoise.train(equipoise.TrainConfig(data="photos/", resolution=64))  # doctest: +SKIP
>>> generator = equipoise.Run.open(run.path).generator()  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from equipoise.config import TrainConfig
    from equipoise.errors import Diverged, Interrupted, UsageError
    from equipoise.evaluation import evaluate
    from equipoise.latents import sample
    from equipoise.networks import Autoencoder
    from equipoise.objectives import BEGAN
    from equipoise.presets import PRESETS
    from equipoise.run import Run
    from equipoise.scores import Scores
    from equipoise.training import resume, train

_HOMES = {
    "BEGAN": "objectives",
    "PRESETS": "presets",
    "Autoencoder": "networks",
    "Diverged": "errors",
    "Interrupted": "errors",
    "Run": "run",
    "TrainConfig": "config",
    "UsageError": "errors",
    "resume": "training",
    "sample": "latents",
    "train": "training",
    "Scores": "scores",
    "evaluate": "evaluation",
}

__all__ = [
    "BEGAN",
    "PRESETS",
    "Autoencoder",
    "Diverged",
    "Interrupted",
    "Run",
    "Scores",
    "TrainConfig",
    "UsageError",
    "evaluate",
    "resume",
    "sample",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `equipoise --help` does not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'equipoise' has no attribute {name!r}")
    value = getattr(import_module(f"equipoise.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
