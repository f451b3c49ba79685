"""Trainings in the plane, taken step by step on request: the same steps as those of a run, but nothing is written."""

import asyncio
import math
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

from equipoise.config.presets import PRESETS
from equipoise.data import TOYS
from equipoise.errors import UsageError, quoted
from equipoise.randomness import keyed_generator, latents
from equipoise.sampling.sample import generate
from equipoise.serving.refusal import Refusal, busy
from equipoise.serving.settings import Limits
from equipoise.training.batch import make_batch
from equipoise.training.distributed import Distributed
from equipoise.training.health import not_finite
from equipoise.training.loop import next_step
from equipoise.training.state import DataSpec, TrainState
from equipoise.views.toy_scatter import lattice, realness_score, toy_measures

T = TypeVar("T")
OBJECTIVES = tuple(name for name, presets in PRESETS.items() if "toy" in presets)
POINTS = 400  # of each kind that are sent
MEASURED = 2_000  # generated points that are measured
ACROSS = 40  # places a side at which D is asked
STEPPING_SECONDS = 0.7  # of one request, after which it answers with the steps taken so far
SPARED_SECONDS = 30.0  # without a step, after which a training makes room for another where there is none
DIGITS = 4  # of coordinates and heights
HEIGHTS = {
    "energy": "the negative energy that D gives a place: high where data lie",
    "loss": "the negative loss that D gives a place: high where data lie",
    "score": "D's score of a place: the higher, the more real it looks",
}


class ToySession:
    """One training in the plane.

    Raises:
        UsageError: there is no such objective or toy, or they do not go together.
    """

    def __init__(self, objective: str, data: str, seed: int, lr: float | None) -> None:
        if objective not in OBJECTIVES:
            raise UsageError(f"{quoted(objective)} is no objective for points: use one of {', '.join(OBJECTIVES)}")
        if data not in TOYS:
            raise UsageError(f"{quoted(data)} is no toy: use one of {', '.join(TOYS)}")
        changes: dict[str, Any] = {"data": data, "seed": seed, "device": "cpu", "compile": "never"}
        config = PRESETS[objective]["toy"].with_changes(**changes | ({} if lr is None else {"lr": lr}))
        self.toy, self.config, self.lock = TOYS[data], config, threading.Lock()
        self.train_state = TrainState(config, DataSpec.of(self.toy), torch.device("cpu"))
        self.latents = latents(MEASURED, config.network.latent, config.prior, keyed_generator(seed, "samples"))
        self.real = _rounded(self.toy.held_out(POINTS).tolist())
        self.measures: dict[str, float] = {}
        self.used = time.monotonic()

    def step(self, steps: int) -> None:
        """Train on; fewer steps than asked for where they take longer than STEPPING_SECONDS.

        Raises:
            Refusal: the training is at its end, or its numbers stopped being finite.
        """
        state, distributed, ends = self.train_state, Distributed(), time.monotonic() + STEPPING_SECONDS
        if state.finished:
            raise Refusal(409, f"this training has seen its {self.config.images:,} points: begin another")
        for _ in range(steps):
            inputs = make_batch(self.config, self.toy, state.images, distributed, state.device)
            state.prepare_step()
            state.finish_step(*next_step(state, distributed)(state.objective_state, inputs))
            if state.finished or time.monotonic() > ends:
                break
        self.measures = state.accumulator.close()
        if problem := not_finite(self.measures | state.extremes(), state.images):
            raise Refusal(409, f"{problem.message.partition(':')[0]}: begin again with a smaller lr")

    def view(self) -> dict[str, Any]:
        """Where the training stands: points of both kinds, D's landscape, measures."""
        points = generate(self.train_state.ema.eval(), self.config, self.latents).flatten(1)
        score = realness_score(self.train_state.players.discriminator, self.config.objective)
        extent, objective = self.toy.extent, self.config.objective
        kind = "energy" if objective.needs.score == "energy" else "loss" if objective.lower_is_real else "score"
        heights = score(lattice(extent, ACROSS)).view(ACROSS, ACROSS)
        return {
            "images": self.train_state.images,
            "total": self.config.images,
            "batch": self.config.batch,
            "lr": self.train_state.lr,
            "real": self.real,
            "samples": _rounded(points[:POINTS].tolist()),
            "landscape": {
                "grid": _rounded(heights.tolist()),
                "extent": [-extent, extent, -extent, extent],
                "higher_is_real": True,
                "meaning": HEIGHTS[kind],
            },
            "metrics": {**toy_measures(self.toy, points), **self.measures},
        }


class ToySessions:
    """A few trainings at once, one of them computing; what nobody steps is forgotten, sooner where room is short."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._sessions: OrderedDict[str, ToySession] = OrderedDict()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="equipoise-toys")
        self._waiting = self._beginning = 0

    def __len__(self) -> int:
        return len(self._sessions)

    async def begin(self, objective: str, data: str, seed: int, lr: float | None) -> dict[str, Any]:
        """A new training; returns its id and where it stands.

        Raises:
            Refusal: too many are being trained.
            UsageError: as `ToySession`.
        """
        self._make_room()
        session_id = secrets.token_hex(8)

        def make() -> tuple[ToySession, dict[str, Any]]:
            session = ToySession(objective, data, seed, lr)
            return session, session.view()

        self._beginning += 1
        try:
            session, view = await self._work(make)
        finally:
            self._beginning -= 1
        self._sessions[session_id] = session
        return {"id": session_id, **view}

    def _make_room(self) -> None:
        """Forget what nobody steps any more, or refuse: a page that went without a word leaves its trainings behind."""
        now = time.monotonic()
        idle = sorted((now - session.used, name) for name, session in self._sessions.items())  # the longest comes last
        while idle and idle[-1][0] > self.limits.toy_idle_seconds:
            del self._sessions[idle.pop()[1]]
        if len(self._sessions) + self._beginning < self.limits.toys:
            return
        if not idle or idle[-1][0] < SPARED_SECONDS:
            wait = SPARED_SECONDS - (idle[-1][0] if idle else 0)
            raise busy(f"{self.limits.toys} trainings in the plane are in use", wait)
        del self._sessions[idle[-1][1]]

    async def step(self, session_id: str, steps: int) -> dict[str, Any]:
        """Take steps; returns where the training stands then.

        Raises:
            Refusal: there is no such training, or as `ToySession.step`.
        """
        session = self._sessions.get(session_id)
        if session is None:
            raise Refusal(404, "this training has ended, as nobody took a step for long: begin another")

        def work() -> dict[str, Any]:
            session.step(steps)
            return session.view()

        session.used = time.monotonic()
        return await self._work(work)

    def end(self, session_id: str) -> None:
        """Forget a training.

        Raises:
            Refusal: there is none.
        """
        if self._sessions.pop(session_id, None) is None:
            raise Refusal(404, "there is no such training")

    async def _work(self, work: Callable[[], T]) -> T:
        if self._waiting >= self.limits.toys:
            raise busy("too many steps wait", 1)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Drop what waits."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _rounded(rows: list[list[float]]) -> list[list[float | None]]:
    """Rows of numbers with few digits, as JSON has them: null for what is no number."""
    return [[round(value, DIGITS) if math.isfinite(value) else None for value in row] for row in rows]
