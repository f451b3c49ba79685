"""Train a run: the loop from packed images to checkpoints, pictures and curves, on Lightning Fabric."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import torch
from lightning_fabric import Fabric

from equipoise.config import TrainConfig
from equipoise.data import Feed
from equipoise.dealing import deal
from equipoise.display import Display, counting
from equipoise.errors import Diverged, Interrupted, UsageError
from equipoise.health import Finding, not_finite
from equipoise.judge import judged_by
from equipoise.progress import Material, Progress
from equipoise.recorder import Recorder
from equipoise.run import Run, feed_of, free_folder
from equipoise.signals import Stop, listening, passing_on
from equipoise.step import update
from equipoise.team import Team, assemble, choose_precision, fabric_for, is_leader

Result = TypeVar("Result")


class Outcome(NamedTuple):
    """How a process left the loop: why, after how many images, and words or a signal's number with it."""

    kind: str
    images: int = 0
    message: str = ""
    signal: int = 0


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
        Diverged: a loss stopped being finite.
        Interrupted: SIGINT or SIGTERM; a checkpoint was written.
    """
    fabric = fabric_for(config.device, config.devices)
    if not is_leader():
        return _launch(fabric, None, quiet)
    with counting(f"packing {config.data}", quiet=quiet) as count:
        check(config, feed_of(config, count))
    return _launch(fabric, Run.create(out or free_folder(_name(config)), config), quiet)


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
        Diverged: a loss stopped being finite.
        Interrupted: SIGINT or SIGTERM; a checkpoint was written.
    """
    run = Run.open(path)
    if images is not None and is_leader():
        run.change_config(run.config.with_changes(images=images))
    return _launch(fabric_for(run.config.device, run.config.devices), run, quiet)


def resume_if_exists(config: TrainConfig, out: Path | str, *, quiet: bool = False) -> Run:
    """Train a new run at `out`, or go on with the one that is there: one command for a machine that may stop.

    Raises:
        UsageError: the run at `out` has another configuration; or as `train` and `resume` do.
        Diverged, Interrupted: as `train` does.
    """
    if not (Path(out) / "config.yaml").exists():
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
    config.tasks.refuse(feed.shape, feed.classes, config.objective.needs)
    if config.score_every:
        judged_by(config)
    with torch.device("meta"):
        config.build(feed.shape, feed.classes)


def _name(config: TrainConfig) -> str:
    """The objective, the data and, where they have one, the images' resolution."""
    return "-".join([config.objective_name, Path(config.data).stem, *([] if config.toy else [str(config.resolution)])])


def _launch(fabric: Fabric, run: Run | None, quiet: bool) -> Run:
    with passing_on():
        path, outcome = cast(Any, fabric.launch)(_work, run.path if run else None, quiet)
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


def _work(fabric: Fabric, path: Path | None, quiet: bool) -> tuple[Path, Outcome]:
    """What every process does: make everything ready, train, and close everything."""
    run = Run.open(cast(Path, fabric.broadcast(path)))
    config = run.config
    team = assemble(fabric, choose_precision(config.precision, fabric.device.type))
    made = _together(team, lambda: _prepared(run, fabric))
    if isinstance(made, str):
        return run.path, Outcome("refused", message=made)
    feed, progress, passed_over = made
    title = f"{config.objective_name} on {config.data}"
    with (
        closing(feed),
        Display(config.images, title, start_at=progress.images, quiet=quiet or team.rank > 0) as display,
        listening() as stop,
    ):

        def begun() -> Recorder:
            recorder = Recorder(run, progress, feed, team, display)
            recorder.begin(feed, passed_over)
            return recorder

        recorder = _together(team, begun if team.rank == 0 else lambda: None)
        if isinstance(recorder, str):
            return run.path, Outcome("refused", message=recorder)
        outcome = _loop(progress, feed, team, recorder, stop)
        if recorder:
            recorder.close()
    fabric.barrier()
    return run.path, outcome


