"""Train a run, or resume one: from a configuration to a folder with checkpoints, pictures and curves."""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import torch
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from equipoise.config.arguments import checked
from equipoise.config.datasets import open_dataset
from equipoise.config.numbers import Count, ProcessCount
from equipoise.config.train_config import TrainConfig
from equipoise.data import Dataset, as_text, is_path, place_of
from equipoise.devices import SingleProcess, is_first_process, is_out_of_memory, make_launcher, memory_of
from equipoise.errors import Diverged, Interrupted, UsageError, as_word
from equipoise.evaluation.periodic_kid import kid_reference
from equipoise.isolation import isolated
from equipoise.players import Players
from equipoise.runs.listing import converged_after
from equipoise.runs.numbered import free_folder, images_of
from equipoise.runs.run import CONFIG, Run
from equipoise.training.loop import Outcome
from equipoise.training.process import Changes, train_process
from equipoise.training.signals import forwarding_signals
from equipoise.training.state import Shape
from equipoise.views.terminal import progress_bar

FEWEST = 2  # images to train on
TOO_LITTLE_MEMORY = (
    "there is too little memory for a step: make room, or train a new run with a smaller --batch, --width or "
    "--resolution"
)


@checked
@isolated()
def train(
    config: TrainConfig,
    out: Path | str | None = None,
    *,
    quiet: bool = False,
    notes: Sequence[str] = (),
    closing_score: bool = True,
) -> Run:
    """Train a new run to its end.

    Args:
        config: everything that decides the run.
        out: the folder to make; by default the first free `runs/OBJECTIVE-DATA-NNN`.
        quiet: show no progress.
        notes: sentences that the run's events begin with, such as why its settings were chosen.
        closing_score: end with a score of some samples, which takes seconds.

    Returns:
        The run, with its last checkpoint, samples, curves and report.

    Raises:
        UsageError: the configuration, the data or the folder cannot work; nothing was written.
        Diverged: training went wrong, and `config.on_divergence` asks for no more than was done.
        Interrupted: SIGINT, SIGTERM, SIGUSR1 or SIGHUP; a checkpoint was written.
    """
    launcher = make_launcher(config.device, config.devices)
    config.precision_on(launcher.device.type)  # refused here if it is, before a folder is made
    if not is_first_process():  # torchrun or a scheduler has started this process; the first one makes the folder
        with forwarding_signals():
            path, outcome = launcher.launch(train_process, None, Changes(), None, quiet, (), closing_score)
        return _finish(path, outcome)
    with progress_bar(f"packing {config.data}", quiet=quiet) as progress:
        dataset = open_dataset(config, progress)
        check(config, dataset, launcher.device)  # which packs the data, if they are not packed already
    with closing(dataset):
        run = Run.create(out or free_folder(config.run_name), config)
        # What is open cannot be sent to other processes: they open it anew, as it is packed by now.
        opened = dataset if isinstance(launcher, SingleProcess) else None
        with _reporting_deaths(run):
            path, outcome = launcher.launch(
                train_process, run.path, Changes(), opened, quiet, tuple(notes), closing_score
            )
    return _finish(path, outcome)


@checked
@isolated()
def resume(
    path: Path | str,
    *,
    images: Count | None = None,
    data: Path | str | None = None,
    devices: ProcessCount | None = None,
    force_changes: bool = False,
    quiet: bool = False,
) -> Run:
    """Go on with the run at `path` where its last readable checkpoint stands.

    Args:
        path: the run's folder.
        images: train to so many images instead of the number in the run's configuration.
        data: where its images are now; they must be the same ones.
        devices: number of processes on this machine from now on; the images and their order stay what they were.
        force_changes: go on although the run's configuration was edited in what decides on training; an event tells so.
        quiet: show no progress.

    Returns:
        The run, as if it had never stopped.

    Raises:
        UsageError: there is no run, no readable checkpoint, its configuration or data has changed or gone, or it is to
            train to more `images` although it has converged, and was to stop there.
        Diverged: training went wrong, and `config.on_divergence` asks for no more than was done.
        Interrupted: SIGINT, SIGTERM, SIGUSR1 or SIGHUP; a checkpoint was written.
    """
    run = Run.open(path)
    changes = Changes(images, None if data is None else as_text(data), devices, force_changes)
    config = changes.applied(run.config)  # what cannot work is refused before anything is started
    # By a checkpoint that can be read: a damaged one is passed over, whatever its name says.
    if images is not None and images < _images_saved(run) and images < (seen := run.load_checkpoint()[1]["images"]):
        raise UsageError(f"{run.path} has seen {seen:,} images already, and cannot end after {images:,}: ask for more")
    if images is not None and (told := converged(run)):
        raise UsageError(told)
    launcher = make_launcher(config.device, config.devices)
    with _reporting_deaths(run):
        folder, outcome = launcher.launch(train_process, run.path, changes, None, quiet)
    return _finish(folder, outcome)


def converged(run: Run) -> str:
    """That a run has converged, and how it trains on all the same, in a sentence; "" where it has not, or need not."""
    seen = converged_after(run)
    way = f"to train on, put `until_converged: false` into {as_word(run.path / CONFIG)}"
    return "" if seen is None else f"{run.path} has converged after {seen:,} images: {way}"


