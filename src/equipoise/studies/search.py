"""A search over settings: each trial a group of seeds, proposed by Optuna, given up by health or at equal images.

Settings are chosen by KID beside held-out images; what is reported at the end is of test images, which neither training
nor the search has seen.
"""

import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equipoise.config.changes import flat, with_settings
from equipoise.config.train_config import TrainConfig
from equipoise.errors import UsageError
from equipoise.runs import jsonl
from equipoise.runs.files import to_json, write_atomically
from equipoise.runs.listing import standing
from equipoise.studies.groups import GROUPS, Group, read_groups
from equipoise.studies.plan import Study
from equipoise.studies.ranges import Range, given_settings, ranges_of
from equipoise.studies.trials import (
    COLLAPSES,
    Cell,
    Outcome,
    Trial,
    outcome_file,
    read_outcome,
    trial_config,
    write_outcome,
)

if TYPE_CHECKING:
    import optuna

STARTUP = 5  # groups before any is given up for being worse than the others
WARM_UP = 0.25  # share of the length before that


class Search:
    """The search of one arm on one data set.

    Args:
        plan: the study.
        folder: of the study.
        cell: arm and data set.
        config: of the arm, but for length and seed.
        images: length of each trial.
        settings: of the groups that there are already.
    """

    def __init__(
        self,
        plan: Study,
        folder: Path,
        cell: Cell,
        config: TrainConfig,
        images: int,
        settings: Sequence[dict[str, float]],
    ) -> None:
        assert plan.search is not None  # noqa: S101
        self.plan, self.folder, self.cell, self.config, self.images = plan, folder, cell, config, images
        self.search = plan.search
        ranges = ranges_of(plan.search, config)
        self.first = given_settings(config, ranges)
        # Optuna wants one scale for a whole search, and what is tried first may be 0.
        positive = {path: all(row[path] > 0 for row in self.first) for path in ranges}
        self.ranges = {path: each._replace(log=each.log and positive[path]) for path, each in ranges.items()}
        self.groups = [self._group(number, each) for number, each in enumerate(settings)]
        self.optuna: optuna.Study | None = None

    def _group(self, number: int, settings: dict[str, float]) -> Group:
        own = flat(self.config.to_dict())
        typed = {path: type(own[path])(value) for path, value in settings.items()}
        config, arm = with_settings(self.config, typed), f"{self.cell.arm} {number:03d}"
        trials = [
            Trial(arm, self.cell.data, seed, trial_config(self.plan, config, self.images, seed))
            for seed in self.plan.seeds
        ]
        return Group(number, typed, trials, given=number < len(self.first))

    def propose(self) -> Group | None:
        """The next group; None where there are enough."""
        if len(self.groups) >= self.search.trials:
            return None
        number, study = len(self.groups), self._study()
        given = self.first[number] if number < len(self.first) else None
        if given:
            study.enqueue_trial(given)
        asked = study.ask(self._distributions(given))
        settings = given or asked.params
        group = self._group(number, settings)
        group.asked = asked
        self.groups.append(group)
        return group

    def watch(self) -> dict[str, str]:
        """The trials that are to be given up, and why; and what Optuna is to know of all groups."""
        given_up: dict[str, str] = {}
        study = self._study()
        for group in self.groups:
            if group.asked is None:
                continue
            worse = self._report(group, group.asked)
            if group.done(self.folder):
                self._tell(study, group)
                continue
            why = None if group.given or not self.search.prune else self._unhealthy(group) or worse
            given_up |= {trial.name: why for trial in group.trials} if why else {}
        return given_up

    def _unhealthy(self, group: Group) -> str | None:
        """What is wrong with one of a group's seeds, or None."""
        for trial in group.trials:
            outcome = read_outcome(self.folder / trial.name)
            if outcome and outcome.state in ("diverged", "failed", "stopped"):
                return f"seed {trial.seed} has {outcome.state}" if outcome.state != "stopped" else outcome.message
            events = jsonl.read_end(self.folder / trial.name / "events.jsonl")
            if not COLLAPSES.isdisjoint(standing(events)):
                return f"seed {trial.seed} has collapsed"
        return None

    def _report(self, group: Group, asked: "optuna.trial.Trial") -> str | None:
        """Tell Optuna the KIDs that are new, at images that every seed which has begun has reached; why to give up."""
        kids = group.kids(self.folder)
        for images in sorted(set.intersection(*map(set, kids)) - group.reported if kids else ()):
            group.reported.add(images)
            asked.report(sum(each[images] for each in kids) / len(kids), images)
            if asked.should_prune():
                group.worse = f"its best KID up to {images:,} images is above the median of the other settings'"
        return group.worse

    def _tell(self, study: "optuna.Study", group: Group) -> None:
        import optuna

        assert group.asked is not None  # noqa: S101
        value = group.value(self.folder)
        if math.isfinite(value):
            study.tell(group.asked, value)
        else:
            study.tell(group.asked, state=optuna.trial.TrialState.PRUNED)
        group.asked = None

    def _study(self) -> "optuna.Study":
        """Optuna's study, which is made anew of what lies in the folder whenever this process is."""
        import optuna

        if self.optuna is not None:
            return self.optuna
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        seed = len(self.groups)  # a search that goes on draws others than it did at its beginning
        kinds = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
        pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=int(WARM_UP * self.images))
        self.optuna = optuna.create_study(sampler=kinds[self.search.sampler](seed=seed), pruner=pruner)
        for group in self.groups:
            if not group.done(self.folder):
                self.optuna.enqueue_trial(group.settings)
                group.asked = self.optuna.ask(self._distributions(group.settings))
                continue
            value, kids = group.value(self.folder), group.kids(self.folder)
            steps = set.intersection(*map(set, kids)) if kids else set()
            self.optuna.add_trial(
                optuna.trial.create_trial(
                    state=optuna.trial.TrialState.COMPLETE if math.isfinite(value) else optuna.trial.TrialState.PRUNED,
                    value=value if math.isfinite(value) else None,
                    params=group.settings,
                    distributions=self._distributions(group.settings),
                    intermediate_values={step: sum(each[step] for each in kids) / len(kids) for step in steps},
                )
            )
        return self.optuna

    def _distributions(self, settings: Mapping[str, float] | None = None) -> dict[str, Any]:
        """Optuna's distributions of the settings, wide enough for `settings` too."""
        from optuna.distributions import FloatDistribution, IntDistribution

        own, found = flat(self.config.to_dict()), {}
        for path, (low, high, log) in self._widened(settings).items():
            whole = isinstance(own[path], int)
            found[path] = (
                IntDistribution(int(low), int(high), log=log) if whole else FloatDistribution(low, high, log=log)
            )
        return found

    def _widened(self, settings: Mapping[str, float] | None) -> dict[str, Range]:
        if settings is None:
            return self.ranges
        return {
            path: Range(min(low, settings[path]), max(high, settings[path]), log)
            for path, (low, high, log) in self.ranges.items()
        }

    def ranked(self) -> list[tuple[float, Group]]:
        """Groups whose every seed has an outcome, by their KID beside held-out images, the best first."""
        found = [(group.value(self.folder), group) for group in self.groups if group.done(self.folder)]
        return sorted(found, key=lambda pair: pair[0])

    def best(self) -> Group | None:
        """The best of the groups that have finished."""
        return next((group for value, group in self.ranked() if math.isfinite(value)), None)


