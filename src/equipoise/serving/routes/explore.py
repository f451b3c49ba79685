"""From pictures to latents, directions, and training images beside generated ones."""

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Query, UploadFile
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from torch import Tensor

from equipoise.runs.run import Run
from equipoise.serving.explore import (
    Explorer,
    TrainingImages,
    invert_picture,
    nearest_images,
    open_explorer,
    real_images,
    training_images,
)
from equipoise.serving.models import Checkpoint, chosen_labels, drawn, given_latents
from equipoise.serving.refusal import Refusal
from equipoise.serving.routes.images import Label, Latent, Weights, grid_png, in_base64, png
from equipoise.serving.routes.runs import PNG, as_json
from equipoise.serving.service import MAX_IMAGES, RunId, Served, Service
from equipoise.serving.uploads import read_picture

router = APIRouter(tags=["explore"])
MOST_REAL = 256  # images in a grid
At = Annotated[int | None, Query(ge=0, le=MAX_IMAGES, description="Images seen by the checkpoint")]


class Nearest(Weights):
    """The latent whose image is looked for among the training images."""

    latent: Latent
    label: Label | None = None


@router.get("/runs/{run_id}/directions")
async def directions(run_id: RunId, service: Served, at: At = None, best: bool = False, ema: bool = True) -> Response:
    """Directions in which images change most, the strongest first; found once for a checkpoint."""
    run, checkpoint = await service.checkpoint(run_id, at, best=best, ema=ema)
    return as_json({"directions": await service.directions(run, checkpoint)})


@router.post("/runs/{run_id}/invert")
async def invert(
    run_id: RunId,
    image: Annotated[UploadFile, File(description="PNG, JPEG or WebP")],
    service: Served,
    at: Annotated[int | None, Form(ge=0, le=MAX_IMAGES)] = None,
    best: Annotated[bool, Form()] = False,
    ema: Annotated[bool, Form()] = True,
) -> Response:
    """The latent of a picture; where D is an autoencoder also its reconstruction and the energy of every pixel."""
    run, checkpoint = await service.checkpoint(run_id, at, best=best, ema=ema)
    data, limits = await image.read(), service.settings.limits
    traits = await run_in_threadpool(service.catalogue.traits, run_id)
    if len(data) > limits.upload_bytes:
        raise Refusal(413, f"the picture has more than {limits.upload_bytes:,} bytes: send a smaller one")
    channels = traits[0].shape[0] if traits else 3
    picture = await run_in_threadpool(lambda: read_picture(data, run, channels, limits.upload_pixels))
    explorer = await _explorer(service, run, checkpoint)
    # Keyed by content: who was told to come again, as a search takes long, finds it done.
    key = ("inversion", checkpoint, hashlib.sha256(picture.numpy().tobytes()).hexdigest())
    answer = await service.explorer.result(key, lambda: invert_picture(explorer, picture))
    return await run_in_threadpool(lambda: as_json(_with_pictures(answer)))


@router.post("/runs/{run_id}/nearest")
async def nearest(run_id: RunId, asked: Nearest, service: Served) -> Response:
    """The training images nearest to a generated one, by the root mean square of the difference (black to white is 1).

    `usual_distance` is how near a new image usually lies to its nearest: a copy lies much nearer.
    """
    model = await service.model(run_id, asked.at, best=asked.best, ema=asked.ema)
    latents = given_latents(model.config, [asked.latent])
    labels = chosen_labels(asked.label, model.classes, drawn(model.config, 0, 0, 1)[1])
    picture = await service.images.images(model, latents, labels)
    training = await _training_images(service, run_id)
    found = await run_in_threadpool(lambda: nearest_images(picture, training))
    usual = training.usual_distance
    return await run_in_threadpool(
        lambda: as_json({"images": [_with_pictures(each) for each in found], "usual_distance": usual})
    )


@router.get("/runs/{run_id}/real.png", responses=PNG, response_class=Response)
async def real(
    run_id: RunId,
    service: Served,
    count: Annotated[int, Query(ge=1, le=MOST_REAL)] = 64,
    columns: Annotated[int | None, Query(ge=1, le=MOST_REAL)] = None,
) -> Response:
    """Training images in a grid."""
    run = await run_in_threadpool(service.catalogue.run, run_id)
    if run.config.toy:
        raise Refusal(400, "this run is on a toy, of points and not of images: its samples show them")
    images = await service.explorer.result(("real", run, count), lambda: real_images(run, count), _bytes)
    data = await run_in_threadpool(lambda: grid_png(images, columns))
    return Response(data, media_type="image/png")


async def _explorer(service: Service, run: Run, checkpoint: Checkpoint) -> Explorer:
    device = service.settings.device
    key = ("explorer", checkpoint)
    return await service.explorer.result(key, lambda: open_explorer(run, checkpoint, device), lambda found: found.size)


async def _training_images(service: Service, run_id: str) -> TrainingImages:
    run = await run_in_threadpool(service.catalogue.run, run_id)
    key = ("training images", run)  # not its folder, in which another run may begin
    return await service.explorer.result(key, lambda: training_images(run), lambda found: _bytes(found.pixels))


def _bytes(images: Tensor) -> int:
    return images.numel()


def _with_pictures(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: in_base64(png(value)) if isinstance(value, Tensor) else value for name, value in answer.items()}
