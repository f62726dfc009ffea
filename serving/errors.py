"""Every failure becomes the one error body; a fault inside shows no exception text."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diplophrase.errors import Detail, DiplophraseError, InvalidRequest
from serving.jobs.kinds import KINDS

log = logging.getLogger("diplophrase.serving")

MOST_DETAILS = 1_000  # faults that one answer lists
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_SHOWN = 100  # characters of a field's name

# pydantic's fault type -> the rule in our words; others keep pydantic's own sentence
_RULES = {
    "extra_forbidden": "this field is not known; see /docs for those there are",
    "missing": "this field is required",
    "string_type": "must be a string",
    "list_type": "must be a list",
    "bool_type": "must be true or false",
    "model_attributes_type": "must be a JSON object",
    "dict_type": "must be a JSON object",
    "string_unicode": "must be Unicode text, without half of a surrogate pair",
}

# what Python's reader of JSON raises besides its own error -> what is wrong with the body
_UNREADABLE: dict[type[object], str] = {
    RecursionError: "it is nested too deeply",
    UnicodeDecodeError: "it is not UTF-8",
    ValueError: "a number in it has too many digits",
}


def install_errors(app: FastAPI) -> None:
    """Give `app` handlers that answer every failure with the error body."""
    app.add_exception_handler(DiplophraseError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _internal)


def respond(error: DiplophraseError) -> JSONResponse:
    """Return the error body with the status of its kind."""
    headers = {"Retry-After": "1"} if error.kind == "overloaded" else None
    return JSONResponse(error.body(), status_code=error.status, headers=headers)


async def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DiplophraseError)
    return respond(error)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    faults = error.errors()
    if any(fault["type"] == "json_invalid" for fault in faults):
        where = faults[0]["loc"][-1]
        reason = faults[0].get("ctx", {}).get("error", "not JSON")
        return respond(_not_json(f"at character {where}: {reason}"))
    details = [_detail(fault) for fault in faults[:MOST_DETAILS]]
    named = "; ".join(f"{_place(detail)}: {detail.rule}" for detail in details[:5])
    more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
    return respond(InvalidRequest(f"The request cannot be read: {named}{more}.", details=details))


def _not_json(reason: str) -> InvalidRequest:
    return InvalidRequest(
        f"The body is not JSON ({reason}). Send a JSON object.", kind="invalid_json"
    )


def _place(detail: Detail) -> str:
    return detail.field if detail.index is None else f"{detail.field}[{detail.index}]"


def _detail(fault: dict[str, Any]) -> Detail:
    path = [part for part in fault["loc"] if part != "body"]
    if path and path[0] in KINDS and (len(path) > 1 or fault["type"] != "extra_forbidden"):
        del path[0]  # which kind of job it is; no field of the request
    index = next((part for part in path if isinstance(part, int)), None)
    field = ".".join(part for part in path if isinstance(part, str))[:_SHOWN] or "body"
    rule = _RULES.get(fault["type"], fault["msg"])
    if fault["type"] == "too_short":
        rule = f"must hold {fault['ctx']['min_length']} item or more"
    if fault["type"] == "too_long":
        rule = f"must hold {fault['ctx']['max_length']} items at most"
    if isinstance(fault.get("input"), bytes):
        rule = "must be a JSON object, sent with the header 'Content-Type: application/json'"
    if fault["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return _unknown_kind(fault)
    found = "nothing" if fault["type"] == "missing" else _found(fault.get("input"))
    return Detail(field, found, rule, index)


def _unknown_kind(fault: dict[str, Any]) -> Detail:
    if fault["type"] == "union_tag_not_found":
        return Detail("kind", "nothing", _RULES["missing"])
    rule = f"must be {fault['ctx']['expected_tags'].replace(', ', ' or ')}"
    return Detail("kind", _found(fault["ctx"]["tag"]), rule)


def _found(value: object) -> str:
    """Describe a wrong value by type and size; a text itself is never repeated."""
    if isinstance(value, str):
        return f"a string of {len(value)} characters"
    if isinstance(value, list | dict):
        return f"a {'list' if isinstance(value, list) else 'JSON object'} of {len(value)}"
    if isinstance(value, bytes):
        return f"a body of {len(value)} bytes that is not said to be JSON"
    return repr(value)[:40]


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, DiplophraseError):  # raised while the body was read
        return respond(error.__cause__)
    if isinstance(error.__cause__, ClientDisconnect):
        return respond(DiplophraseError("The client hung up in its request.", kind="client_gone"))
    if error.__cause__ and (unread := _UNREADABLE.get(type(error.__cause__))):
        return respond(_not_json(unread))
    place = f"{request.method} {request.url.path}"
    if error.status_code == 404:
        found = DiplophraseError(f"{place} is not there. See /docs for what is.", kind="not_found")
        return respond(found)
    if error.status_code == 405:
        allowed = ", ".join(_methods_of(request))
        wrong = DiplophraseError(
            f"{place} is not allowed; use {allowed}. See /docs.", kind="method_not_allowed"
        )
        answer = respond(wrong)
        answer.headers["Allow"] = allowed
        return answer
    bad = InvalidRequest(f"{place}: {error.detail}")
    return JSONResponse(bad.body(), status_code=error.status_code)


def _methods_of(request: Request) -> list[str]:
    """Return the methods of all routes of the request's path; the router knows its first alone."""
    routes = request.app.routes
    return [
        method
        for method in _METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] == Match.FULL for route in routes
        )
    ]


async def _internal(request: Request, error: Exception) -> JSONResponse:
    log.error("request failed", exc_info=error)
    return respond(DiplophraseError("The service failed on this request; its log says why."))


class BodyLimit:
    """Refuse bodies over `max_bytes`, by the header at once or while they arrive."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self.max_bytes:
            await respond(self._error(int(declared)))(scope, receive, send)
            return
        read = 0

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.max_bytes:
                raise self._error(read)
            return message

        await self.app(scope, limited, send)

    def _error(self, size: int) -> DiplophraseError:
        message = (
            f"The body has {size} bytes or more; {self.max_bytes} are allowed. "
            f"Send fewer texts at a time."
        )
        return DiplophraseError(message, kind="body_too_large")