def _prepared(run: Run, fabric: Fabric) -> tuple[Feed, Progress, list[str]]:
    """The feed, where training stands, and why newer checkpoints were passed over."""
    if run.config.batch % fabric.world_size:
        raise UsageError(f"--batch {run.config.batch} does not divide by the {fabric.world_size} processes")
    feed = feed_of(run.config)
    progress = Progress(run.config, Material.of(feed), fabric.device)
    return feed, progress, _restore(run, progress, feed)


def _together(team: Team, work: Callable[[], Result]) -> Result | str:
    """Do some work; if it cannot be done by some process, every process gets the words of the first such."""
    made, wrong = None, ""
    try:
        made = work()
    except UsageError as error:
        wrong = str(error)
    return team.word(wrong) or cast(Result, made)


def _loop(progress: Progress, feed: Feed, team: Team, recorder: Recorder | None, stop: Stop) -> Outcome:
    """Train until the end, convergence, a signal or a loss that is not finite; every process leaves alike."""
    config = progress.config
    finished = progress.finished
    while not finished:
        given = _together(team, lambda: deal(config, feed, progress.images, team, progress.device))
        if isinstance(given, str):
            return _broken(given, progress, recorder)
        progress.prepare_step()
        moves = progress.generator_moves
        state, measures = update(
            progress.players,
            progress.optimizers,
            progress.objective,
            progress.state,
            given,
            team,
            order=config.update,
            generator_moves=moves,
        )
        progress.finish_step(state, measures, generator_moved=moves)

        finished = progress.finished
        asked = stop.signal if team.size == 1 else 0
        if _due(config.log_every, progress) or finished:
            means, steps = progress.window.close()
            if bad := not_finite(means, progress.images):
                return _diverged(bad, progress, recorder)
            halved = progress.observe(means, steps)
            if recorder:
                recorder.line(means, halved=halved)
            finished = progress.finished
            asked = team.most(stop.signal)
        sampling = _due(config.sample_every, progress) or finished
        scoring = config.score_every and (_due(config.score_every, progress) or finished)
        saving = _due(config.checkpoint_every, progress) or finished or asked or scoring
        if (sampling or saving) and (bad := not_finite(progress.extremes(), progress.images)):
            return _diverged(bad, progress, recorder)
        if recorder and sampling:
            recorder.samples()
        if recorder and scoring:
            recorder.score()
        if recorder and saving:
            recorder.checkpoint()
        if asked and not finished:
            return Outcome("interrupted", progress.images, signal=asked)
    return Outcome("finished", progress.images)


def _restore(run: Run, progress: Progress, feed: Feed) -> list[str]:
    """Put `progress` where the newest readable checkpoint stands; returns why newer ones were passed over."""
    if not run.checkpoints():
        return []
    tensors, facts, passed_over = run.load_checkpoint()
    if facts["data"] != feed.fingerprint:
        raise UsageError(
            f"the images at {run.config.data} are not those that {run.path} was trained on: bring them back, "
            "or train a new run"
        )
    progress.restore(tensors, facts)
    return passed_over


def _diverged(bad: Finding, progress: Progress, recorder: Recorder | None) -> Outcome:
    if recorder:
        recorder.event(bad.level, bad.kind, bad.message)
    return Outcome("diverged", progress.images, bad.message)


def _broken(message: str, progress: Progress, recorder: Recorder | None) -> Outcome:
    """Leave a checkpoint, since the data cannot be read on."""
    if bad := not_finite(progress.extremes(), progress.images):
        return _diverged(bad, progress, recorder)
    if recorder:
        recorder.event("error", "data", message)
        recorder.checkpoint()
    return Outcome("broken", progress.images, message)


def _due(every: int, progress: Progress) -> bool:
    """Whether the last step reached or passed a multiple of `every` images."""
    return progress.images // every > (progress.images - progress.config.batch) // every
