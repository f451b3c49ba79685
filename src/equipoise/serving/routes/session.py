"""Logging in, where a token is needed."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from equipoise.serving.guard import cookie_name, cookie_value, is_let_in, same
from equipoise.serving.refusal import Refusal
from equipoise.serving.service import Served

router = APIRouter(tags=["session"])


class Login(BaseModel):
    """What a login sends."""

    token: Annotated[str, Field(max_length=512)]


class Session(BaseModel):
    """Whether a token is needed, and was given."""

    token_required: bool
    logged_in: bool


@router.post("/login")
async def login(service: Served, asked: Login, request: Request, response: Response) -> Session:
    """Exchange the token for a cookie, which scripts cannot read and other sites do not send."""
    token = service.settings.token
    if token is not None:
        if not same(asked.token, token):
            wait = service.logins.take()
            if wait > 0:
                raise Refusal(429, "too many logins have failed: wait", wait)
            raise Refusal(401, "that is not the token: the server printed it when it started")
        name, secure = cookie_name(request.headers), request.url.scheme == "https"
        response.set_cookie(name, cookie_value(token), httponly=True, samesite="strict", secure=secure)
    return Session(token_required=token is not None, logged_in=True)


@router.get("/session")
async def session(service: Served, request: Request) -> Session:
    """Whether a token is needed, and this client has given it."""
    token = service.settings.token
    return Session(token_required=token is not None, logged_in=is_let_in(request.headers, token))
