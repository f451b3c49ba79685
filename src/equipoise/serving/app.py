"""The application: routes, the page, and every error in one sentence."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from fastapi.security import HTTPBearer
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.routing import Match, Mount

from equipoise.errors import MOST_SHOWN, UsageError, one_line
from equipoise.serving.refusal import Refusal
from equipoise.serving.routes import explore, images, live, runs, session, toys, train
from equipoise.serving.routes.runs import Responses
from equipoise.serving.service import Served, Service
from equipoise.serving.settings import Settings

PAGE = Path(__file__).parent / "page"
API = "/api/v1"
KNOWN = {404: "there is nothing at this address", 405: "this address takes other methods"}


def make_app(settings: Settings) -> FastAPI:
    """The application of one server, whose parts are in `app.state.service`; a Guard has to stand before it.

    Raises:
        UsageError: a folder of runs is not there.
    """
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="equipoise",
        version=version("equipoise"),
        description="Runs watched live, and what they have learnt explored.",
        lifespan=lifespan,
        docs_url=None,  # these load scripts from elsewhere
        redoc_url=None,
    )
    app.state.service = service
    # The Guard asks for the token: here it is for the description alone.
    protected = [] if settings.token is None else [Security(HTTPBearer(auto_error=False))]
    for module in (runs, live, images, explore, toys, train):
        app.include_router(module.router, prefix=API, responses=ERRORS, dependencies=protected)
    app.include_router(session.router, prefix=API, responses=ERRORS)
    _add_handlers(app)
    _add_signs_of_life(app)
    app.mount("/", StaticFiles(directory=PAGE, html=True, check_dir=False), name="page")
    return app


ERRORS: Responses = {
    status: {
        "description": meaning,
        "content": {"application/json": {"schema": {"type": "object", "properties": {"error": {"type": "string"}}}}},
    }
    for status, meaning in {
        400: "It cannot work, and why",
        401: "A token is needed",
        403: "It is not allowed here",
        404: "There is no such thing",
        408: "It came too slowly",
        409: "It does not go with what is already so",
        413: "It is too large, or too much at once: then `most` says how many images are not",
        415: "It is of another kind",
        422: "A value is missing, or out of range",
        429: "Too many requests",
        503: "Busy: try again after Retry-After seconds",
    }.items()
}


def _add_handlers(app: FastAPI) -> None:
    @app.exception_handler(Refusal)
    async def refused(_: Request, refusal: Refusal) -> JSONResponse:
        return refusal.response()

    @app.exception_handler(UsageError)
    async def unusable(_: Request, error: UsageError) -> JSONResponse:
        return Refusal(400, str(error)).response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return Refusal(422, one_line(f"the body is no JSON: {first['ctx']['error']}", MOST_SHOWN)).response()
        if first["loc"] == ("body",) and first["type"] != "value_error":  # that of fields which do not go together
            return _unfit_body(first).response()
        # Besides fields, `loc` names alternatives of a union, such as `constrained-int`, which mean nothing to anybody.
        place = ".".join(part for part in map(str, first["loc"][1:]) if "-" not in part)
        problem = str(first["msg"]).removeprefix("Value error, ")
        return Refusal(422, one_line(f"{place}: {problem}" if place else problem, MOST_SHOWN)).response()

    @app.exception_handler(HTTPException)
    async def known(request: Request, error: HTTPException) -> JSONResponse:
        status, headers = error.status_code, error.headers or {}
        if status in KNOWN and request.url.path.startswith(API):
            # What no route takes comes to the page's files, which know nothing of addresses that take another method.
            methods = _methods_taken(app, request)
            status, headers = (405, {"Allow": ", ".join(methods)}) if methods else (404, {})
        response = Refusal(status, KNOWN.get(status, str(error.detail))).response()
        response.headers.update(headers)
        return response

    @app.exception_handler(Exception)
    async def unknown(_: Request, error: Exception) -> JSONResponse:
        return Refusal(500, f"the server failed ({type(error).__name__}): see what it printed").response()


def _methods_taken(app: FastAPI, request: Request) -> list[str]:
    """By which methods the address of a request is one of the API."""
    routes = [route for route in app.routes if not isinstance(route, Mount)]
    scopes = {method: {**request.scope, "method": method} for method in ("GET", "POST")}
    return [
        method for method, scope in scopes.items() if any(route.matches(scope)[0] == Match.FULL for route in routes)
    ]


def _unfit_body(error: dict[str, Any]) -> Refusal:
    """The refusal of a body that holds no fields at all."""
    if error["type"] == "missing":
        return Refusal(422, "the body is empty: send JSON")
    if isinstance(error["input"], bytes):  # which nobody said is JSON
        return Refusal(415, "the body is not said to be JSON: send it with Content-Type: application/json")
    return Refusal(422, 'the body is no JSON object: send one, such as {"count": 1}')


def _add_signs_of_life(app: FastAPI) -> None:
    @app.get("/healthz", tags=["server"])
    async def healthz() -> dict[str, str]:
        """Whether the server answers."""
        return {"status": "ok"}

    @app.get("/metrics", tags=["server"], response_class=PlainTextResponse)
    def metrics(service: Served) -> Response:
        """The server's own figures, in Prometheus' text format."""
        return Response(service.telemetry.text(), media_type=CONTENT_TYPE_LATEST)
