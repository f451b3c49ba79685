"""What searches found, for the report of a study."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.studies import figures
from equipoise.studies.search import Search
from equipoise.studies.statistics import best_of
from equipoise.studies.trials import Trial

AS_IT_WAS = "as it was"  # what the report calls an arm by its own settings


@dataclass(frozen=True)
class Found:
    """What searches found, for the report; empty where a study is none."""

    searches: Sequence[Search] = ()

    def finalists(self) -> list[Trial]:
        """The trials of each arm's own settings, and of the best that were found if these are others, named so.

        Where an arm's own are the best on one data set alone, they stand for the best found there.
        """
        best = {search.cell: group for search in self.searches if (group := search.best())}
        bettered = {cell.arm for cell, group in best.items() if group.number != 0}
        trials = []
        for search in self.searches:
            chosen = {AS_IT_WAS: search.groups[0]} if search.groups else {}
            if search.cell.arm in bettered and search.cell in best:
                chosen["best found"] = best[search.cell]
            for word, group in chosen.items():
                arm = f"{search.cell.arm}, {word}"
                trials += [replace(trial, arm=arm, place=trial.name) for trial in group.trials]
        return trials

    def lines(self) -> list[str]:
        """What was found, in sentences."""
        lines = []
        for search in self.searches:
            ranked = search.ranked()
            finite = [(value, group) for value, group in ranked if math.isfinite(value)]
            where = f"{search.cell.arm} on {search.cell.data}"
            lines.append(
                f"{where}: {len(ranked)} of {search.search.trials} settings tried by {search.search.sampler}, "
                f"{len(ranked) - len(finite)} of them given up, diverged or failed"
            )
            if not finite:
                continue
            values = np.array([value for value, _ in finite])
            quartiles = ", ".join(f"{value:.3g}" for value in np.quantile(values, (0.25, 0.5, 0.75)))
            best, group = finite[0]
            shown = ", ".join(f"{path} {value:.3g}" for path, value in group.settings.items())
            own = next((value for value, each in ranked if each.number == 0), math.inf)
            others = f"its own settings have {own:.3g}" if group.number else "these are its own settings"
            lines.append(
                f"{where}: KID beside held-out images has quartiles {quartiles} over the settings that finished; "
                f"the best is {best:.3g} ({shown}), {others}"
            )
        return lines

    def pictures(self) -> dict[str, bytes]:
        """Figures: best of k against k, and the score against each setting."""
        found = [(search, [value for value, _ in search.ranked()]) for search in self.searches]
        found = [(search, values) for search, values in found if np.isfinite(values).any()]
        if not found:
            return {}
        rows = [(f"{s.cell.arm} on {s.cell.data}", _worst_for_infinite(values)) for s, values in found]
        pictures = {"search": figures.png(figures.search_curves(rows, "KID"))}
        for index, (search, _) in enumerate(found):
            tried = [(group.settings, value) for value, group in search.ranked()]
            pictures[f"settings-{index}" if len(found) > 1 else "settings"] = figures.png(
                figures.search_settings(tried, "KID beside held-out images", f"{search.cell.arm} on {search.cell.data}")
            )
        return pictures

    def values(self) -> dict[str, Any]:
        """Everything that was tried, for JSON."""
        return {
            f"{search.cell.arm} on {search.cell.data}": {
                "tried": [
                    {"number": group.number, "settings": group.settings, "kid": value}
                    for value, group in search.ranked()
                ],
                "best_of": best_of(_worst_for_infinite([value for value, _ in search.ranked()])).tolist(),
            }
            for search in self.searches
            if search.ranked()
        }


def _worst_for_infinite(values: Sequence[float]) -> NDArray[np.float64]:
    """Scores in which what was given up counts as the worst that finished, so that means of them exist."""
    array = np.array(values, np.float64)
    finite = array[np.isfinite(array)]
    return np.where(np.isfinite(array), array, finite.max() if len(finite) else 0.0)
