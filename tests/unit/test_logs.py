"""What a request leaves on stderr, and what it never does."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from io import StringIO
from logging.config import dictConfig
from typing import Any

import pytest
from fastapi import FastAPI, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse, StreamingResponse
from starlette.testclient import TestClient

from diplophrase.errors import BundleError
from serving.errors import install_errors
from serving.logs import JsonFormatter, Observe, describe, log_config, request_id
from serving.metrics import Metrics

JSON = {"content-type": "application/json"}
SECRET = "The ambassador drinks tea at midnight"
log = logging.getLogger("diplophrase.test")

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    """Log as the service does; the function returns the lines since it was last called."""
    loggers = [logging.getLogger(name) for name in ("", "diplophrase", "uvicorn", "uvicorn.access")]
    before = [(logger.level, logger.handlers[:], logger.propagate) for logger in loggers]
    stderr = StringIO()
    with monkeypatch.context() as patch:
        patch.setattr("sys.stderr", stderr)
        dictConfig(log_config())

    def read() -> list[dict[str, Any]]:
        written = stderr.getvalue()
        stderr.seek(0)
        stderr.truncate()
        return [json.loads(line) for line in written.splitlines()]

    yield read
    for logger, (level, handlers, propagate) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers
        logger.propagate = propagate


class Texts(BaseModel):
    texts: list[str]


def make_app(metrics: Metrics, *times_s: float) -> FastAPI:
    app = FastAPI()
    install_errors(app)
    clock = iter(times_s or [0.0] * 100)
    app.add_middleware(Observe, metrics=metrics, clock=lambda: next(clock))

    @app.post("/v1/{kind}")
    async def classify(kind: str, body: Texts, request: Request) -> JSONResponse:
        request.state.texts = len(body.texts)
        log.info("inside")
        return JSONResponse({"id": request_id.get()})

    @app.post("/fails")
    async def fails(body: Texts) -> None:
        try:
            raise KeyError(body.texts[0])
        except KeyError:
            raise ValueError(f"cannot read {body.texts[0]}") from None

    @app.get("/breaks")
    async def breaks() -> StreamingResponse:
        async def parts() -> Any:
            yield b"begun"
            raise RuntimeError(SECRET)

        return StreamingResponse(parts())

    return app


def count(metrics: Metrics, route: str, method: str, status: int) -> float | None:
    labels = {"route": route, "method": method, "status": str(status)}
    return metrics.registry.get_sample_value("diplophrase_requests_total", labels)


def test_a_request_leaves_one_line_of_its_own_and_is_counted(lines: Lines) -> None:
    metrics = Metrics()
    client = TestClient(make_app(metrics, 10.0, 10.25))
    answer = client.post("/v1/classify", json={"texts": ["a", "b"]}, headers={"x-request-id": "r1"})
    assert answer.headers["x-request-id"] == "r1"
    assert answer.json() == {"id": "r1"}
    inside, answered = lines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", answered.pop("time"))
    assert answered == {
        "level": "INFO",
        "logger": "diplophrase.serving",
        "message": "answered",
        "request_id": "r1",
        "method": "POST",
        "route": "/v1/{kind}",
        "status": 200,
        "ms": 250.0,
        "texts": 2,
    }
    assert (inside["message"], inside["request_id"]) == ("inside", "r1")
    assert count(metrics, "/v1/{kind}", "POST", 200) == 1
    total = "diplophrase_request_seconds_sum"
    assert metrics.registry.get_sample_value(total, {"route": "/v1/{kind}"}) == 0.25
    assert request_id.get() is None


@pytest.mark.parametrize("given", ["a", "A-z_0.9", "x" * 64])
def test_a_fit_id_is_kept(given: str) -> None:
    client = TestClient(make_app(Metrics()))
    assert client.get("/absent", headers={"x-request-id": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\tb", 'a"', "<b>", "é".encode(), "a/b"])
def test_another_id_is_replaced(given: str | bytes) -> None:
    client = TestClient(make_app(Metrics()))
    headers = {"x-request-id": given.encode() if isinstance(given, str) else given}
    answer = client.get("/absent", headers=headers)
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    assert answer.headers.get_list("x-request-id") == [answer.headers["x-request-id"]]


def test_each_request_without_an_id_gets_its_own() -> None:
    client = TestClient(make_app(Metrics()))
    made = {client.get("/absent").headers["x-request-id"] for _ in range(3)}
    assert len(made) == 3


@pytest.mark.parametrize(
    ("method", "path", "route", "counted_method", "status"),
    [
        ("GET", "/absent?q=1", "other", "GET", 404),
        ("GET", "/fails", "/fails", "GET", 405),
        ("BREW", "/absent", "other", "other", 404),
    ],
)
def test_what_strangers_send_makes_no_new_names(
    method: str, path: str, route: str, counted_method: str, status: int, lines: Lines
) -> None:
    metrics = Metrics()
    client = TestClient(make_app(metrics, 0.0, 0.0015))
    assert client.request(method, path).status_code == status
    [line] = lines()
    found = {name: line.get(name) for name in ("method", "route", "status", "ms", "texts")}
    assert found == {
        "method": counted_method,
        "route": route,
        "status": status,
        "ms": 1.5,
        "texts": None,
    }
    assert count(metrics, route, counted_method, status) == 1


def test_a_failing_handler_is_answered_with_the_id_and_logged_once(lines: Lines) -> None:
    metrics = Metrics()
    client = TestClient(make_app(metrics))
    answer = client.post("/fails", json={"texts": ["a"]}, headers={"x-request-id": "r2"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "r2")
    assert answer.json()["error"]["kind"] == "internal"
    failed, answered = lines()
    assert (failed["message"], failed["level"], failed["request_id"]) == (
        "the request failed",
        "ERROR",
        "r2",
    )
    assert failed["error"]["type"] == "ValueError"
    assert re.fullmatch(r".*test_logs\.py:\d+ fails", failed["error"]["frames"][-1])
    assert "message" not in failed["error"]
    assert "cause" not in failed["error"]
    assert (answered["status"], answered["level"], answered["route"]) == (500, "ERROR", "/fails")
    assert count(metrics, "/fails", "POST", 500) == 1


def test_an_answer_that_breaks_off_counts_as_failed(lines: Lines) -> None:
    metrics = Metrics()
    client = TestClient(make_app(metrics))
    with pytest.raises(RuntimeError, match="midnight"):
        client.get("/breaks", headers={"x-request-id": "r5"})
    text = json.dumps(rows := lines())
    assert [(row["message"], row.get("request_id")) for row in rows] == [
        ("the request failed", "r5"),
        ("answered", "r5"),
        ("request failed", None),  # raised on, so that the server cuts the connection
    ]
    assert "midnight" not in text
    assert count(metrics, "/breaks", "GET", 500) == 1


def test_no_text_of_a_user_is_ever_logged(lines: Lines) -> None:
    client = TestClient(make_app(Metrics()))
    sent = [
        client.post("/v1/classify", json={"texts": [SECRET]}),
        client.post(f"/v1/{SECRET}", params={"q": SECRET}, json={"texts": [SECRET]}),
        client.post("/v1/classify", json={"texts": SECRET, SECRET: 1}),
        client.post("/v1/classify", content=f'{{"texts": ["{SECRET}"'.encode(), headers=JSON),
        client.get(f"/{SECRET}", headers={"x-request-id": SECRET, "user-agent": SECRET}),
        client.post("/fails", json={"texts": [SECRET]}),
    ]
    assert [answer.status_code for answer in sent] == [200, 200, 422, 400, 404, 500]
    logging.getLogger("asyncio").error("Task failed: <ValueError('%s')>", SECRET)
    logging.getLogger("uvicorn.access").info('%s - "GET /%s"', "127.0.0.1", SECRET)
    logging.getLogger("uvicorn.error").error("failed\n", exc_info=ValueError(SECRET))
    text = json.dumps(rows := lines())
    assert len(rows) == 2 + 2 + 1 + 1 + 1 + 2 + 2  # the last two: asyncio and uvicorn.error
    found = [word for word in ("ambassador", "drinks", "midnight") if word in text]
    assert found == []


def test_uvicorn_writes_the_same_form_and_no_access_log(lines: Lines) -> None:
    logging.getLogger("uvicorn.error").info("Started server process [%d]", 7)
    logging.getLogger("uvicorn.access").error("GET /?q=1")
    [line] = lines()
    assert list(line) == ["time", "level", "logger", "message"]
    assert (line["logger"], line["message"]) == ("uvicorn.error", "Started server process [7]")


def test_libraries_are_heard_from_warnings_on_without_their_words(lines: Lines) -> None:
    logging.getLogger("httpx").info("GET https://example.org")
    logging.getLogger("httpx").warning("slow: https://example.org")
    [line] = lines()
    assert (line["level"], line["logger"]) == ("WARNING", "httpx")
    assert line["message"] == "words of a library, left out because they may quote a text"


def test_a_thread_hands_over_the_id(lines: Lines) -> None:
    token = request_id.set("r3")
    thread = threading.Thread(target=lambda: log.info("ran", extra={"request_id": "r4"}))
    thread.start()
    thread.join(timeout=10)
    bare = threading.Thread(target=lambda: log.info("ran"))
    bare.start()
    bare.join(timeout=10)
    log.info("here")
    request_id.reset(token)
    assert [line.get("request_id") for line in lines()] == ["r4", None, "r3"]


def test_a_record_becomes_one_line_with_its_time_in_utc() -> None:
    record = logging.LogRecord("diplophrase", logging.INFO, "f", 1, "two\nlines", None, None)
    record.created = 1_700_000_000.25
    record.ms, record.secret = 1.5, SECRET
    assert JsonFormatter().format(record) == (
        '{"time": "2023-11-14T22:13:20.250+00:00", "level": "INFO", "logger": "diplophrase", '
        '"message": "two\\nlines", "ms": 1.5}'
    )


def test_errors_show_their_causes_but_only_a_bundles_words() -> None:
    try:
        try:
            raise OSError(SECRET)
        except OSError as error:
            raise BundleError("models/v1 has no model.onnx.") from error
    except BundleError as error:
        shown = describe(error)
    assert (shown["type"], shown["message"]) == (
        "diplophrase.errors.BundleError",
        "models/v1 has no model.onnx.",
    )
    assert shown["cause"]["type"] == "OSError"
    assert "midnight" not in json.dumps(shown)


def test_a_ring_of_causes_ends() -> None:
    first, second = ValueError("a"), KeyError("b")
    first.__cause__, second.__cause__ = second, first
    depth, shown = 0, describe(first, causes=3)
    while "cause" in shown:
        depth, shown = depth + 1, shown["cause"]
    assert depth == 3
