"""Runs that are started from the page, where the server was started with --allow-train."""

from typing import Annotated, Any, Self

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from equipoise.serving.catalogue import id_of
from equipoise.serving.refusal import Refusal
from equipoise.serving.service import Served
from equipoise.serving.trainings import LARGEST

router = APIRouter(tags=["train"])


class Train(BaseModel):
    """What is to be trained, and how long."""

    model_config = ConfigDict(extra="forbid")
    data: Annotated[str, Field(max_length=255)]
    objective: Annotated[str, Field(max_length=64)] = "began"
    minutes: Annotated[float | None, Field(gt=0)] = None
    images: Annotated[int | None, Field(ge=1)] = None
    resolution: Annotated[int | None, Field(ge=8, le=LARGEST)] = None

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.minutes is None) == (self.images is None):
            raise ValueError("give either minutes or images")
        return self


class Started(BaseModel):
    """The run that was started, which shows up in the list once its data are read."""

    id: str


@router.get("/train")
def choices(service: Served) -> dict[str, Any]:
    """What may be trained, the limits, whether a training runs, and why the last failed."""
    return service.trainings.choices()


@router.post("/train", status_code=202)
def train(asked: Train, service: Served) -> Started:
    """Start a run, one at a time; all that is not said here is chosen from the data.

    That it failed, GET /train tells in a sentence.
    """
    limits = service.settings.limits
    service.trainings.choices()  # refuses where it is not allowed at all
    if (asked.minutes or 0) > limits.train_minutes or (asked.images or 0) > limits.train_images:
        most = f"{limits.train_minutes:g} minutes and {limits.train_images:,} images"
        raise Refusal(422, f"at most {most} are trained from here: ask for less")
    length = {"minutes": asked.minutes} if asked.minutes is not None else {"images": asked.images or 0}
    folder = service.trainings.start(asked.data, asked.objective, length, asked.resolution)
    return Started(id=id_of(folder))


@router.delete("/train", status_code=204, response_class=Response)
def stop(service: Served) -> None:
    """Let the training that was started here write its checkpoint and end: `equipoise resume` goes on with it."""
    service.trainings.stop()
