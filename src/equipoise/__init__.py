"""equipoise: GANs kept in balance. BEGAN and its family, trained, watched, resumed and compared.

>>> import equipoise
>>> run = equipoise.train(equipoise.TrainConfig(data="photos/", resolution=64))  # doctest: +SKIP
>>> generator = equipoise.load_generator(run)  # doctest: +SKIP
"""

import typing as _typing
from functools import cache as _cache
from importlib import import_module as _import_module

if _typing.TYPE_CHECKING:  # the public names, for type checkers and editors; at run time `__getattr__` imports them
    from equipoise.config.presets import PRESETS as PRESETS
    from equipoise.config.train_config import TrainConfig as TrainConfig
    from equipoise.errors import Diverged as Diverged
    from equipoise.errors import Interrupted as Interrupted
    from equipoise.errors import UsageError as UsageError
    from equipoise.evaluation.evaluate import evaluate as evaluate
    from equipoise.evaluation.scores import Scores as Scores
    from equipoise.networks import Autoencoder as Autoencoder
    from equipoise.objectives import BEGAN as BEGAN
    from equipoise.runs.run import Run as Run
    from equipoise.sampling.load import load_generator as load_generator
    from equipoise.sampling.sample import sample as sample
    from equipoise.training.train import resume as resume
    from equipoise.training.train import train as train


@_cache
def _modules() -> dict[str, str]:
    """Module of each public name.

    Read from the imports above, which Python itself skips: a second list by hand could differ from them.
    """
    import ast
    from pathlib import Path

    statements = ast.walk(ast.parse(Path(__file__).read_text(encoding="utf-8")))
    imports = [node for node in statements if isinstance(node, ast.ImportFrom)]
    return {
        alias.name: node.module
        for node in imports
        if node.module and node.module.startswith("equipoise.")
        for alias in node.names
    }


def __getattr__(name: str) -> _typing.Any:
    """Import a public name when it is first used, so that `equipoise --help` does not wait for torch."""
    if name == "__all__":
        return sorted(_modules())
    if name.startswith("__") or name not in _modules():
        raise AttributeError(f"module 'equipoise' has no attribute {name!r}")
    value = getattr(_import_module(_modules()[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names, imported or not, and what Python gives every module."""
    return sorted({*_modules(), *(name for name in globals() if name.startswith("__"))})
