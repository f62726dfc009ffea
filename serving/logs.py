"""One JSON object a line on stderr, and what each request leaves there.

No line holds a text of a user: a request's line has its route's template but no path, query or
body; an exception's line has its type and frames but no message, which may quote what was sent;
and the words of libraries other than the server's are left out.

To wire it in: `uvicorn.run(..., log_config=log_config(), access_log=False)`, and
`app.add_middleware(Observe, metrics=metrics)`. A handler that knows how many texts a request
has says so with `request.state.texts = 3`. Code that runs in a thread of its own gives the id
with `extra={"request_id": ...}`; all other lines of a request find it by themselves.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from traceback import StackSummary, walk_tb
from typing import Any
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diplophrase.errors import KINDS, BundleError, DiplophraseError
from serving.errors import respond
from serving.metrics import Metrics

log = logging.getLogger("diplophrase.serving")

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

OTHER = "other"  # a route that is not of the API, or a method that is not known

_HEADER = b"x-request-id"
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_FIELDS = ("method", "route", "status", "ms", "texts")
_OWN_WORDS = ("diplophrase", "uvicorn")  # loggers whose messages quote no text
_CAUSES = 5  # exceptions behind an exception that a line shows


def log_config(level: str = "INFO") -> dict[str, Any]:
    """Return the configuration for `logging.config.dictConfig` or uvicorn's `log_config`.

    uvicorn's own lines take this form too, but for its access log: that one holds paths and
    queries, and `Observe` says the same without them.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonFormatter}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "json",
                "stream": "ext://sys.stderr",
            }
        },
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            "diplophrase": {"level": level},
            "uvicorn": {"level": level, "handlers": [], "propagate": True},
            "uvicorn.access": {"handlers": [], "propagate": False},
        },
    }


class JsonFormatter(logging.Formatter):
    """Writes a record as one JSON object: known fields only, in a fixed order, times in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
        }
        given = getattr(record, "request_id", None) or request_id.get()
        if given is not None:
            line["request_id"] = given
        line |= {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = describe(record.exc_info[1])
        return json.dumps(line)


def _message(record: logging.LogRecord) -> str:
    if record.name.partition(".")[0] in _OWN_WORDS:
        return record.getMessage().strip()
    return "words of a library, left out because they may quote a text"


def describe(error: BaseException, causes: int = _CAUSES) -> dict[str, Any]:
    """Return an exception's type, its frames from the outside in, and up to `causes` behind it.

    A message is given only where it speaks of files of ours.
    """
    kind = type(error)
    name = (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    frames = StackSummary.extract(walk_tb(error.__traceback__), lookup_lines=False)
    shown: dict[str, Any] = {"type": name}
    if isinstance(error, BundleError):
        shown["message"] = error.message
    shown["frames"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and causes:
        shown["cause"] = describe(cause, causes - 1)
    return shown


class Observe:
    """Gives each request an id, answers what fails inside, logs and counts the request.

    An `X-Request-ID` that came with the request is kept if it has 1 to 64 characters of
    `A-Z a-z 0-9 . _ -`; otherwise one is made. `clock` returns seconds.
    """

    def __init__(
        self, app: ASGIApp, *, metrics: Metrics, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.app = app
        self.metrics = metrics
        self.clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _Answer(send, _take_id(scope))
        token = request_id.set(answer.request_id)
        started = self.clock()
        try:
            await self._answer(scope, receive, answer)
        finally:
            self._record(scope, answer.status, self.clock() - started)
            request_id.reset(token)

    async def _answer(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            await self.app(scope, receive, answer.send)
        except Exception as error:
            log.error("the request failed", exc_info=error)
            if answer.begun:
                answer.status = 500
                raise  # the server cuts the connection; what was sent cannot be taken back
            failed = DiplophraseError("The service failed on this request; its log says why.")
            await respond(failed)(scope, receive, answer.send)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else OTHER
        route = getattr(scope.get("route"), "path", OTHER)
        self.metrics.requested(route=route, method=method, status=status, seconds=seconds)
        fields = {
            "method": method,
            "route": route,
            "status": status,
            "ms": round(seconds * 1000, 2),
        }
        if (texts := scope.get("state", {}).get("texts")) is not None:
            fields["texts"] = texts
        log.log(logging.ERROR if status >= 500 else logging.INFO, "answered", extra=fields)


class _Answer:
    """Sends an answer on with the request's id, and remembers its status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.request_id = request_id
        self.begun = False
        self.status = KINDS["client_gone"][0]  # until an answer begins

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            self.status = message["status"]
            headers = [*message.get("headers", ()), (_HEADER, self.request_id.encode())]
            message = {**message, "headers": headers}
        await self._send(message)


def _take_id(scope: Scope) -> str:
    given = dict(scope["headers"]).get(_HEADER, b"").decode("latin-1")
    return given if _ID.fullmatch(given) else uuid4().hex
