"""What every process of a run does: make ready, train step by step, and leave as the others do."""

import warnings
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

from torch import Tensor

from equipoise.config.datasets import feed_of
from equipoise.data import Feed
from equipoise.devices import Launcher
from equipoise.errors import UsageError
from equipoise.objectives.base import State
from equipoise.runs.background_writer import Saver
from equipoise.runs.lock import sole_writer
from equipoise.runs.run import Run
from equipoise.training.allocator import freed_memory_kept
from equipoise.training.batch import deal
from equipoise.training.compile import Foresight
from equipoise.training.distributed import Team, assemble
from equipoise.training.health import MOST_CUTS, Finding, not_finite
from equipoise.training.recorder import Moment, Recorder
from equipoise.training.signals import Stop, listening
from equipoise.training.state import Material, Progress
from equipoise.training.step import Given, update
from equipoise.views.terminal import Display

Result = TypeVar("Result")
NOT_COMPILED = "the networks are not compiled, which would be faster"


class Outcome(NamedTuple):
    """How a process left the loop: why, after how many images, and words or a signal's number with it."""

    kind: str
    images: int = 0
    message: str = ""
    signal: int = 0


def work(launcher: Launcher, path: Path | None, images: int | None, quiet: bool) -> tuple[Path, Outcome]:
    """Train the run at `path`, which the first process names, to `images` images or its own number."""
    run = Run.open(cast(Path, launcher.broadcast(path)))
    team = assemble(launcher, run.config.precision_on(launcher.device.type))
    with freed_memory_kept(), ExitStack() as held:
        if refused := together(team, lambda: _claim(run, images, held if team.rank == 0 else None)):
            return run.path, Outcome("refused", message=refused)
        made = together(team, lambda: _prepared(run, launcher))
        if isinstance(made, str):
            return run.path, Outcome("refused", message=made)
        outcome = _train(run, *made, team, quiet)
        launcher.barrier()
    return run.path, outcome


def together(team: Team, task: Callable[[], Result]) -> Result | str:
    """Do some work; if it cannot be done by some process, every process gets the words of the first such."""
    made, wrong = None, ""
    try:
        made = task()
    except UsageError as error:
        wrong = str(error)
    return team.word(wrong) or cast(Result, made)


def _claim(run: Run, images: int | None, held: ExitStack | None) -> None:
    """Hold the run for as long as `held` lasts, so that nobody else writes into it, and note its new length."""
    if held:
        held.enter_context(sole_writer(run.path))
    if images is not None and images != run.config.images:
        longer = run.config.with_changes(images=images)
        if held:
            run.change_config(longer)
        run.config = longer


def _prepared(run: Run, launcher: Launcher) -> tuple[Feed, Progress, list[str]]:
    """The feed, where training stands, and why newer checkpoints were passed over."""
    if run.config.batch % launcher.world_size:
        raise UsageError(f"--batch {run.config.batch} does not divide by the {launcher.world_size} processes")
    feed = feed_of(run.config)
    progress = Progress(run.config, Material.of(feed), launcher.device)
    return feed, progress, _restore(run, progress, feed)


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


def _train(run: Run, feed: Feed, progress: Progress, passed_over: list[str], team: Team, quiet: bool) -> Outcome:
    """Train and record, and close everything."""
    title = f"{run.config.objective_name} on {run.config.data}"
    silent = quiet or team.rank > 0
    with (
        closing(feed),
        Display(run.config.images, title, start_at=progress.images, quiet=silent) as display,
        listening() as stop,
        Saver(run) as saver,
    ):

        def begun() -> Recorder | None:
            return Recorder(run, saver, progress, feed, team, display, passed_over) if team.rank == 0 else None

        recorder = together(team, begun)
        if isinstance(recorder, str):
            return Outcome("refused", progress.images, recorder)
        outcome = _loop(run, progress, feed, team, recorder, stop)
        refused = together(team, lambda: recorder.close() if recorder else None)
        return Outcome("refused", progress.images, refused) if refused else outcome


