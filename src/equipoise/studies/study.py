"""Run a study: from what it compares to a folder with all of its trials and a report."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from equipoise.config.arguments import checked
from equipoise.config.datasets import open_dataset
from equipoise.config.numbers import ProcessCount
from equipoise.config.train_config import TrainConfig
from equipoise.data.cache import remove_leftovers
from equipoise.devices import available_cores, make_launcher
from equipoise.errors import StudyInterrupted, UsageError, as_word, reason
from equipoise.evaluation.evaluate import choose_metrics
from equipoise.evaluation.features import extractor_name
from equipoise.metrics import Available
from equipoise.metrics.features import Extractor, load_extractor
from equipoise.reading import check_name
from equipoise.runs.files import check_above, write_atomically, writing
from equipoise.runs.lock import sole_writer
from equipoise.studies.display import StudyDisplay
from equipoise.studies.lengths import LENGTHS, measured_lengths
from equipoise.studies.pages import FIGURES
from equipoise.studies.plan import STUDY, Study, check_same, read_study
from equipoise.studies.report import write_report
from equipoise.studies.scheduler import Cores, Places, Scheduler
from equipoise.studies.search import Searches
from equipoise.studies.trials import (
    TRIALS,
    Cell,
    Trial,
    all_trials,
    arm_config,
    check_slugs,
    metric_of,
    outcome_file,
    read_outcome,
    trial_config,
)
from equipoise.training.signals import Stop, noting_signals
from equipoise.training.train import check
from equipoise.views.terminal import progress_bar


@checked
def study(
    plan: Study | Path | str,
    out: Path | str | None = None,
    *,
    jobs: ProcessCount | None = None,
    ray: str | None = None,
    quiet: bool = False,
) -> Path:
    """Run a study, or go on with the one at `out`: every trial that has no outcome yet, then the report.

    Args:
        plan: the study, its file, or the folder of one that has begun.
        out: its folder; by default that which `plan` names.
        jobs: trials at once on this machine; by default as many as its cores have room for.
        ray: run on a Ray cluster instead: its address, or auto for the one that this machine belongs to.
        quiet: show no progress.

    Returns:
        The study's folder, with `report.html`, `report.md`, `report.json` and `trials.csv`.

    Raises:
        UsageError: the study cannot work, and nothing was trained; or the disk refuses, and it can go on.
        StudyInterrupted: SIGINT or SIGTERM; every trial has written a checkpoint.
    """
    plan, folder = _located(plan, out)
    check_above(folder)
    jobs = jobs or max(1, available_cores() // plan.threads)
    configs = checked_configs(plan, quiet=quiet)  # in which data may be packed for long, and nothing can be lost
    # A cluster sets handlers of its own as it is connected to.
    with places_of(plan, jobs, ray) as places, noting_signals() as stop:
        _make(folder, plan)
        with sole_writer(folder):
            with writing(folder, then="start the study again"):
                _claim(plan, folder)
            with writing(folder, then=f"go on with `equipoise study {as_word(folder)}`"):
                lengths = measured_lengths(plan, folder, configs, stop, quiet=quiet)
                _run(plan, folder, configs, lengths, places, stop, quiet=quiet)
                write_report(folder)
    return folder


def _located(plan: Study | Path | str, out: Path | str | None) -> tuple[Study, Path]:
    """The study, and its folder."""
    if not isinstance(plan, Study):
        check_name(plan)
        path = Path(plan)
        folder, plan = (path, read_study(path / STUDY)) if path.is_dir() else (None, read_study(path))
        out = out or folder
    if out is None:
        raise UsageError("a study needs a folder: name --out")
    check_name(out)
    return plan, Path(out)


def checked_configs(plan: Study, *, quiet: bool = True) -> dict[Cell, TrainConfig]:
    """The configuration of every arm on every data set, tried before anything is trained.

    Raises:
        UsageError: an arm, its data or its scores cannot work.
    """
    check_slugs(plan.expanded, "arms")
    check_slugs(plan.data, "data sets")
    configs = {}
    for data in plan.data:
        for name, arm in plan.expanded.items():
            try:
                configs[Cell(name, data)] = config = arm_config(plan, arm, data)
                if plan.budget.images:
                    trial_config(plan, config, plan.budget.images, 0)
                _check_data(plan, config, quiet=quiet)
            except UsageError as error:
                raise UsageError(f"{name} on {data}: {error}") from error
    if len({config.toy is None for config in configs.values()}) > 1:
        raise UsageError("images and toys are scored by other metrics: make a study of each")
    metric_of(plan, next(iter(configs.values())))
    if plan.search:
        Searches.check(plan, configs)
    return configs


def _check_data(plan: Study, config: TrainConfig, *, quiet: bool) -> None:
    """Open the data of a configuration, which packs them, and check that both players and the scores go with them."""
    with progress_bar(f"packing {config.data}", quiet=quiet) as progress:
        dataset = open_dataset(config, progress)
        with closing(dataset):
            device = make_launcher(config.device, 1).device
            check(config, dataset, device)
            if config.toy is None:
                held_out = dataset.split("test" if plan.test else "held-out")
                shape, name = held_out.shape, extractor_name(plan.features, config.data)
                available = _available(config, load_extractor(name, device="cpu", shape=shape), shape)
                counts = plan.count, min(plan.count, len(held_out))
                choose_metrics(tuple(scoring_of(plan, config)["metrics"]), available, counts)


def _available(config: TrainConfig, extractor: Extractor, shape: tuple[int, ...]) -> Available:
    """What is at hand to score a trial's images of that shape (C, H, W) by."""
    alone = not (config.tasks.classify or config.tasks.inpaint)
    return Available(min(shape[1:]), extractor.name, extractor.classes, training=True, generator=alone)


