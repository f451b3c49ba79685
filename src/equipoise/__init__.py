"""equipoise: GANs kept in balance. BEGAN and its family, trained, watched, resumed and compared.

>>> import equipoise
>>> run = equipoise.train(equipoise.TrainConfig(data="photos/", resolution=64))  # doctest: +SKIP
>>> generator = equipoise.load_generator(run)  # doctest: +SKIP
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:  # for type checkers and editors, which do not run `__getattr__`; a test compares this with _MODULES
    from equipoise.config.presets import PRESETS as PRESETS
    from equipoise.config.train_config import TrainConfig as TrainConfig
    from equipoise.errors import Diverged as Diverged
    from equipoise.errors import Interrupted as Interrupted
    from equipoise.errors import UsageError as UsageError
    from equipoise.evaluation.evaluate import evaluate as evaluate
    from equipoise.evaluation.scores import Scores as Scores
    from equipoise.exporting.export import export as export
    from equipoise.exporting.import_weights import import_weights as import_weights
    from equipoise.exporting.pretrained import load as load
    from equipoise.networks import Autoencoder as Autoencoder
    from equipoise.objectives import BEGAN as BEGAN
    from equipoise.runs.listing import list_runs as list_runs
    from equipoise.runs.run import Run as Run
    from equipoise.sampling.directions import directions as directions
    from equipoise.sampling.interpolate import interpolate as interpolate
    from equipoise.sampling.invert import invert as invert
    from equipoise.sampling.load import load_generator as load_generator
    from equipoise.sampling.outliers import outliers as outliers
    from equipoise.sampling.reconstruct import reconstruct as reconstruct
    from equipoise.sampling.sample import sample as sample
    from equipoise.sampling.traverse import traverse as traverse
    from equipoise.serving.serve import serve as serve
    from equipoise.studies.study import study as study
    from equipoise.suggestion.suggest import Suggestion as Suggestion
    from equipoise.suggestion.suggest import suggest as suggest
    from equipoise.training.train import resume as resume
    from equipoise.training.train import train as train

_MODULES = {
    "BEGAN": "objectives",
    "PRESETS": "config.presets",
    "Autoencoder": "networks",
    "Diverged": "errors",
    "Interrupted": "errors",
    "Run": "runs.run",
    "Scores": "evaluation.scores",
    "Suggestion": "suggestion.suggest",
    "TrainConfig": "config.train_config",
    "UsageError": "errors",
    "directions": "sampling.directions",
    "evaluate": "evaluation.evaluate",
    "interpolate": "sampling.interpolate",
    "invert": "sampling.invert",
    "export": "exporting.export",
    "import_weights": "exporting.import_weights",
    "list_runs": "runs.listing",
    "load": "exporting.pretrained",
    "load_generator": "sampling.load",
    "outliers": "sampling.outliers",
    "reconstruct": "sampling.reconstruct",
    "resume": "training.train",
    "sample": "sampling.sample",
    "serve": "serving.serve",
    "study": "studies.study",
    "suggest": "suggestion.suggest",
    "train": "training.train",
    "traverse": "sampling.traverse",
}
"""Module of each public name, imported when the name is first used, so that `equipoise --help` waits for no torch."""

__all__ = list(_MODULES)


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module 'equipoise' has no attribute {name!r}")
    value = getattr(_import_module(f"equipoise.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names, imported or not, and what Python gives every module."""
    return sorted({*_MODULES, *(name for name in globals() if name.startswith("__"))})
