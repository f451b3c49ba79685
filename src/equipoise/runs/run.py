"""A Run is a folder: config.yaml, metrics.jsonl, events.jsonl, TensorBoard events, checkpoints/, samples/, a report."""

import io
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from equipoise.config.arguments import checked
from equipoise.config.changes import forbidden_changes
from equipoise.config.train_config import TrainConfig, read_yaml_made_with, write_yaml
from equipoise.data import place_of
from equipoise.data.cache import sync
from equipoise.errors import UsageError, as_word, reason
from equipoise.reading import check_name, read_text
from equipoise.runs import checkpoint, files, jsonl
from equipoise.runs.checkpoint import CheckpointError, DamagedCheckpoint
from equipoise.runs.lock import LOCK, sole_writer
from equipoise.runs.numbered import images_of, numbered_files, numbered_name
from equipoise.runs.retention import superseded

CONFIG = "config.yaml"  # first file of a run; a folder without it is no run
CHECKPOINT, BEST, GRID = ".safetensors", "best-", ".png"  # ends and beginning of files named by images seen
DATA_PATH = "data_path"  # beside the versions in it: the absolute path of the data


class Run:
    """A training run's folder, made by `Run.create` or found by `Run.open`.

    Attributes:
        path: the folder.
        config: what is in its config.yaml.
        place: where its data lie, which `config.data` says relative to the working directory of `train`.
        made_with: versions of the software that wrote its config.yaml; empty where that does not say.
    """

    def __init__(self, path: Path, config: TrainConfig, place: str | None = None) -> None:
        self.path, self.config, self.place = path, config, place or config.data
        self.made_with: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @classmethod
    @checked
    def create(cls, path: Path | str, config: TrainConfig) -> "Run":
        """Make the folder of a new run.

        Raises:
            UsageError: there is already something at `path`, or it cannot be written.
        """
        check_name(path)
        path = Path(path)
        try:
            _refuse_existing(path)
            path.mkdir(parents=True, exist_ok=True)
            with sole_writer(path):
                _refuse_existing(path)  # another process may have made one between the two
                files.write_atomically(path / CONFIG, _config_file(config, config.data))
        except OSError as error:
            raise UsageError(f"cannot make a run at {path}: {error.strerror}; choose another --out") from error
        return cls(path, config)

    @classmethod
    @checked
    def open(cls, path: Path | str) -> "Run":
        """Find the run at `path`.

        Raises:
            UsageError: there is none, or its configuration cannot be read.
        """
        check_name(path)
        path = Path(path)
        file = path / CONFIG
        try:
            text = read_text(file)
        except OSError as error:
            raise UsageError(
                f"{path} is not a run, it has no readable config.yaml ({reason(error)}): give the folder that "
                "`equipoise train` made"
            ) from error
        config, made_with = read_yaml_made_with(text, str(file))
        run = cls(path, config, place_of(made_with.pop(DATA_PATH, "")))
        run.made_with = made_with
        return run

    def change_config(self, config: TrainConfig, place: str) -> None:
        """Write another configuration over the run's own, whose data lie at `place`.

        Raises:
            WriteError: it cannot be written.
        """
        with files.writing(self.path / CONFIG):
            files.write_atomically(self.path / CONFIG, _config_file(config, place))
        self.config, self.place = config, place

    # Lines of text, one JSON object each

    def append(self, file: str, row: Mapping[str, Any]) -> None:
        """Add one line to `file` (metrics.jsonl or events.jsonl).

        Raises:
            WriteError: the disk refuses; the lines before are untouched.
        """
        jsonl.append(self.path / file, row)

    def rows(self, file: str = "metrics.jsonl") -> list[dict[str, Any]]:
        """The lines of `file`, without what is no number; one that a crash cut short is passed over.

        Raises:
            UsageError: it is no plain file, or may not be read.
        """
        return jsonl.read(self.path / file)

    def closing_score(self) -> str | None:
        """The sentence with which the training ended; None while it has not, or where there was none to say."""
        rows, last = self.rows("events.jsonl"), self.rows()[-1:]
        told = [row for row in rows if row.get("kind") == "score" and last and row["images"] == last[0]["images"]]
        return told[-1]["message"] if told else None

    def rewind(self, images: int) -> None:
        """Drop what was logged after `images` images, and what a crash left half-written, before going on.

        Raises:
            WriteError: the disk refuses.
        """
        with files.writing(self.path):
            folders = [self.path / name for name in ("checkpoints", "samples")]
            for folder in folders:
                folder.mkdir(exist_ok=True)
            for folder in (self.path, *folders):
                for leftover in files.leftovers(folder):
                    leftover.unlink()
            best = self.best_checkpoint()
            for file in [*self.samples(), *self.checkpoints(), *([best] if best else [])]:
                if images_of(file) > images:  # a later checkpoint is one that could not be read
                    file.unlink()
        for name in ("metrics.jsonl", "events.jsonl"):
            jsonl.cut(self.path / name, images)

    # Checkpoints and samples, named by images seen

    def checkpoints(self) -> list[Path]:
        """Checkpoint files, oldest first."""
        return numbered_files(self.path / "checkpoints", CHECKPOINT)

    def samples(self) -> list[Path]:
        """Sample grids, oldest first."""
        return numbered_files(self.path / "samples", GRID)

    def save_checkpoint(
        self, images: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], kept_before: Sequence[int] = ()
    ) -> Path:
        """Write a checkpoint of `tensors` and `facts` in JSON, and drop those that are superseded by it.

        Raises:
            WriteError: it could not be written; those before it are untouched.
        """
        with files.writing(self.path):
            for file in filter(Path.exists, (self.path / "metrics.jsonl", self.path / "events.jsonl")):
                sync(file)  # no checkpoint is on the disk before what was logged up to it
        path = self.path / "checkpoints" / numbered_name(images, CHECKPOINT)
        checkpoint.save(path, tensors, {**facts, "images": images, "config": self.config.to_dict()})
        for old in superseded(self.checkpoints(), self.config, kept_before):
            old.unlink()
        return path

    def save_samples(self, images: int, picture: Image.Image) -> None:
        """Write a sample grid, whole or not at all.

        Raises:
            WriteError: the disk refuses.
        """
        path, data = self.path / "samples" / numbered_name(images, GRID), io.BytesIO()
        picture.save(data, "PNG")
        with files.writing(path):
            files.write_atomically(path, data.getvalue())

    def best_checkpoint(self) -> Path | None:
        """The checkpoint with the best score, where scores were taken."""
        return next(reversed(numbered_files(self.path / "checkpoints", CHECKPOINT, BEST)), None)

    def keep_best(self, images: int) -> None:
        """Keep the checkpoint at `images` images as the best, beside the last ones, and let go of the one before.

        Raises:
            WriteError: the disk refuses; the best one before is untouched.
        """
        folder = self.path / "checkpoints"
        source, final = (folder / numbered_name(images, CHECKPOINT, prefix) for prefix in ("", BEST))
        with files.writing(final):
            files.write_atomically(final, source.read_bytes())
            for before in set(numbered_files(folder, CHECKPOINT, BEST)) - {final}:
                before.unlink()

    def load_checkpoint(
        self, *, best: bool = False, up_to: int | None = None, at: int | None = None, go_on: bool = False
    ) -> tuple[dict[str, Tensor], dict[str, Any], list[str]]:
        """The newest checkpoint that can be read: its tensors, its facts, and why newer ones were passed over.

        Args:
            best: the one with the best score instead.
            up_to: the newest after so many images at most, or if there is none, the oldest.
            at: the one after so many images, give or take a batch.
            go_on: to train on from there, when the newer ones are dropped: so none but damaged ones are passed over.

        Raises:
            CheckpointError: there is none, or none can be read; a UsageError where two are named.
        """
        if at is not None:
            if best:
                raise UsageError("--best and --at name two checkpoints: leave one of them out")
            return *self._load(self._checkpoint_at(at)), []
        if best:
            if path := self.best_checkpoint():
                return *self._load(path), []
            raise CheckpointError(f"{self.path} keeps no best checkpoint: train with --score-every")
        problems, every = list[str](), self.checkpoints()
        candidates = [path for path in every if up_to is None or images_of(path) <= up_to] or every[:1]
        for path in reversed(candidates):
            try:
                return *self._load(path), [f"{problem}; using the one before it" for problem in problems]
            except CheckpointError as error:
                if go_on and not isinstance(error, DamagedCheckpoint):
                    way = "mend that, or move it away to go on with the one before it"
                    raise CheckpointError(f"{error}; {way}") from error
                problems.append(str(error))
        remedy = f" ({problems[-1]}): mend that, or train it anew" if problems else ": train it anew"
        raise CheckpointError(f"{self.path} has no checkpoint that can be read{remedy}")

    def _checkpoint_at(self, images: int) -> Path:
        near = min(self.checkpoints(), key=lambda path: abs(images_of(path) - images), default=None)
        if near and abs(images_of(near) - images) < self.config.batch:
            return near
        there = ", ".join(f"{images_of(path):,}" for path in self.checkpoints()) or "no number of"
        way = "take one of these, and train with --keep-every to keep more"
        raise CheckpointError(f"{self.path} has checkpoints after {there} images, not {images:,}: {way}")

    def _load(self, path: Path) -> checkpoint.Contents:
        """Read a checkpoint of this run, and make sure that it is: one of other images could ask for huge networks.

        Raises:
            CheckpointError: it cannot be read, or is another run's.
        """
        tensors, facts = checkpoint.load(path)
        if facts.get("shape") not in self.config.shapes:
            _, height, width = self.config.shapes[0]
            raise CheckpointError(f"{path} is not for images of {width}x{height}: it is another run's")
        if facts.get("images") != images_of(path) or not isinstance(facts.get("data"), str):
            raise CheckpointError(f"{path} was renamed, or lacks what every checkpoint says")
        return tensors, facts

    def changes_since(self, facts: Mapping[str, Any]) -> str:
        """What is another in config.yaml than when the checkpoint with these `facts` was taken, or "".

        Settings that may change on purpose do not count, nor do checkpoints that are too old to know theirs.

        Raises:
            CheckpointError: the facts are no checkpoint's.
        """
        if "config" not in facts:
            return ""
        try:
            return ", ".join(forbidden_changes(TrainConfig.from_dict(facts["config"]), self.config))
        except (UsageError, TypeError) as error:
            raise CheckpointError(f"the last checkpoint of {self.path} has no valid configuration: {error}") from error


def _refuse_existing(path: Path) -> None:
    """Raise UsageError if there is a run, or anything but what a run that was killed at its very beginning leaves."""
    if (path / CONFIG).exists():
        way = f"go on with `equipoise resume {as_word(path)}`"
        raise UsageError(f"{path} already holds a run: {way}, or choose another --out")
    leftover = rf"{re.escape(LOCK)}|\.{re.escape(CONFIG)}\..*\.tmp"
    if path.exists() and not (path.is_dir() and all(re.fullmatch(leftover, file.name) for file in path.iterdir())):
        raise UsageError(f"{path} already exists and is not empty: choose another --out")


def _config_file(config: TrainConfig, place: str) -> bytes:
    path = place_of(place)
    return write_yaml(config, versions() | ({DATA_PATH: path} if path else {})).encode()


def versions() -> dict[str, str]:
    """Versions that a result may depend on, and the commit of equipoise where it is a checkout."""
    numbers = {"equipoise": version("equipoise"), "torch": str(torch.__version__), "python": platform.python_version()}
    package = Path(__file__).parents[1]
    command = ["git", "-C", str(package), "log", "-1", "--abbrev=12", "--format=%h", "--", "."]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return numbers
    return {**numbers, "commit": commit} if commit else numbers
