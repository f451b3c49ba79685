"""Ranges of settings to search over, by default the wide ones of "Are GANs Created Equal?".

Lucic et al. (2018), arXiv:1711.10337, and the authors' code, github.com/google/compare_gan, `params.py`.
"""

import math
from typing import NamedTuple

from equipoise.config.changes import flat, with_settings
from equipoise.config.presets import PRESETS
from equipoise.config.train_config import TrainConfig
from equipoise.errors import UsageError, quoted
from equipoise.studies.plan import Search
from equipoise.studies.trials import setting_path


class Range(NamedTuple):
    """Lowest and highest value, and whether between them values are drawn evenly in their logarithm."""

    low: float
    high: float
    log: bool = False


COMMON = {"lr": Range(1e-5, 1e-2, log=True), "beta1": Range(0.0, 0.999), "n_critic": Range(1, 5)}
"""Of every objective."""
OWN = {
    "began": {"gamma": Range(1e-3, 1.0), "lambda_k": Range(1e-4, 1e-2, log=True)},
    "wgan": {"clip": Range(1e-3, 1.0, log=True)},
    "wgan-gp": {"weight": Range(0.1, 100.0, log=True)},
    "dragan": {"weight": Range(0.1, 100.0, log=True)},
}
"""By objective."""
LOG = 100.0  # from which ratio of its ends on a range that is given is even in the logarithm


def ranges_of(search: Search, config: TrainConfig) -> dict[str, Range]:
    """Range of each setting that is searched over, by its path.

    Raises:
        UsageError: there is no such setting or no range of it, it is no number, or a range is upside down or has ends
            that the setting cannot have.
    """
    if unused := next((name for name in search.ranges if name not in search.of), None):
        raise UsageError(f"the range of {unused} is not searched: add it to --of, or leave it out")
    known = COMMON | OWN.get(config.objective_name, {})
    ranges = {}
    for name in search.of:
        path = setting_path(config, name)
        last = path.rpartition(".")[2]
        if name in search.ranges:
            low, high = search.ranges[name]
            if not low < high:
                raise UsageError(
                    f"the range of {name} is upside down, from {low:g} to {high:g}: give the lower end first"
                )
            if isinstance(flat(config.to_dict())[path], int):
                low, high = math.ceil(low), math.floor(high)
                if low >= high:
                    raise UsageError(f"the range of {name} holds fewer than two whole numbers: give a wider one")
            chosen = Range(low, high, log=low > 0 and high >= LOG * low)
        elif last in known:
            chosen = known[last]
        else:
            has = ", ".join(known)
            raise UsageError(
                f"there is no usual range of {quoted(name)}, as of {has}: give one, as --range {name}=1:10"
            )
        value = flat(config.to_dict())[path]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(f"{name} is {quoted(value)}, no number: a search is over numbers")
        for end in (chosen.low, chosen.high):
            with_settings(config, {path: type(value)(end)})
        ranges[path] = chosen
    if not ranges:
        raise UsageError("a search needs settings: name them with --of, such as lr,gamma")
    return ranges


def given_settings(config: TrainConfig, ranges: dict[str, Range]) -> list[dict[str, float]]:
    """The settings that are tried first: the arm's own, and those of the authors where they differ."""
    published = flat(PRESETS[config.objective_name]["published"].to_dict())
    own = flat(config.to_dict())
    rows = [{path: source[path] for path in ranges} for source in (own, published) if all(p in source for p in ranges)]
    return [row for index, row in enumerate(rows) if row not in rows[:index]]
