"""equipoise: GANs kept in balance. BEGAN and its family, trained, watched, resumed and compared.

>>> import equipoise
>>> run = equipoise.train(equipoise.TrainConfig(data="photos/", resolution=64))  # doctest: +SKIP
>>> generator = equipoise.load_generator(run)  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from equipoise.config.presets import PRESETS
    from equipoise.config.train_config import TrainConfig
    from equipoise.errors import Diverged, Interrupted, UsageError
    from equipoise.evaluation.evaluate import evaluate
    from equipoise.evaluation.scores import Scores
    from equipoise.networks import Autoencoder
    from equipoise.objectives import BEGAN
    from equipoise.runs.run import Run
    from equipoise.sampling.load import load_generator
    from equipoise.sampling.sample import sample
    from equipoise.training.train import resume, train

_HOMES = {
    "BEGAN": "objectives",
    "PRESETS": "config.presets",
    "Autoencoder": "networks",
    "Diverged": "errors",
    "Interrupted": "errors",
    "Run": "runs.run",
    "TrainConfig": "config.train_config",
    "UsageError": "errors",
    "load_generator": "sampling.load",
    "resume": "training.train",
    "sample": "sampling.sample",
    "train": "training.train",
    "Scores": "evaluation.scores",
    "evaluate": "evaluation.evaluate",
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
    "load_generator",
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
