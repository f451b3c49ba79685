"""Trainings in the plane, step by step."""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from equipoise.data import TOYS
from equipoise.serving.routes.runs import as_json
from equipoise.serving.service import Served
from equipoise.serving.toys import OBJECTIVES

router = APIRouter(tags=["toys"])
MOST_STEPS = 200
SessionId = Annotated[str, Path(pattern="^[0-9a-f]{16}$")]


class NewToy(BaseModel):
    """What is to be trained on what."""

    model_config = ConfigDict(extra="forbid")
    objective: Annotated[str, Field(max_length=64)] = "began"
    data: Annotated[str, Field(max_length=64)] = "ring8"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    lr: Annotated[float | None, Field(ge=1e-6, le=1)] = None


class Steps(BaseModel):
    """How far to go."""

    model_config = ConfigDict(extra="forbid")
    steps: Annotated[int, Field(ge=1, le=MOST_STEPS)] = 10


@router.get("/toys")
async def choices(service: Served) -> dict[str, Any]:
    """What there is to choose from."""
    sessions = service.settings.limits.toys
    return {"objectives": list(OBJECTIVES), "data": list(TOYS), "steps": MOST_STEPS, "sessions": sessions}


@router.post("/toys")
async def begin(asked: NewToy, service: Served) -> Response:
    """Begin a training; it ends when nobody takes a step of it for ten minutes, or half of one if room is short."""
    return as_json(await service.toys.begin(asked.objective, asked.data, asked.seed, asked.lr))


@router.post("/toys/{session_id}/step")
async def step(session_id: SessionId, asked: Steps, service: Served) -> Response:
    """Take steps, and see where they led: fewer where they take longer than a second.

    Row 0 of the landscape is that of the lowest y; its extent is [x0, x1, y0, y1].
    """
    return as_json(await service.toys.step(session_id, asked.steps))


@router.delete("/toys/{session_id}", status_code=204, response_class=Response)
async def end(session_id: SessionId, service: Served) -> None:
    """End a training."""
    service.toys.end(session_id)