def scoring_of(plan: Study, config: TrainConfig) -> dict[str, Any]:
    """How a trial is scored, for `worker.scores`."""
    scoring: dict[str, Any] = {"count": plan.count, "draws": plan.draws}
    if config.toy:
        return scoring
    metrics = list(dict.fromkeys([metric_of(plan, config), *plan.metrics]))
    return scoring | {"metrics": metrics, "features": plan.features, "split": "test" if plan.test else "held-out"}


@contextmanager
def places_of(plan: Study, jobs: int, ray: str | None) -> Iterator[Places]:
    """Where trials run: `jobs` at once here, or on the Ray cluster at the address `ray`."""
    if ray is None:
        yield Cores(jobs, plan.threads)
        return
    from equipoise.studies.cluster import connected

    with connected(ray, plan.threads) as cluster:
        yield cluster


def _make(folder: Path, plan: Study) -> None:
    """Make the study's folder, or check that it holds this very study, or one of which nothing was trained.

    Raises:
        UsageError: something else is there.
    """
    if _is_begun(folder):
        check_same(read_study(folder / STUDY), plan, folder)
    elif (folder / STUDY).exists():
        pass  # what was wrong with it may have been mended
    elif folder.exists() and (not folder.is_dir() or any(path.name != ".lock" for path in folder.iterdir())):
        raise UsageError(f"{folder} is there and holds no study: choose another --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make {folder}: {reason(error)}; choose another --out") from error


def _claim(plan: Study, folder: Path) -> None:
    """Write what may change of a study, once no other process writes it.

    Raises:
        UsageError: another study was begun there meanwhile.
    """
    _make(folder, plan)
    for part in (folder, folder / FIGURES, folder / TRIALS):
        remove_leftovers(part)
    if not _is_begun(folder):
        (folder / LENGTHS).unlink(missing_ok=True)  # of other arms, maybe
    write_atomically(folder / STUDY, plan.to_yaml().encode())


def _is_begun(folder: Path) -> bool:
    """Whether anything was trained of the study in a folder."""
    return (folder / STUDY).exists() and any((folder / TRIALS).glob("*/*/*"))


def _run(
    plan: Study,
    folder: Path,
    configs: Mapping[Cell, TrainConfig],
    lengths: Mapping[str, Mapping[str, int]],
    places: Places,
    stop: Stop,
    *,
    quiet: bool,
) -> None:
    """Run all trials that have no outcome yet.

    Raises:
        StudyInterrupted: a signal came.
    """
    if plan.search:
        source: Any = Searches(plan, folder, configs, lengths)
        trials = None
    else:
        trials = all_trials(plan, configs, lengths)
        source = _Queue(folder, trials)
    with StudyDisplay(folder, source.total, quiet=quiet) as display:
        Scheduler(
            folder,
            places,
            lambda trial: scoring_of(plan, trial.config),
            plan.threads,
            wanted=source.next,
            stopping=lambda: bool(stop.signal),
            show=lambda running: display.update(source.known, running),
            watch=source.watch,
        ).run()
    if stop.signal:
        done = sum(read_outcome(folder / trial.name) is not None for trial in source.known)
        raise StudyInterrupted(str(folder), done, source.total, stop.signal)


class _Queue:
    """Trials in their order, those aside that have an outcome; what has failed before is tried once more."""

    def __init__(self, folder: Path, trials: list[Trial]) -> None:
        self.known, self.total, self.waiting = trials, len(trials), []
        for trial in trials:
            outcome = read_outcome(folder / trial.name)
            if outcome and outcome.state == "failed":
                outcome_file(folder / trial.name).unlink()
                outcome = None
            if outcome is None:
                self.waiting.append(trial)

    def next(self) -> Trial | None:
        return self.waiting.pop(0) if self.waiting else None

    def watch(self, running: list[Trial]) -> Mapping[str, str]:
        return {}
