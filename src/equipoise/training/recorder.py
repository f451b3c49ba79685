"""What a run leaves behind while it trains: lines of metrics, TensorBoard, samples, health, curves, a report."""

import os
import time
from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from equipoise.config.train_config import TrainConfig
from equipoise.data import Feed, normalise, to_uint8
from equipoise.evaluation.periodic_kid import PeriodicKID
from equipoise.metrics.similarity import diversity
from equipoise.players import Conditions
from equipoise.randomness import Draws, keyed_generator, latents
from equipoise.runs.background_writer import BackgroundWriter
from equipoise.runs.files import writing
from equipoise.runs.run import Run
from equipoise.sampling.conditions import conditions
from equipoise.training.distributed import Distributed
from equipoise.training.health import MOST_CUTS, Finding, diagnose, sudden_collapse, well_until
from equipoise.training.state import TrainState
from equipoise.views.figures import grid
from equipoise.views.report import write_report
from equipoise.views.terminal import Display
from equipoise.views.toy_scatter import JUDGED_POINTS, realness_score, toy_measures, toy_scatter

NAMED = 5  # skipped images named in a message
JUDGED = 256  # samples whose diversity is measured
BETWEEN_REPORTS = 60  # seconds at least
DRAWING = 0.01  # share of the time that may go into reports
SHOWN = 64  # samples in a grid


class Moment(NamedTuple):
    """What there is to record after a step.

    Attributes:
        means: of the measures since the last line of metrics, if there is to be one now.
        halved: whether the learning rate was halved by them.
        sampling, scoring, saving: whether samples, a score and a checkpoint are due.
        compiling: what to tell if the networks are compiled next.
    """

    means: dict[str, float] | None = None
    halved: bool = False
    sampling: bool = False
    scoring: bool = False
    saving: bool = False
    compiling: str = ""