@isolated()
def resume_if_exists(config: TrainConfig, out: Path | str, *, quiet: bool = False, notes: Sequence[str] = ()) -> Run:
    """Train a new run at `out`, or resume the one that is there: one command for a machine that may stop.

    What `resume` can change may differ: the larger number of images is meant, and data and devices of `config`, unless
    these data have gone.

    Raises:
        UsageError: the run at `out` has another configuration; or as `train` and `resume` do.
        Diverged, Interrupted: as `train` does.
    """
    if not os.path.lexists(Path(out) / CONFIG):  # which is no error where it may not be looked at
        return train(config, out, quiet=quiet, notes=notes)
    run = Run.open(out)
    existing, wanted = run.config.to_dict(), config.to_dict()
    different = [key for key in wanted if wanted[key] != existing[key]]
    if refused := [key for key in different if key not in {"images", "data", "devices"}]:
        raise UsageError(
            f"the run at {out} was made with another {refused[0]} "
            f"({existing[refused[0]]}, not {wanted[refused[0]]}): "
            f"go on with `equipoise resume {as_word(out)}`, or choose another --out"
        )
    place = place_of(config.data)
    there = place not in {None, place_of(run.place)} or not is_path(config.data)
    return resume(
        out,
        images=config.images if config.images > run.config.images else None,
        data=config.data if "data" in different and there else None,
        devices=config.devices if "devices" in different else None,
        quiet=quiet,
    )


def check(config: TrainConfig, dataset: Dataset, device: torch.device) -> None:
    """Refuse what cannot work before anything is written.

    Raises:
        UsageError: fewer images than a batch or a score needs, or networks that cannot make such images or do not fit
            into memory.
    """
    feed = dataset.feed
    if feed.count is not None and feed.count < config.batch:
        beside = ", the held-out ones aside" if config.held_out != 0 else ""
        found = f"{config.data} has only {feed.count} image{'' if feed.count == 1 else 's'}{beside}"
        if feed.count < FEWEST:  # of which no batch has two that could be compared
            raise UsageError(f"{found}: add images, training needs {FEWEST} or more")
        raise UsageError(f"{found}: use --batch {feed.count} or less")
    try:
        config.tasks.check(feed.shape, feed.classes, config.objective.needs)
    except UsageError as error:
        if config.tasks.classify and feed.classes < 2 and feed.notes:  # which may say why there are no labels
            raise UsageError(f"{error}; {'; '.join(feed.notes)}") from error
        raise
    if config.score_every:
        kid_reference(config, dataset)
    check_memory(config, feed.shape, feed.classes, device)


def check_memory(config: TrainConfig, shape: Shape, classes: int, device: torch.device) -> None:
    """Refuse networks that cannot make images of `shape` (C, H, W), or that do not fit into the device's memory.

    Raises:
        UsageError: they cannot, or do not.
    """
    with torch.device("meta"):  # shapes alone: nothing is allocated or drawn
        players = config.build(shape, classes)
    needed, there = memory_needed(players, config.dtype), memory_of(device)
    if there and needed > there:
        raise UsageError(
            f"these networks alone take {needed / 2**30:,.1f} GiB to train, and there are {there / 2**30:,.1f}: "
            "make them smaller, as with --width"
        )


def memory_needed(players: Players, dtype: torch.dtype) -> int:
    """Bytes for weights, gradients and two moments of both players, and for the generator's average."""
    generator, discriminator = (sum(weight.numel() for weight in player.parameters()) for player in players)
    return (5 * generator + 4 * discriminator) * dtype.itemsize


@contextmanager
def _reporting_deaths(run: Run) -> Iterator[None]:
    """Inside, signals reach a run's processes that are started there; death and want of memory are told in words."""
    with forwarding_signals() as sent:
        try:
            yield
        except ProcessExitedException as error:
            _finish(run.path, _outcome_of_death(run, error, sent()))
        except (MemoryError, RuntimeError, ProcessRaisedException) as error:
            if not is_out_of_memory(error):
                raise
            _finish(run.path, Outcome("broken", _images_saved(run), TOO_LITTLE_MEMORY))


def _outcome_of_death(run: Run, error: ProcessExitedException, signal: int) -> Outcome:
    """What became of a run one of whose processes died: by a signal sent on before it could note it, or without one."""
    images = _images_saved(run)
    if signal:
        return Outcome("interrupted", images, signal=signal)
    cause = error.signal_name or f"with exit code {error.exit_code}"
    return Outcome("broken", images, f"process {error.error_index} died ({cause}), as where there is too little memory")


def _images_saved(run: Run) -> int:
    """Images that the last checkpoint has seen."""
    checkpoints = run.checkpoints()
    return images_of(checkpoints[-1]) if checkpoints else 0


def _finish(path: Path, outcome: Outcome) -> Run:
    """The run at `path`, or what its outcome raises."""
    run = Run.open(path)
    if outcome.kind == "refused":
        raise UsageError(outcome.message)
    if outcome.kind == "broken":
        way = f"`equipoise resume {as_word(run.path)}` goes on at {outcome.images:,} images"
        raise UsageError(f"{outcome.message}; {way}")
    if outcome.kind == "diverged":
        raise Diverged(f"{outcome.message}; then `equipoise train --config {as_word(run.path / 'config.yaml')} --lr …`")
    if outcome.kind == "interrupted":
        raise Interrupted(str(run.path), outcome.images, outcome.signal)
    return run
