"""What every process of a run does: take the lock, open the data, restore the newest checkpoint, train, and close."""

from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import cast

from equipoise.config.datasets import open_dataset
from equipoise.data import Dataset
from equipoise.data.decode import quiet_pillow
from equipoise.devices import Launcher, leaving_together
from equipoise.errors import UsageError
from equipoise.evaluation.closing_score import closing_score
from equipoise.evaluation.periodic_kid import PeriodicKID
from equipoise.runs.background_writer import BackgroundWriter
from equipoise.runs.lock import sole_writer
from equipoise.runs.run import Run
from equipoise.training.allocator import freed_memory_kept
from equipoise.training.distributed import make_distributed, on_all
from equipoise.training.loop import Outcome, train_loop
from equipoise.training.recorder import Recorder
from equipoise.training.signals import noting_signals
from equipoise.training.state import DataSpec, TrainState
from equipoise.views.terminal import Display


def train_process(
    launcher: Launcher, path: Path | None, images: int | None, dataset: Dataset | None, quiet: bool
) -> tuple[Path, Outcome]:
    """Train a run to its end, as one of its processes.

    Args:
        launcher: has started this process.
        path: the run's folder, which the first process knows.
        images: train to so many images instead of the run's own number.
        dataset: of the run, where it is open already.
        quiet: show no progress.
    """
    run = Run.open(cast(Path, launcher.broadcast(path)))
    distributed = make_distributed(launcher, run.config.precision_on(launcher.device.type))
    first = distributed.rank == 0
    with leaving_together(launcher), freed_memory_kept(), quiet_pillow(), ExitStack() as stack:
        # Lock: nobody else writes into the run until this process ends
        lock = partial(_lock, run, images, stack if first else None)
        if refused := on_all(distributed, lock):
            return run.path, Outcome("refused", message=refused)

        # Data, networks, and where the newest checkpoint stands
        opened = on_all(distributed, lambda: _open(run, launcher, dataset))
        if isinstance(opened, str):
            return run.path, Outcome("refused", message=opened)
        dataset, train_state, skipped = opened
        stack.enter_context(closing(dataset))
        start, feed = train_state.images, dataset.feed

        title = f"{run.config.objective_name} on {run.config.data}"
        display = Display(run.config.images, title, start_at=start, quiet=quiet or not first)
        with display, noting_signals() as stop, BackgroundWriter(run) as writer:
            kid = partial(PeriodicKID, run.config, dataset, launcher.device)
            final_score = partial(closing_score, run.config, dataset, device=launcher.device)
            make_recorder = partial(Recorder, run, writer, train_state, feed, kid, final_score, display, skipped)
            recorder = on_all(distributed, lambda: make_recorder() if first else None)
            if isinstance(recorder, str):
                return run.path, Outcome("refused", start, recorder)
            outcome = train_loop(run, train_state, dataset, distributed, recorder, stop)
            finished = outcome.kind == "finished"
            if refused := on_all(distributed, lambda: recorder.close(finished=finished) if recorder else None):
                outcome = Outcome("refused", train_state.images, refused)
    return run.path, outcome


def _lock(run: Run, images: int | None, stack: ExitStack | None) -> None:
    """Hold the run for as long as `stack` lasts, so that nobody else writes into it, and note its new length."""
    if stack:
        stack.enter_context(sole_writer(run.path))
    if images is not None and images != run.config.images:
        longer = run.config.with_changes(images=images)
        if stack:
            run.change_config(longer)
        run.config = longer


def _open(run: Run, launcher: Launcher, dataset: Dataset | None) -> tuple[Dataset, TrainState, list[str]]:
    """The data, the train state at the newest readable checkpoint, and why newer ones were passed over."""
    if run.config.batch % launcher.world_size:
        raise UsageError(f"--batch {run.config.batch} does not divide by the {launcher.world_size} processes")
    dataset = dataset or open_dataset(run.config)
    train_state = TrainState(run.config, DataSpec.of(dataset.feed), launcher.device)
    if not run.checkpoints():
        return dataset, train_state, []
    tensors, facts, skipped = run.load_checkpoint()
    if facts["data"] != dataset.feed.fingerprint:
        raise UsageError(
            f"the images at {run.config.data} are not those that {run.path} was trained on: bring them back, "
            "or train a new run"
        )
    train_state.restore(tensors, facts)
    return dataset, train_state, skipped
