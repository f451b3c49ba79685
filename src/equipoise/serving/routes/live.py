"""Streams of server-sent events, read from the files of runs."""

from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from equipoise.serving.following import Follower, Place, place_now
from equipoise.serving.routes.runs import Responses
from equipoise.serving.service import MAX_IMAGES, RunId, Served
from equipoise.serving.watcher import Client, stream

router = APIRouter(tags=["live"])
MOST_RUNS = 8  # whose files one stream follows
STREAM: Responses = {200: {"content": {"text/event-stream": {}}, "description": "Events, as they come"}}


@router.get("/runs/{run_id}/events", responses=STREAM, response_class=StreamingResponse)
async def events(
    run_id: RunId,
    service: Served,
    since: Annotated[int | None, Query(ge=0, le=MAX_IMAGES, description="Images seen: rows after them")] = None,
    last_event_id: Annotated[str | None, Query(max_length=80, description="As the header Last-Event-ID")] = None,
    last_event: Annotated[str | None, Header(alias="last-event-id", max_length=80)] = None,
) -> StreamingResponse:
    """One run: `metrics` (a row), `health` (a finding or note), `sample` {images}, `status` (as in GET /runs).

    Also `rewound`, after which rows have to be read again, and `gone`, the last one. An event's id is the place from
    which the stream goes on after a broken connection; without one, nor `since`, it begins with what is written from
    now on.
    """
    place = Place.parse(last_event or last_event_id or "")

    def follow() -> Follower:
        folder = service.catalogue.entry(run_id).folder
        begin = place or (place_now(folder) if since is None else Place(samples=since))
        return Follower(folder, begin, -1 if since is None else since)

    return _streamed(service, service.watcher.join(run_id, {run_id: await run_in_threadpool(follow)}))


@router.get("/live", responses=STREAM, response_class=StreamingResponse)
async def live(
    service: Served,
    runs: Annotated[tuple[str, ...], Query(max_length=MOST_RUNS, description="Those to follow the files of")] = (),
    last_event_id: Annotated[str | None, Query(max_length=1000, description="As the header Last-Event-ID")] = None,
    last_event: Annotated[str | None, Header(alias="last-event-id", max_length=1000)] = None,
) -> StreamingResponse:
    """All runs: `status` of each at first and whenever it changes, `new-run` {id, newest}, `newest` {id}, `gone` {id}.

    First of all `runs` {ids}: those there are. Others have gone since the list was read, or while a connection was
    broken. With `runs`, also what the streams of these have, by names such as `ID/metrics`: one connection for all.
    An event's id then has the place in each, as `ID:PLACE,ID:PLACE`.
    """
    places = dict(part.split(":", 1) for part in (last_event or last_event_id or "").split(",") if ":" in part)

    def follow() -> dict[str, Follower]:
        entries = service.catalogue.entries()
        folders = {run_id: entries[run_id].folder for run_id in runs if run_id in entries}  # others may have gone
        return {
            run_id: Follower(folder, Place.parse(places.get(run_id, "")) or place_now(folder))
            for run_id, folder in folders.items()
        }

    return _streamed(service, service.watcher.join(None, await run_in_threadpool(follow)))


def _streamed(service: Served, client: Client) -> StreamingResponse:
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream(service.watcher, client), media_type="text/event-stream", headers=headers)