class Recorder:
    """Writes into the run's folder, and tells the display; only the first process has one.

    Raises:
        WriteError: from any method, where the disk refuses; no line, picture or checkpoint is left half-written.
    """

    def __init__(
        self,
        run: Run,
        writer: BackgroundWriter,
        train_state: TrainState,
        feed: Feed,
        distributed: Distributed,
        display: Display,
        passed_over: Sequence[str] = (),
    ) -> None:
        self.run, self.writer, self.train_state, self.distributed, self.display = (
            run,
            writer,
            train_state,
            distributed,
            display,
        )
        config = run.config
        self.fresh = not run.checkpoints()
        count = JUDGED_POINTS if config.toy else JUDGED
        self.latents = latents(count, config.network.latent, config.prior, keyed_generator(config.seed, "samples"))
        some = normalise(feed.draw(min(JUDGED, feed.count or JUDGED), config.seed, 0).images)
        self.data_diversity = diversity(some)
        self.conditions = self._conditions(feed.classes, some[torch.arange(count) % len(some)])
        self.report_due = time.monotonic() + BETWEEN_REPORTS
        self.data = feed.fingerprint
        self.judge: PeriodicKID | None = None
        with writing(run.path):
            self._open(-1 if self.fresh else train_state.images)
            self._begin(feed, passed_over)

    def _open(self, images: int) -> None:
        """Stand where the run stood after `images` images: what was recorded later is dropped."""
        self.run.rewind(images)
        self.rows = self.run.rows()
        self.ailing = {finding.kind for finding in diagnose(self.rows, self.run.config)} if self.rows else set[str]()
        self.best = self._best()
        self.board = SummaryWriter(str(self.run.path), purge_step=images + 1)

    def record(self, moment: Moment) -> Finding | None:
        """Record what is due; if the samples have collapsed, say so and leave it at that."""
        self.writer.settle(wait=False)
        with writing(self.run.path):
            if moment.compiling:
                self.event("info", "compile", moment.compiling)
            if moment.means:
                self.line(moment.means, halved=moment.halved)
            if moment.sampling:
                self.samples()
                if bad := sudden_collapse(self.rows, self.run.config):
                    return bad
            if moment.scoring:
                self.score()
            if moment.saving:
                self.checkpoint()
        return None

    def go_back(self, bad: Finding) -> None:
        """Make the last good checkpoint the newest, with half the learning rate; `train_state` is left as it is."""
        self.writer.settle()
        _, facts, _ = self.run.load_checkpoint(up_to=well_until(self.rows, self.run.config, bad))
        images, cuts = facts["images"], self.train_state.cuts + 1
        evidence = bad.message.partition(":")[0]
        with writing(self.run.path):
            self.board.close()
            self._open(images)
            tensors, facts, _ = self.run.load_checkpoint()
            self.event(
                "warning",
                "rollback",
                f"{evidence}: went back to {images:,} images with half the learning rate (time {cuts} of {MOST_CUTS})",
                images,
            )
            self.run.save_checkpoint(images, tensors, {**facts, "cuts": cuts})

    def line(self, measures: dict[str, float], *, halved: bool) -> None:
        """Log the means of one window of steps."""
        images = self.train_state.images
        if halved:
            name = self.run.config.objective.convergence_measure
            self.event("info", "lr", f"{name} has stalled: the learning rate is now {self.train_state.lr:.3g}")
        self._log({"images": images, "lr": self.train_state.lr, **measures})
        self.display.update(images, {"lr": self.train_state.lr, **measures})

    def samples(self) -> None:
        """Draw the samples, measure their diversity, and a toy's modes, and say what is wrong."""
        images = self.train_state.images
        made = self._generate()
        picture = self._picture(made)
        self.run.save_samples(images, picture)
        self.board.add_image("samples", np.atleast_3d(np.asarray(picture)), images, dataformats="HWC")
        measures = {"diversity": diversity(made[:JUDGED]) / self.data_diversity}
        if toy := self.run.config.toy:
            measures |= toy_measures(toy, made.flatten(1))
        self._log({"images": images, **measures})
        self.display.update(images, measures)
        self._diagnose()

    def score(self) -> None:
        """Log the KID of the averaged generator; `checkpoint` then keeps the best."""
        judge = self.judge = self.judge or PeriodicKID(self.run.config, self.train_state.device)
        figures = judge(self.train_state.ema.eval())
        row = {"images": self.train_state.images, "kid": figures["value"], "kid_spread": figures["spread"]}
        self._log(row)
        self.display.update(self.train_state.images, {"kid": figures["value"]})
        if not self.best or figures["value"] < self.best["kid"]:
            self.best = row

    def _begin(self, feed: Feed, passed_over: Sequence[str]) -> None:
        """Say what a person should know at the start, and leave the first samples and checkpoint of a new run."""
        for note in passed_over:
            self.event("warning", "checkpoint", note)
        if self.run.config.compile == "always" and not self.train_state.finished:
            self.event("info", "compile", "compiling the networks first, which takes about half a minute")
        if not self.fresh:
            if not self.train_state.finished:
                self.event("info", "resumed", f"resumed at {self.train_state.images:,} images")
            return
        self.event("info", "precision", _precision_message(self.run.config, self.train_state.device.type))
        if feed.skipped:
            names = ", ".join(f"{name} ({reason})" for name, reason in feed.skipped[:NAMED])
            more = f" and {len(feed.skipped) - NAMED} more" if len(feed.skipped) > NAMED else ""
            self.event(
                "warning", "skipped", f"{len(feed.skipped)} images cannot be read and were skipped: {names}{more}"
            )
        self.samples()
        self.checkpoint()

    def event(self, level: str, kind: str, message: str, images: int | None = None) -> None:
        """Note in words that something happened, after `images` images or just now."""
        at = self.train_state.images if images is None else images
        self.run.append("events.jsonl", {"images": at, "level": level, "kind": kind, "message": message})
        self.display.say(level, message)

    def checkpoint(self) -> None:
        """Save everything that moves, and draw the curves and the report if that is due."""
        self.board.flush()  # so that its curves have no gap if the next thing is a kill
        images, facts = self.train_state.images, self.train_state.facts() | {"data": self.data}
        self.writer.save(images, self.train_state.tensors(), facts, best=self.best.get("images") == images)
        if time.monotonic() > self.report_due:
            self._draw()

    def close(self) -> None:
        """Wait for the last checkpoint, and draw the curves and the report as they stand at the end."""
        self.writer.settle()
        with writing(self.run.path):
            self._draw()
            self.board.close()

    def _best(self) -> dict[str, float]:
        """The row of metrics with the best KID of those whose checkpoint is still there, which is then kept."""
        best = self.run.best_checkpoint()
        kept = {int(path.stem.removeprefix("best-")) for path in [*self.run.checkpoints(), *([best] if best else [])]}
        scored = [row for row in self.rows if "kid" in row and row["images"] in kept]
        found = min(scored, key=lambda row: row["kid"], default={})
        if found and not (best and best.stem.endswith(f"-{found['images']:012d}")):
            self.run.keep_best(found["images"])
        return found

    def _draw(self) -> None:
        start = time.monotonic()
        self.board.flush()
        write_report(self.run.path)
        took = time.monotonic() - start
        self.report_due = start + max(BETWEEN_REPORTS, took / DRAWING)

    def _log(self, row: dict[str, float]) -> None:
        self.run.append("metrics.jsonl", row)
        self.rows.append(row)
        for name, value in row.items():
            if name != "images":
                self.board.add_scalar(name, value, int(row["images"]))

    def _diagnose(self) -> None:
        findings = diagnose(self.rows, self.run.config)
        for finding in findings:
            if finding.kind not in self.ailing:
                self.event(finding.level, finding.kind, finding.message)
        self.ailing = {finding.kind for finding in findings}

    def _picture(self, made: Tensor) -> Image.Image:
        """A grid of the first images; of a toy, all points over the data's, with the discriminator behind."""
        if not (toy := self.run.config.toy):
            return grid(to_uint8(made[:SHOWN]))
        score = realness_score(self.train_state.players.discriminator, self.run.config.objective)
        return toy_scatter(toy, made.flatten(1), score)

    @torch.no_grad()
    def _generate(self) -> Tensor:
        """Images (JUDGED, C, H, W) in [-1, 1], or a toy's points, from the fixed latents, on the CPU."""
        generator: nn.Module = self.train_state.ema
        generator.eval()
        with self.distributed.autocast():
            parts = [
                self._given(generator, slice(start, start + SHOWN)) for start in range(0, len(self.latents), SHOWN)
            ]
        made = torch.cat(parts).float().cpu()
        return made if self.run.config.toy else made.clamp(-1, 1)

    def _conditions(self, classes: int, some: Tensor) -> Conditions | None:
        """What the generator is given beside the fixed latents: every class in turn, holes in the images `some`."""
        draws = Draws(self.run.config.seed, -1, len(some), slice(None))
        given = conditions(self.run.config, classes, draws, some, training=False)
        if given is None or given.labels is None:
            return given
        return given._replace(labels=torch.arange(len(some)) % classes)

    def _given(self, generator: nn.Module, rows: slice) -> Tensor:
        """Images (n, C, H, W) of some of the fixed latents, under the fixed conditions if there are any."""

        def moved(values: Tensor | None) -> Tensor | None:
            return None if values is None else values[rows].to(self.train_state.device)

        latent = self.latents[rows].to(self.train_state.device, self.train_state.config.dtype)
        if self.conditions is None:
            return cast(Tensor, generator(latent).images)
        return cast(Tensor, generator(latent, Conditions(*map(moved, self.conditions))).images)


def _precision_message(config: TrainConfig, device: str) -> str:
    """Which precision training takes on a kind of device, and why."""
    chosen, where = config.precision_on(device), {"cpu": "the CPU", "cuda": "the GPU"}.get(device, device)
    if config.precision != "auto":
        why = "as asked"
    elif config.toy:
        why = "as always for points in the plane"
    elif "EQUIPOISE_AUTO_PRECISION" in os.environ:
        why = "as EQUIPOISE_AUTO_PRECISION says"
    else:
        why = f"which {'multiplies it' if chosen == 'bf16' else 'does not multiply bf16'} natively"
    return f"computing in {chosen} on {where}, {why}"
