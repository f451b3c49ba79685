"""The training loop: batch, step, average, then metrics, samples, score and checkpoint as they are due."""

from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from equipoise.data import Dataset
from equipoise.runs.files import writing
from equipoise.runs.retention import later_than
from equipoise.runs.run import Run
from equipoise.training.batch import StepInputs, make_batch
from equipoise.training.compile import CompilePolicy
from equipoise.training.cuda_graphs import Step
from equipoise.training.distributed import Distributed, on_all
from equipoise.training.health import MAX_ROLLBACKS, Finding, last_good_images, not_finite, sudden_collapse
from equipoise.training.recorder import Recorder
from equipoise.training.signals import Stop
from equipoise.training.state import TrainState
from equipoise.training.step import train_step


class Outcome(NamedTuple):  # Fabric hands it from process to process, and takes no frozen dataclass
    """How a run ended.

    Attributes:
        kind: finished, interrupted, diverged, broken (the data cannot be read on), or refused.
        images: seen by then.
        message: for the user.
        signal: number of the signal that interrupted it.
    """

    kind: str
    images: int = 0
    message: str = ""
    signal: int = 0


@dataclass(frozen=True)
class Due:
    """What is due after a step."""

    lr: bool
    metrics: bool
    samples: bool
    score: bool
    checkpoint: bool

    @classmethod
    def after_step(cls, train_state: TrainState, *, halved: bool, stopping: bool) -> "Due":
        """What the run's intervals say, all of it at the end, and a checkpoint where training is about to stop.

        Args:
            train_state: after the step.
            halved: whether the learning rate was halved, which is said.
            stopping: whether a signal has come.
        """
        config, reached = train_state.config, train_state.reached
        last, score = train_state.finished, train_state.score_due
        last = last or (score and config.ends_by_kid)  # as it may turn out to be
        keep = reached(config.checkpoint_every) or reached(config.keep_every)
        return cls(
            lr=halved,
            metrics=reached(config.log_every) or last,
            samples=reached(config.sample_every) or last,
            score=score,
            checkpoint=keep or last or stopping or score,  # a score is of a checkpoint, which may be the best
        )


NOTHING_DUE = Due(lr=False, metrics=False, samples=False, score=False, checkpoint=False)


def train_loop(
    run: Run,
    train_state: TrainState,
    dataset: Dataset,
    distributed: Distributed,
    recorder: Recorder | None,
    stop: Stop,
) -> Outcome:
    """Train until the end, convergence, a signal, or what cannot go on; every process leaves alike."""
    compile_policy = CompilePolicy(train_state)
    _share_stall(train_state, distributed)
    while not train_state.finished:
        # Batch: this process's share of the images and latents that come next
        inputs = on_all(distributed, lambda: _read_batch(train_state, dataset, distributed, stop))
        if isinstance(inputs, str):
            return _end_without_data(inputs, train_state, distributed, recorder, stop)
        if compile_policy.due:
            compile_policy.compile(inputs, distributed)

        # Discriminator, and in its turn the generator
        train_state.prepare_step()
        step = next_step(train_state, distributed)
        objective_state, measures = step(train_state.objective_state, inputs)

        # Average of the generator, sums of the measures, images seen, learning rate
        halved = train_state.finish_step(objective_state, measures)

        # What is due, and what is wrong: from numbers that all processes have alike
        signal = distributed.all_reduce_max(stop.signal)
        due = Due.after_step(train_state, halved=halved, stopping=bool(signal))
        means = train_state.accumulator.close() if due.metrics else {}  # this waits for the device
        problem = not_finite(means, train_state.images)
        compiling = compile_policy.consider() if due.metrics and not problem else ""
        if not problem and (due.samples or due.checkpoint):
            problem = not_finite(train_state.extremes(), train_state.images)

        # Metrics, samples, score, checkpoint: written by the first process, and the others hear if its disk refuses
        if not problem and due != NOTHING_DUE:
            record = partial(_record, recorder, due, means, compiling=compiling)
            recorded = on_all(distributed, record)
            if isinstance(recorded, str):
                return Outcome("refused", train_state.images, recorded)
            problem = recorded
            if due.score:
                _share_stall(train_state, distributed)

        # Back to the last good checkpoint, on to the next step, or the end
        if message := distributed.first_error(problem.message if problem else ""):
            outcome = _diverged(message, problem, run, train_state, distributed, recorder)
            if outcome:
                return outcome
        elif signal and not train_state.finished:
            return Outcome("interrupted", train_state.images, signal=signal)
    return Outcome("finished", train_state.images)


def _share_stall(train_state: TrainState, distributed: Distributed) -> None:
    """Let all processes know whether KID has stalled, which the first one has recorded."""
    train_state.kid_stalled = bool(distributed.all_reduce_max(train_state.kid_stalled))


