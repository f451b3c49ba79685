"""Train a run, or go on with one: from a configuration to a folder with checkpoints, pictures and curves."""

from pathlib import Path

import torch

from equipoise.config.datasets import open_train_feed
from equipoise.config.train_config import TrainConfig
from equipoise.data import Feed
from equipoise.devices import Launcher, is_leader, make_launcher
from equipoise.errors import Diverged, Interrupted, UsageError
from equipoise.evaluation.periodic_kid import kid_reference
from equipoise.runs.run import CONFIG, Run, free_folder
from equipoise.training.loop import work
from equipoise.training.signals import passing_on
from equipoise.views.terminal import counting


def train(config: TrainConfig, out: Path | str | None = None, *, quiet: bool = False) -> Run:
    """Train a new run to its end.

    Args:
        config: everything that decides the run.
        out: the folder to make; by default the first free `runs/OBJECTIVE-DATA-NNN`.
        quiet: show no progress.

    Returns:
        The run, with its last checkpoint, samples, curves and report.

    Raises:
        UsageError: the configuration, the data or the folder cannot work; nothing was written.
        Diverged: training went wrong, and `config.on_divergence` asks for no more than was done.
        Interrupted: SIGINT, SIGTERM or SIGUSR1; a checkpoint was written.
    """
    launcher = make_launcher(config.device, config.devices)
    if not is_leader():
        return _launch(launcher, None, None, quiet)
    with counting(f"packing {config.data}", quiet=quiet) as count:
        check(config, open_train_feed(config, count))
    return _launch(launcher, Run.create(out or free_folder(_name(config)), config), None, quiet)


def resume(path: Path | str, *, images: int | None = None, quiet: bool = False) -> Run:
    """Go on with the run at `path` where its last readable checkpoint stands.

    Args:
        path: the run's folder.
        images: train to so many images instead of the number in the run's configuration.
        quiet: show no progress.

    Returns:
        The run, as if it had never stopped.

    Raises:
        UsageError: there is no run, no readable checkpoint, or its data has changed or gone.
        Diverged: training went wrong, and `config.on_divergence` asks for no more than was done.
        Interrupted: SIGINT, SIGTERM or SIGUSR1; a checkpoint was written.
    """
    run = Run.open(path)
    if images is not None:
        run.config.with_changes(images=images)  # what cannot work is refused at once
    return _launch(make_launcher(run.config.device, run.config.devices), run, images, quiet)


def resume_if_exists(config: TrainConfig, out: Path | str, *, quiet: bool = False) -> Run:
    """Train a new run at `out`, or go on with the one that is there: one command for a machine that may stop.

    Raises:
        UsageError: the run at `out` has another configuration; or as `train` and `resume` do.
        Diverged, Interrupted: as `train` does.
    """
    if not (Path(out) / CONFIG).exists():
        return train(config, out, quiet=quiet)
    theirs, ours = Run.open(out).config.to_dict(), config.to_dict()
    if different := [key for key in ours if ours[key] != theirs[key]]:
        raise UsageError(
            f"the run at {out} was made with another {different[0]} "
            f"({theirs[different[0]]}, not {ours[different[0]]}): "
            f"go on with `equipoise resume {out}`, or choose another --out"
        )
    return resume(out, quiet=quiet)


def check(config: TrainConfig, feed: Feed) -> None:
    """Refuse what cannot work before anything is written.

    Raises:
        UsageError: fewer images than a batch or a score needs, or a network that cannot make such images.
    """
    if feed.count is not None and feed.count < config.batch:
        beside = ", the held-out ones aside" if config.held_out else ""
        raise UsageError(f"{config.data} has only {feed.count} images{beside}: use --batch {feed.count} or less")
    config.tasks.check(feed.shape, feed.classes, config.objective.needs)
    if config.score_every:
        kid_reference(config)
    with torch.device("meta"):
        config.build(feed.shape, feed.classes)


def _name(config: TrainConfig) -> str:
    """The objective, the data and, where they have one, the images' resolution."""
    return "-".join([config.objective_name, Path(config.data).stem, *([] if config.toy else [str(config.resolution)])])


def _launch(launcher: Launcher, run: Run | None, images: int | None, quiet: bool) -> Run:
    with passing_on():
        path, outcome = launcher.launch(work, run.path if run else None, images, quiet)
    run = Run.open(path)
    if outcome.kind == "refused":
        raise UsageError(outcome.message)
    if outcome.kind == "broken":
        raise UsageError(f"{outcome.message}; `equipoise resume {run.path}` goes on at {outcome.images:,} images")
    if outcome.kind == "diverged":
        raise Diverged(f"{outcome.message}; then `equipoise train --config {run.path / 'config.yaml'} --lr …`")
    if outcome.kind == "interrupted":
        raise Interrupted(str(run.path), outcome.images, outcome.signal)
    return run
