"""What a run leaves behind while it trains: lines of metrics, TensorBoard, samples, scores, events, a report."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import NamedTuple

import numpy as np
from torch import nn

from equipoise.data import Feed, Images
from equipoise.errors import printable
from equipoise.evaluation.periodic_kid import PeriodicKID
from equipoise.runs.background_writer import BackgroundWriter
from equipoise.runs.files import writing
from equipoise.runs.listing import CONVERGED
from equipoise.runs.numbered import images_of
from equipoise.runs.run import Run
from equipoise.training.contention import Contention
from equipoise.training.health import Finding, diagnose, kept_before
from equipoise.training.sample_grid import SampleGrid
from equipoise.training.schedule import lowest_if_stalled
from equipoise.training.state import TrainState
from equipoise.views.board import NoBoard, open_board
from equipoise.views.report import write_report
from equipoise.views.terminal import Display

SKIPPED_NAMES = 5  # skipped images named in a message
REPORT_SECONDS = 60  # between two reports, at least
REPORT_SHARE = 0.01  # of the time may go into reports, which take seconds to draw


CHANGED = "changed"  # kind of the note that the configuration was changed on request


class Note(NamedTuple):
    """Something to say once a run goes on.

    Attributes:
        level: info, warning or error.
        kind: in a word, for programs.
        message: in words.
    """

    level: str
    kind: str
    message: str


class Recorder:
    """Writes into the run's folder, and tells the display; only the first process has one.

    Raises:
        WriteError: from any method, where the disk refuses; no line, picture or checkpoint is left half-written.

    Attributes:
        rows: the lines of metrics, as they stand in the file.
    """

    def __init__(
        self,
        run: Run,
        writer: BackgroundWriter,
        train_state: TrainState,
        feed: Feed,
        held_out: Images | None,
        kid: Callable[[], PeriodicKID],
        closing_score: Callable[[nn.Module, int], str | None] | None,
        display: Display,
        notes: Sequence[Note] = (),
    ) -> None:
        """Open the run's files where `train_state` stands, and record what there is to say at the start.

        Args:
            run: the folder.
            writer: of its checkpoints.
            train_state: of the run.
            feed: what it trains on.
            held_out: images that are kept from it, where they are at hand.
            kid: makes what scores the samples, when the first score is due.
            closing_score: a sentence on the averaged generator after so many images, for the end, if it is to be.
            display: for a person.
            notes: on the checkpoint that was restored.
        """
        self.run, self.writer, self.train_state, self.display = run, writer, train_state, display
        self.config, self.data_fingerprint = run.config, feed.fingerprint
        self.grid = SampleGrid(run.config, feed, held_out)
        self.make_kid, self.closing_score = kid, closing_score
        self.kid: PeriodicKID | None = None
        self.report_due = time.monotonic() + REPORT_SECONDS
        self.contention = Contention(run.path, train_state.device)
        new = not run.checkpoints()
        with writing(run.path):
            self.rewind(-1 if new else train_state.images)
            for note in notes:
                self.event(*note)
            if self.config.compile == "always" and not train_state.finished:
                self.event("info", "compile", "compiling the networks first, which takes about half a minute")
            if new:
                self._begin(feed)
            elif not train_state.finished:
                self.event("info", "resumed", f"resumed at {train_state.images:,} images")
            if train_state.score_due and self.rows and not self._scored(train_state.images):
                self.score()
            if any(note.kind == CHANGED for note in notes):
                self.checkpoint()  # in place of the same with the former configuration

    def _begin(self, feed: Feed) -> None:
        """Say what there is to know of a new run, and record it as it is before training."""
        self.event("info", "precision", self.config.precision_message(self.train_state.device.type))
        if isinstance(self.board, NoBoard):
            self.event("info", "board", "no files for TensorBoard, which needs a folder's name to be UTF-8")
        if feed.skipped:
            names = ", ".join(f"{printable(name)} ({reason})" for name, reason in feed.skipped[:SKIPPED_NAMES])
            rest = len(feed.skipped) - SKIPPED_NAMES
            more = f" and {rest} more" if rest > 0 else ""
            message = f"{len(feed.skipped)} images cannot be read and were skipped: {names}{more}"
            self.event("warning", "skipped", message)
        for sentence in feed.notes:
            self.event("info", "data", sentence)
        if not self.grid.data_diversity:
            self.event("warning", "data", "the images are all equal: there is nothing to learn but that one")
        self.samples()
        self.checkpoint()
        self.writer.wait()  # from now on, a run without checkpoints is one that has lost them

    def rewind(self, images: int) -> None:
        """Stand where the run stood after `images` images: what was recorded later is dropped."""
        self.run.rewind(images)
        self.rows = self.run.rows()
        # What has been told was told with the last samples: lines since then may show more, which is still to be told.
        drawn = [number for number, row in enumerate(self.rows, 1) if "diversity" in row]
        told = self.rows[: drawn[-1]] if drawn else self.rows
        self.known_findings = {finding.kind for finding in diagnose(told, self.config)} if told else set[str]()
        self.best = self._best_score()
        self.train_state.kid_stalled = self._stall() is not None
        self.board = open_board(self.run.path, purge_step=images + 1)

    def event(self, level: str, kind: str, message: str, images: int | None = None) -> None:
        """Note in words that something happened, after `images` images or just now."""
        images = self.train_state.images if images is None else images
        self.run.append("events.jsonl", {"images": images, "level": level, "kind": kind, "message": message})
        self.display.message(level, message)

    def finding(self, finding: Finding) -> None:
        """Note in words that something is wrong, its parts beside the sentence."""
        row = {"images": self.train_state.images, "message": finding.message, **asdict(finding)}
        self.run.append("events.jsonl", row)
        self.display.message(finding.level, finding.message)

    def settings(self, sentences: Sequence[str]) -> None:
        """Note why settings were chosen, which was said before there was a run."""
        for sentence in sentences:
            row = {"images": self.train_state.images, "level": "info", "kind": "settings", "message": sentence}
            self.run.append("events.jsonl", row)

    def learning_rate(self) -> None:
        """Say that the learning rate has been halved."""
        measure, rate = self.config.objective.convergence_measure, self.train_state.lr
        self.event("info", "lr", f"{measure} has stalled: the learning rate is now {rate:.3g}")

    def metrics(self, means: dict[str, float]) -> None:
        """Log the means of the steps since the last line."""
        self._log({"images": self.train_state.images, "lr": self.train_state.lr, **means})
        if advice := self.contention.advice():
            self.event("info", "contention", advice)

    def samples(self) -> None:
        """Draw the samples, log what was measured of them, and say what is newly wrong, or right again."""
        images = self.train_state.images
        picture, measures = self.grid.draw(self.train_state)
        self.run.save_samples(images, picture)
        self.board.add_image("samples", np.atleast_3d(np.asarray(picture)), images, dataformats="HWC")
        self._log({"images": images, **measures})
        findings = {finding.kind: finding for finding in diagnose(self.rows, self.config)}
        for kind, finding in findings.items():
            if kind not in self.known_findings:
                self.finding(finding)
        for kind in sorted(self.known_findings - findings.keys()):
            self.event("info", kind, f"{kind.replace('-', ' ')}: no longer")
        self.known_findings = set(findings)

    def score(self) -> None:
        """Log the KID of the averaged generator, whose checkpoint has been taken, and keep that if it is the best."""
        self.kid = self.kid or self.make_kid()
        figures = self.kid(self.train_state.ema.eval())
        row = {"images": self.train_state.images, "kid": figures["value"], "kid_spread": figures["spread"]}
        self._log(row)
        if math.isfinite(row["kid"]) and (not self.best or row["kid"] < self.best["kid"]):
            self.best = row
            self.writer.wait()
            self.run.keep_best(self.train_state.images)
        if (lowest := self._stall()) and not self.train_state.kid_stalled:
            self.train_state.kid_stalled = True
            images, kid = lowest
            self.event("info", CONVERGED, f"converged: KID has been no lower since {images:,} images ({kid:.3g})")

    def checkpoint(self) -> None:
        """Save everything that moves, and draw the curves and the report if it is time."""
        self.board.flush()  # so that its curves have no gap if the next thing is a kill
        images, facts = self.train_state.images, self.train_state.facts() | {"data": self.data_fingerprint}
        needed = [] if self.train_state.finished else kept_before(self.rows, self.config)
        self.writer.save(images, self.train_state.tensors(), facts, needed)
        if time.monotonic() > self.report_due:
            started = time.monotonic()
            write_report(self.run.path)
            seconds = time.monotonic() - started
            self.report_due = started + max(REPORT_SECONDS, seconds / REPORT_SHARE)

    def close(self, *, finished: bool) -> None:
        """Wait for the last checkpoint, score a finished run, and draw the curves and the report as they now stand."""
        self.writer.wait()
        with writing(self.run.path):
            if finished and self.closing_score and not self.run.closing_score():
                images = self.train_state.images
                if sentence := self.closing_score(self.train_state.ema.eval(), images):
                    row = {"images": images, "level": "info", "kind": "score", "message": sentence}
                    self.run.append("events.jsonl", row)  # not shown: the command line ends with it
            self.board.flush()
            write_report(self.run.path)
            self.board.close()

    def _log(self, row: dict[str, float]) -> None:
        """One line of metrics: into the file, TensorBoard and the display."""
        self.run.append("metrics.jsonl", row)
        self.rows.append({name: value for name, value in row.items() if math.isfinite(value)})  # as they are read
        measures = {name: value for name, value in row.items() if name != "images"}
        for name, value in measures.items():
            self.board.add_scalar(name, value, int(row["images"]))
        self.display.update(int(row["images"]), measures)

    def _scored(self, images: int) -> bool:
        return any("kid" in row and row["images"] == images for row in self.rows)

    def _stall(self) -> tuple[int, float] | None:
        """Images and KID of the lowest score, if it is so old that training is to stop, where it goes by that."""
        scores = [(int(row["images"]), row["kid"]) for row in self.rows if "kid" in row]
        return lowest_if_stalled(scores) if self.config.ends_by_kid else None

    def _best_score(self) -> dict[str, float]:
        """The line with the best KID of those whose checkpoint is still there, which is then kept; else nothing."""
        best = self.run.best_checkpoint()
        kept = {images_of(path) for path in [*self.run.checkpoints(), *([best] if best else [])]}
        scored = [row for row in self.rows if "kid" in row and row["images"] in kept]
        row = min(scored, key=lambda row: row["kid"], default={})
        if row and not (best and images_of(best) == row["images"]):
            self.run.keep_best(row["images"])
        return row
