"""Every refusal of the API in one JSON form: {"error": {code, message, mend, problems}} with the right status.

What went wrong inside stays in the log, under an id that the caller is given to ask by.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.api.schemas import ErrorBody, ErrorOut, ProblemOut
from hub.errors import HubError
from hub.store.leadership import Deposed
from hub.store.store import OutcomeUnknown, StoreClosed, StoreUnavailable
from placement.kinds.fields import join

log = logging.getLogger("muster.hub.api")

_BY_STATUS: Mapping[int, tuple[str, str]] = {
    400: ("bad-request", "send what /v1/openapi.json describes"),
    404: ("no-such-path", "the API is described in /v1/openapi.json"),
    405: ("method-not-allowed", "see the header Allow"),
    413: ("too-large", 'split it up, or send many manifests as {"manifests": [...]}'),
    415: ("unsupported-content-type", "send the header Content-Type: application/yaml or application/json"),
    503: ("not-ready", "try again in a few seconds"),
}


def install(app: FastAPI) -> None:
    @app.exception_handler(HubError)
    async def _refused(request: Request, error: HubError) -> JSONResponse:
        headers = {"WWW-Authenticate": 'Bearer realm="muster"'} if error.http_status == 401 else {}
        return answer(error.http_status, describe(error), headers)

    @app.exception_handler(Deposed)
    @app.exception_handler(OutcomeUnknown)
    @app.exception_handler(StoreClosed)
    @app.exception_handler(StoreUnavailable)
    async def _not_now(request: Request, error: Exception) -> JSONResponse:
        return answer(503, describe(error), {"Retry-After": "2"})

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return answer(422, _of_fields(error))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        detail = str(error.detail)
        if error.status_code == 404:
            detail = f"there is no {request.url.path}"
        elif error.status_code == 405:
            detail = f"{request.url.path} does not take {request.method}"
        return answer(error.status_code, _of_status(error.status_code, detail), error.headers)

    app.add_middleware(_LastResort)


class _LastResort:
    """Whatever no handler took becomes a 500 here, and is logged once; the framework would raise it again."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception as error:
            if scope["type"] != "http" or started:
                raise
            await answer(500, describe(error))(scope, receive, send)


def describe(error: Exception) -> ErrorOut:
    """The JSON form of any exception; one that is nobody's fault outside is logged and answered by its id."""
    if isinstance(error, HubError):
        return ErrorOut(
            code=error.code, message=error.message, mend=error.mend or "", problems=_problems(error.problems)
        )
    if isinstance(error, HTTPException):
        return _of_status(error.status_code, str(error.detail))
    if isinstance(error, Deposed | OutcomeUnknown | StoreClosed | StoreUnavailable):
        return _of_status(503, str(error))
    incident = secrets.token_hex(6)
    log.error("internal error id=%s", incident, exc_info=error)
    return ErrorOut(
        code="internal",
        message=f"the hub failed to answer (id {incident})",
        mend=f"try again; if it stays, look for {incident} in the hub's log",
        id=incident,
    )


def answer(status: int, error: ErrorOut, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(ErrorBody(error=error).model_dump(mode="json"), status, headers=dict(headers or {}))


def _of_fields(error: RequestValidationError) -> ErrorOut:
    problems = [
        ProblemOut(path=reduce(join, found["loc"], ""), message=_sentence(found), mend=_mend(found))
        for found in error.errors()
    ]
    return ErrorOut(
        code="invalid-request",
        message=f"the request is not valid: {problems[0].path}: {problems[0].message}",
        mend=problems[0].mend or "mend what `problems` names",
        problems=problems,
    )


def _of_status(status: int, detail: str) -> ErrorOut:
    code, mend = _BY_STATUS.get(status, (f"http-{status}", "see /v1/openapi.json"))
    return ErrorOut(code=code, message=detail, mend=mend)


def _problems(problems: Iterable[Any]) -> list[ProblemOut]:
    return [ProblemOut(document=p.document, path=p.path, message=p.message, mend=p.mend or "") for p in problems]


def _sentence(found: Mapping[str, Any]) -> str:
    return "this field is not known" if found["type"] == "extra_forbidden" else str(found["msg"])


def _mend(found: Mapping[str, Any]) -> str:
    match found["type"]:
        case "extra_forbidden":
            return "leave it out, or mend its spelling"
        case "missing":
            return "give it"
        case "json_invalid":
            return "send JSON"
        case _:
            return ""
