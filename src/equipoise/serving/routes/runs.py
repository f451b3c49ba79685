"""Runs: how they are, their metrics and samples, what is different between two."""

import math
import re
import shlex
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.responses import Response

from equipoise.errors import UsageError, reason
from equipoise.reading import read_bytes
from equipoise.runs import jsonl
from equipoise.runs.comparison import compare_runs
from equipoise.runs.files import to_json
from equipoise.runs.numbered import images_of, numbered_name
from equipoise.runs.run import GRID, Run
from equipoise.serving.following import place_now
from equipoise.serving.refusal import Refusal
from equipoise.serving.service import MAX_IMAGES, Images, RunId, Served
from equipoise.views.labels import FAKE, PANELS, REAL, Measure

router = APIRouter(tags=["runs"])
Responses = dict[int | str, dict[str, Any]]
"""What a route may answer, for the description of the API."""
MOST_PICTURE = 2**26  # bytes of a sample grid
MOST_POINTS = 20_000
PNG: Responses = {200: {"content": {"image/png": {}}, "description": "A picture"}}


def as_json(value: Any) -> Response:
    """`value` as JSON in which NaN and infinities are null."""
    return Response(to_json(value), media_type="application/json")


@router.get("/measures")
def measures() -> dict[str, Any]:
    """How measures are called and shown: panels of lines, by the names that they have in metrics."""

    def line(name: str, measure: Measure) -> dict[str, str]:
        label = re.sub(r"<[^>]+>", "", measure.label)  # which a report has as HTML
        return {"name": name, "symbol": measure.symbol, "label": label, "note": measure.note}

    return {
        "panels": [
            {
                "title": panel.title,
                "unit": _without_mathtext(panel.unit),
                "limits": panel.limits,
                "ideal": panel.ideal,
                "steps": panel.steps,
                "lines": [line(name, measure) for name, measure in panel.lines.items()],
            }
            for panel in PANELS
        ]
    }


@router.get("/runs")
def list_all(service: Served) -> Response:
    """All runs, how they are, and which is the newest."""
    statuses, roots = service.catalogue.statuses(), service.settings.paths
    return as_json(
        {
            "root": shlex.quote(str(roots[0])),
            "newest": service.catalogue.newest(statuses),
            "can_train": service.settings.allow_train,
            "runs": statuses,
        }
    )


@router.get("/runs/{run_id}")
def details(run_id: RunId, service: Served) -> Response:
    """One run: how it is, its configuration, checkpoints and samples."""
    status, run = service.catalogue.status(run_id), service.catalogue.run(run_id)
    traits, best = service.catalogue.traits(run_id), run.best_checkpoint()
    classes = status["classes"]
    return as_json(
        {
            **status,
            "config": run.config.to_dict(),
            "images_shape": list(traits[0].shape) if traits else None,
            "latent": run.config.network.latent,
            "prior": run.config.prior,
            "has_ema": run.config.ema > 0,
            "label_names": [str(number) for number in range(classes)],
            "checkpoints": [images_of(path) for path in run.checkpoints()],
            "best": images_of(best) if best else None,
            "samples": [images_of(path) for path in run.samples()],
            "latest": _latest(run),
            "scores": _scores(run),
        }
    )


@router.get("/runs/{run_id}/metrics")
def metrics(
    run_id: RunId,
    service: Served,
    since: Annotated[int, Query(ge=0, le=MAX_IMAGES, description="Images seen, from which on")] = 0,
    points: Annotated[int, Query(ge=2, le=MOST_POINTS, description="Rows at most; more are averaged")] = 2_000,
) -> Response:
    """The rows of a run's metrics by column, thinned to a number of points; null where a row lacks a measure.

    `place` is where the stream of events goes on after them.
    """
    run = service.catalogue.run(run_id)
    place = place_now(run.path)
    rows = [row for row in run.rows() if row["images"] >= since]
    merged: dict[int, dict[str, float]] = {}  # rows of one number of images are one: measures and scores come apart
    for row in rows:
        merged.setdefault(row["images"], {}).update(row)
    columns = _thinned(sorted(merged.values(), key=lambda row: row["images"]), points)
    return as_json({"columns": columns, "total_rows": len(rows), "place": str(place)})


def _without_mathtext(text: str) -> str:
    return text.replace(FAKE, "ℒ(G(z))").replace(REAL, "ℒ(x)")


def _thinned(rows: list[dict[str, float]], points: int) -> dict[str, list[float | None]]:
    """Columns of rows, in each group of which a measure is averaged; images are those of the group's last row."""
    size = math.ceil(len(rows) / points) or 1
    groups = [rows[start : start + size] for start in range(0, len(rows), size)]
    names = dict.fromkeys(name for row in rows for name in row if name != "images")
    columns: dict[str, list[float | None]] = {"images": [group[-1]["images"] for group in groups]}
    for name in names:
        found = [[row[name] for row in group if name in row] for group in groups]
        columns[name] = [sum(values) / len(values) if values else None for values in found]
    return columns


@router.get("/runs/{run_id}/history")
def history(run_id: RunId, service: Served) -> Response:
    """What happened in words, the latest 500 events: {images, level, kind, message}."""
    return as_json({"events": service.catalogue.run(run_id).rows("events.jsonl")[-500:]})


@router.get("/runs/{run_id}/samples/{images}.png", responses=PNG, response_class=Response)
def sample_grid(
    run_id: RunId, images: Images, service: Served, if_none_match: Annotated[str, Header()] = ""
) -> Response:
    """The run's own grid of samples after so many images."""
    path = service.catalogue.run(run_id).path / "samples" / numbered_name(images, GRID)
    try:
        stat = path.stat()
        # Whoever has it asks again each time: a run that went back, or another one in its folder, writes another.
        headers = {"Cache-Control": "private, no-cache", "ETag": f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'}
        if headers["ETag"] in if_none_match:
            return Response(status_code=304, headers=headers)
        data = read_bytes(path, MOST_PICTURE)
    except OSError as error:
        raise Refusal(404, f"there are no samples after {images:,} images ({reason(error)})") from error
    return Response(data, media_type="image/png", headers=headers)


@router.get("/runs/{run_id}/difference/{other}")
def difference(run_id: RunId, other: RunId, service: Served) -> Response:
    """The settings in which two runs differ, and their scores."""
    comparison = compare_runs(service.catalogue.run(run_id), service.catalogue.run(other))
    return as_json(
        {"config": _pairs(comparison.settings), "scores": _pairs(comparison.scores), "note": comparison.note}
    )


def _pairs(pairs: Mapping[str, tuple[Any, Any]]) -> list[dict[str, Any]]:
    return [{"name": name, "a": a, "b": b} for name, (a, b) in pairs.items()]


def _latest(run: Run) -> dict[str, float]:
    """The latest value of each measure in the last rows."""
    return {name: value for row in jsonl.read_end(run.path / "metrics.jsonl") for name, value in row.items()}


def _scores(run: Run) -> dict[str, Any]:
    """The last KID, the best, and the sentence at the end."""
    try:
        kids = [(row["kid"], row["images"]) for row in run.rows() if "kid" in row]
        return {
            "kid": kids[-1][0] if kids else None,
            "best_kid": min(kids)[0] if kids else None,
            "best_kid_images": min(kids)[1] if kids else None,
            "closing": run.closing_score(),
        }
    except UsageError:
        return {}