def _read_batch(train_state: TrainState, dataset: Dataset, distributed: Distributed, stop: Stop) -> StepInputs:
    """The inputs of the next step.

    Raises:
        UsageError: the data cannot be read on, or a signal came while this waited for them.
    """
    with stop.ending_waits():
        return make_batch(
            train_state.config,
            dataset.feed,
            train_state.images,
            distributed,
            train_state.device,
            train_state.processes,
        )


def next_step(train_state: TrainState, distributed: Distributed) -> Step:
    """The next step, of the discriminator alone or of both players; on a GPU as a CUDA graph."""
    moves = train_state.generator_moves
    step = partial(
        train_step,
        train_state.active_players,
        train_state.optimizers,
        train_state.objective,
        distributed=distributed,
        order=train_state.config.update,
        generator_moves=moves,
    )
    if train_state.device.type == "cuda" and distributed.world_size == 1:  # reductions between GPUs are not recorded
        return partial(train_state.cuda_graph_step, moves, step)
    return step


def _record(recorder: Recorder | None, due: Due, means: dict[str, float], *, compiling: str) -> Finding | None:
    """Record what is due; a sudden collapse that the samples show is returned, and nothing recorded after it."""
    if recorder is None:
        return None
    recorder.writer.check()  # an error in writing the last checkpoint, if there was one
    with writing(recorder.run.path):
        if compiling:
            recorder.event("info", "compile", compiling)
        if due.lr:
            recorder.learning_rate()
        if due.metrics:
            recorder.metrics(means)
        if due.samples:
            recorder.samples()
            if problem := sudden_collapse(recorder.rows, recorder.config):
                return problem
        if due.checkpoint:
            recorder.checkpoint()
        if due.score:  # which takes long: if the process is killed meanwhile, it is made up for from the checkpoint
            recorder.score()
    return None


def _diverged(
    message: str,
    problem: Finding | None,
    run: Run,
    train_state: TrainState,
    distributed: Distributed,
    recorder: Recorder | None,
) -> Outcome | None:
    """Stop, or go back to the last good checkpoint with half the learning rate, and train on (then None).

    Only the first process has seen a collapse, and has the `problem`; all have its `message`.
    """
    stops = train_state.config.on_divergence == "stop" or train_state.rollbacks == MAX_ROLLBACKS
    again = f", after going back {MAX_ROLLBACKS} times" if train_state.rollbacks == MAX_ROLLBACKS else ""

    def record() -> None:
        if recorder and problem and stops:
            recorder.finding(replace(problem, remedy=problem.remedy + again))
            good = last_good_images(recorder.rows, run.config, problem)
            if good is not None:
                recorder.writer.wait()
                with writing(run.path):
                    for collapsed in later_than(run.checkpoints(), good):
                        collapsed.unlink()
        elif recorder and problem:
            roll_back(recorder, problem)

    if refused := on_all(distributed, record):
        return Outcome("refused", train_state.images, refused)
    if stops:
        return Outcome("diverged", train_state.images, message + again)
    train_state.restore(*run.load_checkpoint()[:2])
    return None


def roll_back(recorder: Recorder, problem: Finding) -> None:
    """Make the last good checkpoint the newest, with half the learning rate; the train state is left as it is.

    The rate's cut is in that checkpoint before training goes on, so that a kill at any instant changes nothing.
    """
    run, rollbacks = recorder.run, recorder.train_state.rollbacks + 1
    recorder.writer.wait()
    good = last_good_images(recorder.rows, run.config, problem)
    _, facts, _ = run.load_checkpoint(up_to=good, go_on=True)
    images, evidence = facts["images"], problem.evidence
    with writing(run.path):
        recorder.board.close()
        recorder.rewind(images)
        tensors, facts, _ = run.load_checkpoint()
        recorder.event(
            "warning",
            "rollback",
            f"{evidence}: went back to {images:,} images with half the learning rate (time {rollbacks} of "
            f"{MAX_ROLLBACKS})",
            images,
        )
        run.save_checkpoint(images, tensors, {**facts, "cuts": rollbacks})


def _end_without_data(
    message: str, train_state: TrainState, distributed: Distributed, recorder: Recorder | None, stop: Stop
) -> Outcome:
    """Leave a checkpoint to resume from, since the data cannot be read on, or a signal came before they were."""
    signal = distributed.all_reduce_max(stop.signal)
    if problem := not_finite(train_state.extremes(), train_state.images):
        return Outcome("diverged", train_state.images, problem.message)

    def record() -> None:
        if recorder:
            if not signal:
                recorder.event("error", "data", message)
            recorder.checkpoint()

    refused = on_all(distributed, record)
    kind = "refused" if refused else "interrupted" if signal else "broken"
    return Outcome(kind, train_state.images, refused or message, signal)