def _loop(run: Run, progress: Progress, feed: Feed, team: Team, recorder: Recorder | None, stop: Stop) -> Outcome:
    """Train until the end, convergence, a signal, or what cannot go on; every process leaves alike."""
    foresight = Foresight(progress)
    while not progress.finished:
        given = together(team, lambda: deal(progress.config, feed, progress.images, team, progress.device))
        if isinstance(given, str):
            return _broken(given, progress, team, recorder)
        take_step(progress, given, team)
        asked = team.most(stop.signal)
        moment, bad = _judge(progress, foresight, stopping=bool(asked))
        if not bad and any(moment):
            found = together(team, lambda moment=moment: recorder.record(moment) if recorder else None)  # type: ignore[misc]
            if isinstance(found, str):
                return Outcome("refused", progress.images, found)
            bad = found
        if message := team.word(bad.message if bad else ""):
            outcome = _diverged(message, bad, run, progress, team, recorder)
            if outcome:
                return outcome
        elif asked and not progress.finished:
            return Outcome("interrupted", progress.images, signal=asked)
    return Outcome("finished", progress.images)


def take_step(progress: Progress, given: Given, team: Team) -> None:
    """Move the players whose turn it is by what was dealt, and everything that follows them.

    Networks that cannot be compiled, which shows when they are first called, are used as they are.
    """
    progress.prepare_step()
    moves = progress.generator_moves
    try:
        state, measures = _moved(progress, given, team, generator_moves=moves)
    except (RuntimeError, AssertionError) as error:
        if progress.playing is progress.players:
            raise
        reason = str(error).partition("\n")[0]
        warnings.warn(f"{NOT_COMPILED}: {reason}", stacklevel=2)
        progress.play_with(progress.players)
        state, measures = _moved(progress, given, team, generator_moves=moves)
    progress.finish_step(state, measures, generator_moved=moves)


def _moved(progress: Progress, given: Given, team: Team, *, generator_moves: bool) -> tuple[State, dict[str, Tensor]]:
    players, optimizers, objective = progress.playing, progress.optimizers, progress.objective
    order = progress.config.update

    def step(state: State, given: Given) -> tuple[State, dict[str, Tensor]]:
        return update(players, optimizers, objective, state, given, team, order=order, generator_moves=generator_moves)

    if progress.device.type == "cuda" and team.size == 1:
        return progress.playback(generator_moves, step, progress.state, given)
    return step(progress.state, given)


def _judge(progress: Progress, foresight: Foresight, *, stopping: bool) -> tuple[Moment, Finding | None]:
    """What there is to record after a step, and what is wrong if anything is no number any more."""
    config, means, halved, compiling = progress.config, None, False, ""
    if _due(config.log_every, progress) or progress.finished:
        means, steps = progress.window.close()
        if bad := not_finite(means, progress.images):
            return Moment(), bad
        halved = progress.observe(means, steps)
        compiling = foresight.consider()
    last = progress.finished
    sampling = _due(config.sample_every, progress) or last
    scoring = config.score_every > 0 and (_due(config.score_every, progress) or last)
    keeping = _due(config.checkpoint_every, progress) or _due(config.keep_every, progress)
    saving = keeping or last or stopping or scoring
    bad = not_finite(progress.extremes(), progress.images) if sampling or saving else None
    return Moment(means, halved, sampling, scoring, saving, compiling), bad


def _diverged(
    message: str, bad: Finding | None, run: Run, progress: Progress, team: Team, recorder: Recorder | None
) -> Outcome | None:
    """Stop, or go back to the last good checkpoint with half the learning rate, and train on."""
    stops = progress.config.on_divergence == "stop" or progress.cuts == MOST_CUTS
    again = f", after going back {MOST_CUTS} times" if progress.cuts == MOST_CUTS else ""

    def tell() -> None:
        if recorder and bad:
            recorder.event(bad.level, bad.kind, bad.message + again) if stops else recorder.go_back(bad)

    if refused := together(team, tell):
        return Outcome("refused", progress.images, refused)
    if stops:
        return Outcome("diverged", progress.images, message + again)
    progress.restore(*run.load_checkpoint()[:2])
    return None


def _broken(message: str, progress: Progress, team: Team, recorder: Recorder | None) -> Outcome:
    """Leave a checkpoint, since the data cannot be read on."""
    if bad := not_finite(progress.extremes(), progress.images):
        return Outcome("diverged", progress.images, bad.message)

    def tell() -> None:
        if recorder:
            recorder.event("error", "data", message)
            recorder.checkpoint()

    refused = together(team, tell)
    return Outcome("refused" if refused else "broken", progress.images, refused or message)


def _due(every: int, progress: Progress) -> bool:
    """Whether the last step reached or passed a multiple of `every` images; of 0 there is none."""
    return every > 0 and progress.images // every > (progress.images - progress.config.batch) // every
