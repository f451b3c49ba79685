"""What every process of a run does: make ready, train step by step, and leave as the others do."""

import warnings
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

from torch import Tensor

from equipoise.config.datasets import open_train_feed
from equipoise.data import Feed
from equipoise.devices import Launcher
from equipoise.errors import UsageError
from equipoise.objectives.base import State
from equipoise.runs.background_writer import BackgroundWriter
from equipoise.runs.lock import sole_writer
from equipoise.runs.run import Run
from equipoise.training.allocator import freed_memory_kept
from equipoise.training.batch import make_batch
from equipoise.training.compile import CompilePolicy
from equipoise.training.distributed import Distributed, make_distributed
from equipoise.training.health import MOST_CUTS, Finding, not_finite
from equipoise.training.recorder import Moment, Recorder
from equipoise.training.signals import Stop, listening
from equipoise.training.state import DataSpec, TrainState
from equipoise.training.step import StepInputs, update
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
    distributed = make_distributed(launcher, run.config.precision_on(launcher.device.type))
    with freed_memory_kept(), ExitStack() as held:
        if refused := together(distributed, lambda: _claim(run, images, held if distributed.rank == 0 else None)):
            return run.path, Outcome("refused", message=refused)
        made = together(distributed, lambda: _prepared(run, launcher))
        if isinstance(made, str):
            return run.path, Outcome("refused", message=made)
        outcome = _train(run, *made, distributed, quiet)
        launcher.barrier()
    return run.path, outcome


def together(distributed: Distributed, task: Callable[[], Result]) -> Result | str:
    """Do some work; if it cannot be done by some process, every process gets the words of the first such."""
    made, wrong = None, ""
    try:
        made = task()
    except UsageError as error:
        wrong = str(error)
    return distributed.first_error(wrong) or cast(Result, made)


def _claim(run: Run, images: int | None, held: ExitStack | None) -> None:
    """Hold the run for as long as `held` lasts, so that nobody else writes into it, and note its new length."""
    if held:
        held.enter_context(sole_writer(run.path))
    if images is not None and images != run.config.images:
        longer = run.config.with_changes(images=images)
        if held:
            run.change_config(longer)
        run.config = longer


def _prepared(run: Run, launcher: Launcher) -> tuple[Feed, TrainState, list[str]]:
    """The feed, where training stands, and why newer checkpoints were passed over."""
    if run.config.batch % launcher.world_size:
        raise UsageError(f"--batch {run.config.batch} does not divide by the {launcher.world_size} processes")
    feed = open_train_feed(run.config)
    train_state = TrainState(run.config, DataSpec.of(feed), launcher.device)
    return feed, train_state, _restore(run, train_state, feed)


def _restore(run: Run, train_state: TrainState, feed: Feed) -> list[str]:
    """Put `train_state` where the newest readable checkpoint stands; returns why newer ones were passed over."""
    if not run.checkpoints():
        return []
    tensors, facts, passed_over = run.load_checkpoint()
    if facts["data"] != feed.fingerprint:
        raise UsageError(
            f"the images at {run.config.data} are not those that {run.path} was trained on: bring them back, "
            "or train a new run"
        )
    train_state.restore(tensors, facts)
    return passed_over


def _train(
    run: Run, feed: Feed, train_state: TrainState, passed_over: list[str], distributed: Distributed, quiet: bool
) -> Outcome:
    """Train and record, and close everything."""
    title = f"{run.config.objective_name} on {run.config.data}"
    silent = quiet or distributed.rank > 0
    with (
        closing(feed),
        Display(run.config.images, title, start_at=train_state.images, quiet=silent) as display,
        listening() as stop,
        BackgroundWriter(run) as writer,
    ):

        def begun() -> Recorder | None:
            return (
                Recorder(run, writer, train_state, feed, distributed, display, passed_over)
                if distributed.rank == 0
                else None
            )

        recorder = together(distributed, begun)
        if isinstance(recorder, str):
            return Outcome("refused", train_state.images, recorder)
        outcome = _loop(run, train_state, feed, distributed, recorder, stop)
        refused = together(distributed, lambda: recorder.close() if recorder else None)
        return Outcome("refused", train_state.images, refused) if refused else outcome