def read_searches(
    plan: Study, folder: Path, configs: Mapping[Cell, TrainConfig], lengths: Mapping[str, Mapping[str, int]]
) -> list[Search]:
    """All searches of a study, with the groups that lie in its folder."""
    stored = read_groups(folder)
    return [
        Search(plan, folder, cell, config, lengths[cell.arm][cell.data], stored.get(cell.arm, {}).get(cell.data, []))
        for cell, config in configs.items()
    ]


class Searches:
    """All searches of a study, as a source of trials for the scheduler; those that have failed are tried again."""

    def __init__(
        self, plan: Study, folder: Path, configs: Mapping[Cell, TrainConfig], lengths: Mapping[str, Mapping[str, int]]
    ) -> None:
        assert plan.search is not None  # noqa: S101
        self.folder, self.searches = folder, read_searches(plan, folder, configs, lengths)
        self.total = plan.search.trials * len(plan.seeds) * len(self.searches)
        begun = [group for search in self.searches for group in search.groups]
        for group in begun:  # what has failed is tried once more, and what was given up for it
            for trial in group.trials:
                outcome = read_outcome(folder / trial.name)
                if outcome and (outcome.state == "failed" or outcome.message.endswith(" has failed")):
                    outcome_file(folder / trial.name).unlink()
        self.waiting = [t for group in begun for t in group.trials if not read_outcome(folder / t.name)]

    @staticmethod
    def check(plan: Study, configs: Mapping[Cell, TrainConfig]) -> None:
        """Refuse what cannot be searched, with UsageError."""
        if find_spec("optuna") is None:
            raise UsageError("a search needs Optuna: pip install 'equipoise[search]'")
        for config in configs.values():
            if config.toy:
                raise UsageError("a search goes by KID, which toys do not have: search on images")
            assert plan.search is not None  # noqa: S101
            ranges_of(plan.search, config)

    @property
    def known(self) -> list[Trial]:
        """All trials that were proposed."""
        return [trial for search in self.searches for group in search.groups for trial in group.trials]

    def next(self) -> Trial | None:
        """The next trial: the seeds of a group one after another, then of the arm that has the fewest groups."""
        while self.waiting or self._propose():
            trial = self.waiting.pop(0)
            if not read_outcome(self.folder / trial.name):
                return trial
        return None

    def _propose(self) -> bool:
        for search in sorted(self.searches, key=lambda search: len(search.groups)):
            search.watch()  # so that it proposes by all that is known
            if group := search.propose():
                groups: dict[str, dict[str, list[dict[str, float]]]] = {}
                for each in self.searches:
                    groups.setdefault(each.cell.arm, {})[each.cell.data] = [group.settings for group in each.groups]
                write_atomically(self.folder / GROUPS, to_json(groups, indent=1).encode())
                self.waiting += group.trials
                return True
        return False

    def watch(self, running: list[Trial]) -> dict[str, str]:
        """The running trials that are to be given up, and why; of those that wait, they never begin."""
        given_up = {name: why for search in self.searches for name, why in search.watch().items()}
        names = {trial.name for trial in running}
        for trial in [trial for trial in self.waiting if trial.name in given_up]:
            self.waiting.remove(trial)
            write_outcome(self.folder / trial.name, Outcome(state="stopped", message=given_up[trial.name]))
        return {name: why for name, why in given_up.items() if name in names}
