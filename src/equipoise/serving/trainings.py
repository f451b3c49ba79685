"""Runs that are started from the page: one at a time, each a process of its own, within stated limits."""

import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from equipoise.config.presets import PRESETS
from equipoise.data import BUNDLED, TOYS
from equipoise.data.formats import is_image
from equipoise.errors import MOST_SHOWN, one_line
from equipoise.runs.numbered import free_folder
from equipoise.runs.run import CONFIG
from equipoise.serving.catalogue import id_of
from equipoise.serving.refusal import Refusal
from equipoise.serving.settings import Settings

LARGEST = 256  # pixels a side
PACKED = (".zip", ".npz", ".npy")  # data in one file
MOST_NAMES = 200  # of data
STOPPING_SECONDS = 30.0  # for a checkpoint at the end


class Trainings:
    """Starts `equipoise train` as a process of its own, at most one at a time.

    Attributes:
        process: the last that was started.
        folder: of its run.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.process: subprocess.Popen[bytes] | None = None
        self.folder: Path | None = None
        self._said: IO[bytes] | None = None
        self._lock = threading.Lock()

    def choices(self) -> dict[str, Any]:
        """What may be trained, and the limits.

        Raises:
            Refusal: nothing may.
        """
        self._check_allowed()
        limits = self.settings.limits
        return {
            "objectives": list(PRESETS),
            "data": self._data(),
            "toys": list(TOYS),
            "limits": {
                "minutes": limits.train_minutes,
                "images": limits.train_images,
                "resolution": LARGEST,
                "runs": 1,
            },
            "running": self.running,
            "run": id_of(self.folder) if self.running and self.folder is not None else None,
            "failed": self._failure(),
        }

    @property
    def running(self) -> bool:
        """Whether a training that was started here is in progress."""
        return self.process is not None and self.process.poll() is None

    def start(self, data: str, objective: str, length: Mapping[str, float], resolution: int | None) -> Path:
        """Start a run; returns the folder that it is going to have, once it has read its data.

        Args:
            data: one of the names of `choices`: never a path.
            objective: one of its objectives.
            length: images or minutes.
            resolution: of the images; by default what fits them.

        Raises:
            Refusal: it is not allowed, one is running, or there is no such data or objective.
        """
        self._check_allowed()
        with self._lock:
            return self._start(data, objective, length, resolution)

    def _start(self, data: str, objective: str, length: Mapping[str, float], resolution: int | None) -> Path:
        if self.running:
            raise Refusal(409, "a run that was started here is still training: wait until it ends")
        if data not in self._data():
            raise Refusal(404, "there is no such data here: GET /api/v1/train lists the names")
        if objective not in PRESETS:
            raise Refusal(404, "there is no such objective: GET /api/v1/train lists the names")
        if data in TOYS and "images" not in length:
            raise Refusal(422, f"{data} is a toy, of points, which is trained for a number of images: give images")
        folder = self.settings.train_data
        place = data
        if folder is not None and data not in (*BUNDLED, *TOYS):
            place = str((folder / data).resolve())  # of which no name is one of ours: `faces` are drawn ones
        root = next(path for path in self.settings.paths if not (path / CONFIG).exists())
        out = free_folder(f"{objective}-{Path(data).name}", root)
        words = ["train", objective, "--data", place, "--out", str(out), "--quiet"]
        words += [word for name, value in length.items() for word in (f"--{name}", str(value))]
        words += [] if resolution is None or data in TOYS else ["--resolution", str(resolution)]
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # read when the process has ended
        # A session of its own: Ctrl-C in the server's terminal reaches the server alone, which then stops it.
        self.process = subprocess.Popen(  # noqa: S603  # every word is from a list of ours, a number, or a name there
            [sys.executable, "-m", "equipoise", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            start_new_session=True,
        )
        self.folder = out
        return out

    def stop(self) -> None:
        """Tell a training in progress to write its checkpoint and end, without waiting for that.

        Raises:
            Refusal: it is not allowed, or none is in progress.
        """
        self._check_allowed()
        if self.process is None or not self.running:
            raise Refusal(409, "no run that was started here is training")
        self.process.terminate()

    def close(self) -> None:
        """Let a training in progress write its checkpoint and end: `equipoise resume` goes on with it."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOPPING_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()

    def _check_allowed(self) -> None:
        if not self.settings.allow_train:
            raise Refusal(403, "runs are not started from here: the server was started without --allow-train")

    def _data(self) -> list[str]:
        """Names of data that may be trained on: bundled ones, and what lies in the folder for it, `./digits` there."""
        names, folder = [*BUNDLED, *TOYS], self.settings.train_data
        if folder is None:
            return names
        try:
            found = sorted(path.name for path in folder.iterdir() if not path.name.startswith((".", "-")))
        except OSError:
            return names
        usable = [name for name in found if (folder / name).is_dir() or Path(name).suffix.lower() in PACKED]
        usable = [name for name in usable if not is_image(name)][:MOST_NAMES]
        return names + [f"./{name}" if name in names else name for name in usable]

    def _failure(self) -> str | None:
        """The sentence with which the last training that was started here failed; None if it did not."""
        if self.process is None or self._said is None or self.process.poll() in (None, 0):
            return None
        self._said.seek(0)
        lines = self._said.read(2**16).decode("utf-8", "replace").strip().splitlines()
        return one_line(lines[-1].removeprefix("equipoise: "), MOST_SHOWN) if lines else None
