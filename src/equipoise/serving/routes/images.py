"""Images of a run's generator: from a seed, latents by hand, or on the way between two."""

import base64
import io
from typing import Annotated, Literal

import torch
from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from torch import Tensor

from equipoise.errors import UsageError, counted
from equipoise.latents.edits import MOST_VALUE, edit
from equipoise.latents.paths import path
from equipoise.serving.explore import DIRECTIONS
from equipoise.serving.models import Model, chosen_labels, drawn, given_latents
from equipoise.serving.routes.runs import PNG, as_json
from equipoise.serving.service import MAX_IMAGES, RunId, Served
from equipoise.views.figures import grid

router = APIRouter(tags=["images"])

MOST_IMAGES, MOST_LATENT, MOST_LABEL = 64, 4096, 2**31
Number = Annotated[float, Field(ge=-MOST_VALUE, le=MOST_VALUE, allow_inf_nan=False)]
Latent = Annotated[list[Number], Field(min_length=1, max_length=MOST_LATENT)]
Label = Annotated[int, Field(ge=0, le=MOST_LABEL)]
At = Annotated[int | None, Field(ge=0, le=MAX_IMAGES, description="Images seen by the checkpoint; the newest if null")]


class Weights(BaseModel):
    """Which weights are asked."""

    model_config = ConfigDict(extra="forbid")
    at: At = None
    best: Annotated[bool, Field(description="The checkpoint that is kept for its score")] = False
    ema: Annotated[bool, Field(description="The average of the weights, not the weights themselves")] = True


class Move(BaseModel):
    """How far along which of a run's directions."""

    model_config = ConfigDict(extra="forbid")
    index: Annotated[int, Field(ge=0, lt=DIRECTIONS)]
    amount: Number


class Generate(Weights):
    """What images are to be made."""

    count: Annotated[int | None, Field(ge=1, le=MOST_IMAGES, description="16, or as many as latents")] = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    latents: Annotated[list[Latent] | None, Field(min_length=1, max_length=MOST_IMAGES)] = None
    labels: Label | Annotated[list[Label], Field(min_length=1, max_length=MOST_IMAGES)] | None = None
    truncate: Annotated[float, Field(ge=0, le=1)] = 1.0
    values: Annotated[dict[int, Number], Field(max_length=MOST_LATENT)] = {}
    direction: Annotated[Move | None, Field(description="By which all latents are moved, as GET directions has it")] = (
        None
    )
    format: Literal["png", "json"] = "png"
    columns: Annotated[int | None, Field(ge=1, le=MOST_IMAGES, description="Of the grid; near-square if null")] = None


class Interpolate(Weights):
    """Two latents to go between."""

    a: Latent
    b: Latent
    steps: Annotated[int, Field(ge=2, le=MOST_IMAGES)] = 16
    first: Annotated[int, Field(ge=0, lt=MOST_IMAGES, description="Of the steps, where to begin")] = 0
    count: Annotated[int | None, Field(ge=1, le=MOST_IMAGES, description="Of the steps, how many; all if null")] = None
    label: Label | None = None


@router.post("/runs/{run_id}/generate", responses=PNG)
async def generate(run_id: RunId, asked: Generate, service: Served) -> Response:
    """Make images of drawn or given latents: one PNG (an image, or a grid), or JSON with each and its latent.

    The same seed gives the images of `equipoise sample --seed`, but for what rounding changes in passes of other sizes.
    """
    model = await service.model(run_id, asked.at, best=asked.best, ema=asked.ema)
    latents, labels = _latents(asked, model)
    if asked.direction is not None:
        run, checkpoint = await service.checkpoint(run_id, asked.at, best=asked.best, ema=asked.ema)
        found = await service.directions(run, checkpoint)
        if asked.direction.index >= len(found):
            raise UsageError(f"this run has directions 0 to {len(found) - 1}, not {asked.direction.index}")
        latents = latents + asked.direction.amount * torch.tensor(found[asked.direction.index]["vector"])
        latents = latents.clamp(-1, 1) if model.config.prior == "uniform" else latents
    images = await service.images.images(model, latents, labels)
    if asked.format == "json":
        return await run_in_threadpool(lambda: pictures_json(images, latents, labels, model))
    return Response(await run_in_threadpool(lambda: grid_png(images, asked.columns)), media_type="image/png")


@router.post("/runs/{run_id}/interpolate")
async def interpolate(run_id: RunId, asked: Interpolate, service: Served) -> Response:
    """Images on the way from one latent to another, along a great circle where latents are normal."""
    model = await service.model(run_id, asked.at, best=asked.best, ema=asked.ema)
    ends = given_latents(model.config, [asked.a, asked.b])
    if asked.first >= asked.steps:
        raise UsageError(f"{counted(asked.steps, 'step')}, from 0 on: give a smaller first, not {asked.first}")
    latents = path(ends, asked.steps, spherical=model.config.prior == "normal")[0][asked.first :][: asked.count]
    labels = chosen_labels(asked.label, model.classes, torch.zeros(len(latents), dtype=torch.int64))
    images = await service.images.images(model, latents, labels)
    return await run_in_threadpool(lambda: pictures_json(images, latents, labels, model))


def _latents(asked: Generate, model: Model) -> tuple[Tensor, Tensor]:
    """Latents (N, latent) and classes (N,) of a request.

    Raises:
        UsageError: they do not fit the run.
    """
    config = model.config
    count = asked.count or (16 if asked.latents is None else len(asked.latents))
    z, labels = drawn(config, model.classes, asked.seed, count)
    if asked.latents is not None:
        if len(asked.latents) != count:
            raise UsageError(f"{counted(len(asked.latents), 'latent')} and a count of {count}: leave the count out")
        z = given_latents(config, asked.latents)
    z = edit(z, config.prior, values=asked.values, truncate=asked.truncate)
    if asked.labels is not None and not model.classes:
        raise UsageError("the run makes images of no class: leave the labels out")
    return z, chosen_labels(asked.labels, model.classes, labels)


def png(image: Tensor) -> bytes:
    """A picture (C, H, W) uint8 as PNG, a pixel for a pixel."""
    return grid_png(image[None], 1)


def grid_png(images: Tensor, columns: int | None) -> bytes:
    """Pictures (N, C, H, W) uint8 in a grid as PNG, a pixel for a pixel."""
    data = io.BytesIO()
    grid(images, columns=columns, scale=1).save(data, "PNG")
    return data.getvalue()


def in_base64(data: bytes) -> str:
    """Bytes as text."""
    return base64.b64encode(data).decode()


def pictures_json(images: Tensor, latents: Tensor, labels: Tensor, model: Model) -> Response:
    """Pictures with their latents."""
    return as_json(
        {
            "images": [in_base64(png(image)) for image in images],
            "latents": latents.tolist(),
            "labels": labels.tolist() if model.classes else None,
            "at": model.checkpoint.at,
        }
    )
