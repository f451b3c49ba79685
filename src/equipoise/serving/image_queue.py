"""The queue before the generators: requests for one model share its passes, and nobody waits longer than a second."""

import asyncio
import contextlib
import math
import threading
import time
from collections import OrderedDict, deque
from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.errors import UsageError
from equipoise.serving.models import Checkpoint, Model
from equipoise.serving.refusal import Refusal, busy
from equipoise.serving.settings import Limits

BLOCK = 64  # images of one pass
FADING_SECONDS = 5.0  # in which the time an image takes, as it was measured, halves
MOST_SECONDS = 30.0  # that are waited for an image of a generator that is known to take so long
SPEEDS = 256  # checkpoints whose speed is remembered


@dataclass(eq=False)
class Job:
    """What one request wants of a model."""

    model: Model
    latents: Tensor
    labels: Tensor
    done: "asyncio.Future[Tensor]"
    loop: asyncio.AbstractEventLoop


class ImageQueue:
    """One thread with the generators; whatever waits for the same one is made in one pass of up to BLOCK images.

    Args:
        limits: how many may wait, and how long.
        batched: whether requests share passes.
    """

    def __init__(self, limits: Limits, *, batched: bool = True) -> None:
        self.limits, self.batched = limits, batched
        self.images_made = self.passes = 0
        self._jobs: deque[Job] = deque()
        self._waiting = threading.Condition()
        self._busy_until = 0.0  # expected end of the pass that is being made
        self._speeds: OrderedDict[Checkpoint, tuple[float, float]] = OrderedDict()  # seconds an image, and when
        self._ending = False
        self._thread = threading.Thread(target=self._work, name="equipoise-images")
        self._thread.start()

    def __len__(self) -> int:
        return len(self._jobs)

    def most_at_once(self, checkpoint: Checkpoint) -> int:
        """Images of one request that this machine makes in time, as far as it is known yet."""
        return max(1, min(self.limits.images, int(self.limits.answer_seconds / max(self._speed(checkpoint), 1e-9))))

    async def images(self, model: Model, latents: Tensor, labels: Tensor) -> Tensor:
        """Images (N, C, H, W) uint8 of latents (N, latent) and classes (N,).

        Raises:
            Refusal: too many wait, or it would not be, or was not, done in time.
        """
        # One image that takes longer than an answer may would be made again and again, and never be sent.
        single = min(2 * self._speed(model.checkpoint), MOST_SECONDS)
        most, allowed = self.most_at_once(model.checkpoint), max(self.limits.answer_seconds, single)
        if len(latents) > most:
            what = f"{len(latents)} images of this run take too long here: ask for {most} or fewer at once"
            raise Refusal(413, what, most=most)
        loop = asyncio.get_running_loop()
        job = Job(model, latents, labels, loop.create_future(), loop)
        with self._waiting:
            wait = self._expected_wait()
            if self._ending or len(self._jobs) >= self.limits.queued or wait > allowed:
                raise busy("too many requests wait for images", wait)
            self._jobs.append(job)
            self._waiting.notify()
        try:
            return await asyncio.wait_for(job.done, allowed)
        except TimeoutError:  # which has cancelled it: if its turn has not come yet, it is passed over
            raise busy("the images were not made in time", allowed) from None

    def close(self) -> None:
        """Finish what waits, and end."""
        with self._waiting:
            self._ending = True
            self._waiting.notify()

    def _expected_wait(self) -> float:
        """Seconds until all that waits now is made."""
        queued = sum(len(job.latents) * self._speed(job.model.checkpoint) for job in self._jobs)
        return queued + max(0.0, self._busy_until - time.monotonic())

    def _work(self) -> None:
        while jobs := self._next():
            self._make(jobs)

    def _next(self) -> list[Job]:
        """The jobs of the next pass: the first in line, and others that want the same model; none at the end."""
        with self._waiting:
            while True:
                while not self._jobs and not self._ending:
                    self._waiting.wait()
                if not self._jobs:
                    return []
                first = self._jobs.popleft()
                if not first.done.cancelled():
                    break
            chosen, count, others = [first], len(first.latents), deque[Job]()
            while self._jobs and self.batched:
                job = self._jobs.popleft()
                if job.done.cancelled():
                    continue
                if job.model is first.model and count + len(job.latents) <= BLOCK:
                    chosen.append(job)
                    count += len(job.latents)
                else:
                    others.append(job)
            self._jobs.extendleft(reversed(others))
            self._busy_until = time.monotonic() + count * self._speed(first.model.checkpoint)
            return chosen

    def _make(self, jobs: list[Job]) -> None:
        model, counts = jobs[0].model, [len(job.latents) for job in jobs]
        start = time.monotonic()
        try:
            images = model.images(torch.cat([job.latents for job in jobs]), torch.cat([job.labels for job in jobs]))
            parts: list[Tensor | Exception] = [*torch.split(images, counts)]
        except Exception as error:  # one request's fault must not end the thread that serves all
            parts = [error] * len(jobs)
        else:
            self._learn_speed(model.checkpoint, sum(counts), time.monotonic() - start)
            self.images_made += sum(counts)
            self.passes += 1
        for job, part in zip(jobs, parts, strict=True):
            with contextlib.suppress(RuntimeError):  # the loop has ended
                job.loop.call_soon_threadsafe(_deliver, job.done, part)

    def _speed(self, checkpoint: Checkpoint) -> float:
        """Seconds an image takes, as far as it is known; less as time goes by, so that a slow spell is not for ever."""
        seconds, then = self._speeds.get(checkpoint, (0.0, 0.0))
        return seconds * math.exp2((then - time.monotonic()) / FADING_SECONDS)

    def _learn_speed(self, checkpoint: Checkpoint, count: int, seconds: float) -> None:
        """Learn of a pass of `count` images."""
        known, image = self._speed(checkpoint), seconds / count
        if checkpoint not in self._speeds:
            image = 0.0  # the first pass warms up as well, and says too little
        elif known and image > known:  # a small pass says little: most of its time is what any pass takes
            image = known + (image - known) * count / BLOCK
        self._speeds[checkpoint] = image, time.monotonic()
        self._speeds.move_to_end(checkpoint)
        while len(self._speeds) > SPEEDS:
            self._speeds.popitem(last=False)


def _deliver(done: "asyncio.Future[Tensor]", part: Tensor | Exception) -> None:
    if done.done():
        return
    if isinstance(part, Exception):
        done.set_exception(part if isinstance(part, UsageError) else _failure(part))
    else:
        done.set_result(part)


def _failure(error: Exception) -> Exception:
    from equipoise.devices import is_out_of_memory

    if is_out_of_memory(error):
        return Refusal(503, "there is too little memory for these images: ask for fewer", 5)
    return error
