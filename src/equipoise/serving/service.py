"""What all routes of one server share."""

from functools import partial
from typing import Annotated, Any

from fastapi import Depends, Path, Request
from starlette.concurrency import run_in_threadpool

from equipoise.runs.run import Run
from equipoise.serving.background import Background
from equipoise.serving.catalogue import ID_DIGITS, Catalogue
from equipoise.serving.explore import strongest_directions
from equipoise.serving.guard import Bucket
from equipoise.serving.image_queue import ImageQueue
from equipoise.serving.models import Checkpoint, Model, find_checkpoint, open_model
from equipoise.serving.settings import Settings
from equipoise.serving.telemetry import Telemetry
from equipoise.serving.toys import ToySessions
from equipoise.serving.trainings import Trainings
from equipoise.serving.watcher import Watcher


class Service:
    """The parts of one server.

    Attributes:
        settings: what it was told.
        telemetry: what it says of itself.
        catalogue: the runs.
        watcher: of their files.
        loading: generators from checkpoints.
        images: the queue before the generators.
        explorer: slower work: players, encoders, directions, what lies near.
        toys: trainings in the plane.
        trainings: runs that are started here.
        logins: how often a login may fail.
    """

    def __init__(self, settings: Settings) -> None:
        limits = settings.limits
        self.settings, self.telemetry = settings, Telemetry()
        self.catalogue = Catalogue(settings.paths)
        self.watcher = Watcher(self.catalogue, limits)
        self.images = ImageQueue(limits, batched=settings.batched)
        background = partial(Background, seconds=limits.answer_seconds, waiting=limits.background)
        self.loading = background("the checkpoint", kept=limits.models, kept_bytes=limits.model_bytes)
        self.explorer = background("the answer", kept=limits.results, kept_bytes=limits.result_bytes)
        self.toys, self.trainings = ToySessions(limits), Trainings(settings)
        self.logins = Bucket(limits.logins_per_minute / 60, limits.logins_per_minute)
        for name, meaning, read in (
            ("images_made", "Images made since the start", lambda: self.images.images_made),
            ("image_passes", "Passes of generators in which they were made", lambda: self.images.passes),
            ("image_queue", "Requests that wait for images", lambda: len(self.images)),
            ("models", "Generators in memory", lambda: self.loading.held),
            ("background_unfinished", "Pieces of slow work that wait", lambda: self.explorer.unfinished),
            ("toys", "Trainings in the plane", lambda: len(self.toys)),
            ("watchers", "Open streams of events", lambda: self.watcher.count),
            ("runs", "Runs in the folders served", lambda: len(self.catalogue.entries())),
        ):
            self.telemetry.gauge(name, meaning, read)

    async def checkpoint(self, run_id: str, at: int | None, *, best: bool, ema: bool) -> tuple[Run, Checkpoint]:
        """A run, and which of its checkpoints is meant: found in a thread, as a shared folder may take its time.

        Raises:
            Refusal: there is none.
        """

        def find() -> tuple[Run, Checkpoint]:
            run = self.catalogue.run(run_id)
            return run, find_checkpoint(run, at, best=best, ema=ema)

        return await run_in_threadpool(find)

    async def model(self, run_id: str, at: int | None, *, best: bool, ema: bool) -> Model:
        """The generator of a checkpoint.

        Raises:
            Refusal: there is none, or it is not loaded in time.
            UsageError: it cannot be loaded.
        """
        run, checkpoint = await self.checkpoint(run_id, at, best=best, ema=ema)
        device = self.settings.device
        return await self.loading.result(checkpoint, lambda: open_model(run, checkpoint, device), lambda got: got.size)

    async def directions(self, run: Run, checkpoint: Checkpoint) -> list[dict[str, Any]]:
        """Directions of a checkpoint, the strongest first; found once.

        Raises:
            Refusal: they are not found in time.
        """
        work = partial(strongest_directions, run, checkpoint, self.settings.device)
        return await self.explorer.result(("directions", checkpoint), work)

    def end_streams(self) -> None:
        """Let everybody who watches go, so that the server can end."""
        self.watcher.close()

    def close(self) -> None:
        """End the threads."""
        self.watcher.close()
        self.loading.close()
        self.explorer.close()
        self.toys.close()
        self.trainings.close()
        self.images.close()


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Served = Annotated[Service, Depends(_service)]
"""The server's parts, in a route."""
RunId = Annotated[str, Path(pattern=f"^[0-9a-f]{{{ID_DIGITS}}}$", description="Id of the run, as GET /runs has it")]
"""A run's id, in a route."""
MAX_IMAGES = 2**53
Images = Annotated[int, Path(ge=0, le=MAX_IMAGES, description="Images seen")]
"""Images seen, in a route."""