def _loop(
    run: Run, train_state: TrainState, feed: Feed, distributed: Distributed, recorder: Recorder | None, stop: Stop
) -> Outcome:
    """Train until the end, convergence, a signal, or what cannot go on; every process leaves alike."""
    foresight = CompilePolicy(train_state)
    while not train_state.finished:
        inputs = together(
            distributed,
            lambda: make_batch(train_state.config, feed, train_state.images, distributed, train_state.device),
        )
        if isinstance(inputs, str):
            return _broken(inputs, train_state, distributed, recorder)
        take_step(train_state, inputs, distributed)
        asked = distributed.all_reduce_max(stop.signal)
        moment, bad = _judge(train_state, foresight, stopping=bool(asked))
        if not bad and any(moment):
            found = together(distributed, lambda moment=moment: recorder.record(moment) if recorder else None)  # type: ignore[misc]
            if isinstance(found, str):
                return Outcome("refused", train_state.images, found)
            bad = found
        if message := distributed.first_error(bad.message if bad else ""):
            outcome = _diverged(message, bad, run, train_state, distributed, recorder)
            if outcome:
                return outcome
        elif asked and not train_state.finished:
            return Outcome("interrupted", train_state.images, signal=asked)
    return Outcome("finished", train_state.images)


def take_step(train_state: TrainState, inputs: StepInputs, distributed: Distributed) -> None:
    """Move the players whose turn it is by what was dealt, and everything that follows them.

    Networks that cannot be compiled, which shows when they are first called, are used as they are.
    """
    train_state.prepare_step()
    moves = train_state.generator_moves
    try:
        state, measures = _moved(train_state, inputs, distributed, generator_moves=moves)
    except (RuntimeError, AssertionError) as error:
        if train_state.active_players is train_state.players:
            raise
        reason = str(error).partition("\n")[0]
        warnings.warn(f"{NOT_COMPILED}: {reason}", stacklevel=2)
        train_state.use_players(train_state.players)
        state, measures = _moved(train_state, inputs, distributed, generator_moves=moves)
    train_state.finish_step(state, measures, generator_moved=moves)


def _moved(
    train_state: TrainState, inputs: StepInputs, distributed: Distributed, *, generator_moves: bool
) -> tuple[State, dict[str, Tensor]]:
    players, optimizers, objective = train_state.active_players, train_state.optimizers, train_state.objective
    order = train_state.config.update

    def step(state: State, inputs: StepInputs) -> tuple[State, dict[str, Tensor]]:
        return update(
            players, optimizers, objective, state, inputs, distributed, order=order, generator_moves=generator_moves
        )

    if train_state.device.type == "cuda" and distributed.world_size == 1:
        return train_state.cuda_graph_step(generator_moves, step, train_state.state, inputs)
    return step(train_state.state, inputs)


def _judge(train_state: TrainState, foresight: CompilePolicy, *, stopping: bool) -> tuple[Moment, Finding | None]:
    """What there is to record after a step, and what is wrong if anything is no number any more."""
    config, means, halved, compiling = train_state.config, None, False, ""
    if _due(config.log_every, train_state) or train_state.finished:
        means, steps = train_state.accumulator.close()
        if bad := not_finite(means, train_state.images):
            return Moment(), bad
        halved = train_state.observe(means, steps)
        compiling = foresight.consider()
    last = train_state.finished
    sampling = _due(config.sample_every, train_state) or last
    scoring = config.score_every > 0 and (_due(config.score_every, train_state) or last)
    keeping = _due(config.checkpoint_every, train_state) or _due(config.keep_every, train_state)
    saving = keeping or last or stopping or scoring
    bad = not_finite(train_state.extremes(), train_state.images) if sampling or saving else None
    return Moment(means, halved, sampling, scoring, saving, compiling), bad


def _diverged(
    message: str,
    bad: Finding | None,
    run: Run,
    train_state: TrainState,
    distributed: Distributed,
    recorder: Recorder | None,
) -> Outcome | None:
    """Stop, or go back to the last good checkpoint with half the learning rate, and train on."""
    stops = train_state.config.on_divergence == "stop" or train_state.cuts == MOST_CUTS
    again = f", after going back {MOST_CUTS} times" if train_state.cuts == MOST_CUTS else ""

    def tell() -> None:
        if recorder and bad:
            recorder.event(bad.level, bad.kind, bad.message + again) if stops else recorder.go_back(bad)

    if refused := together(distributed, tell):
        return Outcome("refused", train_state.images, refused)
    if stops:
        return Outcome("diverged", train_state.images, message + again)
    train_state.restore(*run.load_checkpoint()[:2])
    return None


def _broken(message: str, train_state: TrainState, distributed: Distributed, recorder: Recorder | None) -> Outcome:
    """Leave a checkpoint, since the data cannot be read on."""
    if bad := not_finite(train_state.extremes(), train_state.images):
        return Outcome("diverged", train_state.images, bad.message)

    def tell() -> None:
        if recorder:
            recorder.event("error", "data", message)
            recorder.checkpoint()

    refused = together(distributed, tell)
    return Outcome("refused" if refused else "broken", train_state.images, refused or message)


def _due(every: int, train_state: TrainState) -> bool:
    """Whether the last step reached or passed a multiple of `every` images; of 0 there is none."""
    return every > 0 and train_state.images // every > (train_state.images - train_state.config.batch) // every
