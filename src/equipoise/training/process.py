"""What every process of a run does: take the lock, open the data, restore the newest checkpoint, train, and close."""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

from equipoise.config.datasets import open_dataset
from equipoise.config.train_config import TrainConfig
from equipoise.data import Dataset, Images
from equipoise.data.decode import quiet_pillow
from equipoise.devices import Launcher, end_with_parent, leaving_together
from equipoise.errors import UsageError
from equipoise.evaluation.closing_score import closing_score
from equipoise.evaluation.periodic_kid import PeriodicKID
from equipoise.isolation import freed_memory_kept
from equipoise.runs.background_writer import BackgroundWriter
from equipoise.runs.lock import sole_writer
from equipoise.runs.run import CONFIG, Run
from equipoise.training.distributed import make_distributed, on_all
from equipoise.training.health import in_balance
from equipoise.training.loop import Outcome, train_loop
from equipoise.training.recorder import CHANGED, Note, Recorder
from equipoise.training.signals import noting_signals
from equipoise.training.state import DataSpec, TrainState
from equipoise.views.terminal import Display


class Changes(NamedTuple):  # not a frozen dataclass, which Fabric refuses to pass on to a process
    """What is changed in a run when it is resumed.

    Attributes:
        images: train to so many instead of the run's own number.
        data: where its images are now, if they have moved.
        devices: number of processes from now on, instead of the run's own.
        force: whether other changes in its config.yaml are meant.
    """

    images: int | None = None
    data: str | None = None
    devices: int | None = None
    force: bool = False

    @property
    def edit(self) -> bool:
        """Whether anything of config.yaml changes."""
        return (self.images, self.data, self.devices) != (None, None, None)

    def applied(self, config: TrainConfig) -> TrainConfig:
        """`config` with these changes.

        Raises:
            UsageError: they cannot work.
        """
        changes = {"images": self.images, "data": self.data, "devices": self.devices}
        return config.with_changes(**{name: value for name, value in changes.items() if value is not None})


def train_process(
    launcher: Launcher,
    path: Path | None,
    changes: Changes,
    dataset: Dataset | None,
    quiet: bool,
    notes: Sequence[str] = (),
    scored: bool = True,
) -> tuple[Path, Outcome]:
    """Train a run to its end, as one of its processes.

    Args:
        launcher: has started this process.
        path: the run's folder, which the first process knows.
        changes: to be made in the run's configuration.
        dataset: of the run, where it is open already.
        quiet: show no progress.
        notes: of a new run, sentences on its settings.
        scored: end with a score.
    """
    end_with_parent(launcher)
    run = Run.open(cast(Path, launcher.broadcast(path)))
    distributed = make_distributed(launcher, run.config.precision_on(launcher.device.type))
    first = distributed.rank == 0
    with leaving_together(launcher), freed_memory_kept(), quiet_pillow(), ExitStack() as stack:
        # Lock: nobody else writes into the run until this process ends
        if refused := on_all(distributed, lambda: stack.enter_context(sole_writer(run.path)) if first else None):
            return run.path, Outcome("refused", message=refused)

        # Configuration, data, networks, and where the newest checkpoint stands
        opened = on_all(distributed, lambda: _open(run, changes, launcher, dataset))
        if isinstance(opened, str):
            return run.path, Outcome("refused", message=opened)
        dataset, train_state, said = opened
        stack.enter_context(closing(dataset))
        change = partial(run.change_config, run.config, run.place)
        if refused := on_all(distributed, lambda: change() if first and changes.edit else None):
            return run.path, Outcome("refused", message=refused)
        start, feed = train_state.images, dataset.feed

        title = f"{run.config.objective_name} on {run.config.data}"
        balanced = partial(in_balance, objective=run.config.objective)
        display = Display(run.config.images, title, start_at=start, quiet=quiet or not first, balanced=balanced)
        with display, noting_signals() as stop, BackgroundWriter(run) as writer:
            kid = partial(PeriodicKID, run.config, dataset, launcher.device)
            final_score = partial(closing_score, run.config, dataset, device=launcher.device) if scored else None
            # Of a stream, what is held out is packed no earlier than a score asks for it.
            held_out = dataset.split("held-out") if isinstance(feed, Images) else None
            make_recorder = partial(Recorder, run, writer, train_state, feed, held_out, kid, final_score, display, said)
            recorder = on_all(distributed, lambda: make_recorder() if first else None)
            if isinstance(recorder, str):
                return run.path, Outcome("refused", start, recorder)
            if refused := on_all(distributed, lambda: recorder.settings(notes) if recorder else None):
                return run.path, Outcome("refused", start, refused)
            outcome = train_loop(run, train_state, dataset, distributed, recorder, stop)
            finished = outcome.kind == "finished"
            if refused := on_all(distributed, lambda: recorder.close(finished=finished) if recorder else None):
                outcome = Outcome("refused", train_state.images, refused)
    return run.path, outcome


def _open(
    run: Run, changes: Changes, launcher: Launcher, dataset: Dataset | None
) -> tuple[Dataset, TrainState, list[Note]]:
    """The data, the train state at the newest readable checkpoint, and what there is to say about both.

    The configuration is read anew, since whoever held the lock until now may have changed it.
    """
    held = Run.open(run.path)
    run.config, run.place = changes.applied(held.config), changes.data or held.place
    if run.config.batch % launcher.world_size:
        raise UsageError(f"--batch {run.config.batch} does not divide by the {launcher.world_size} processes")
    dataset = dataset or open_dataset(run.config, place=run.place)
    train_state = TrainState(run.config, DataSpec.of(dataset.feed), launcher.device, launcher.world_size)
    if not run.checkpoints():
        if any(row["images"] > 0 for row in run.rows()):  # training goes on once the first one is written
            raise UsageError(
                f"{run.path} has been trained, and its checkpoints are gone: bring them back, or train a new run"
            )
        return dataset, train_state, []
    tensors, facts, skipped = run.load_checkpoint(go_on=True)
    changed = run.changes_since(facts)
    if changed and not changes.force:
        raise UsageError(
            f"{run.path / CONFIG} was changed since the last checkpoint ({changed}): put that back, or if it is meant, "
            "add --force-changes"
        )
    if facts["data"] != dataset.feed.fingerprint:
        raise UsageError(
            f"the images at {run.place} are not those that {run.path} was trained on: bring them back, say where they "
            "are with --data, or train a new run"
        )
    train_state.restore(tensors, facts)
    notes = [Note("warning", "checkpoint", reason) for reason in skipped]
    return (
        dataset,
        train_state,
        [*notes, *([Note("warning", CHANGED, f"changed on request: {changed}")] if changed else [])],
    )
