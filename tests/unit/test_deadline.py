"""The deadline of a request: who was too slow, and what is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.deadline import Deadline

BEGUN: Message = {"type": "http.request", "body": b"{", "more_body": True}
WHOLE: Message = {"type": "http.request", "body": b"}", "more_body": False}
START: Message = {"type": "http.response.start", "status": 200, "headers": []}
END: Message = {"type": "http.response.body", "body": b"done"}


def ask(app: ASGIApp, arriving: Sequence[Message], seconds: float = 0.05) -> list[Message]:
    """Return what is sent when the messages `arriving` come, and then none."""

    async def run() -> list[Message]:
        sent: list[Message] = []
        coming = iter(arriving)

        async def receive() -> Message:
            for message in coming:
                return message
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            sent.append(message)

        await Deadline(app, seconds=seconds)({"type": "http"}, receive, send)
        return sent

    return asyncio.run(run())


def app_of(work: Callable[[Receive, Send], Awaitable[None]]) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await work(receive, send)

    return app


async def read_and_answer(receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await send(START)
    await send(END)


async def read_and_hang(receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await receive()  # nothing more comes


def error_of(sent: list[Message]) -> tuple[int, str, str, bool]:
    """Return the status, the kind, the message and whether the connection ends."""
    start, body = sent
    error: dict[str, Any] = json.loads(body["body"])["error"]
    ends = (b"connection", b"close") in start["headers"]
    return start["status"], error["kind"], error["message"], ends


def test_an_answer_in_time_passes() -> None:
    assert ask(app_of(read_and_answer), [BEGUN, WHOLE], seconds=30) == [START, END]


@pytest.mark.parametrize("arrived", [[], [BEGUN]])
def test_a_body_that_does_not_end_is_the_clients_delay(arrived: list[Message]) -> None:
    assert error_of(ask(app_of(read_and_answer), arrived)) == (
        408,
        "request_too_slow",
        "The request was not whole 0.05 s after it began. Send it faster, or fewer texts at a "
        "time.",
        True,
    )


def test_all_else_is_the_services_delay() -> None:
    assert error_of(ask(app_of(read_and_hang), [BEGUN, WHOLE])) == (
        504,
        "deadline",
        "No answer within 0.05 s. Send fewer texts at a time or try again later.",
        False,
    )


def test_a_request_without_a_body_is_never_the_clients_delay() -> None:
    async def hang(receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    assert error_of(ask(app_of(hang), []))[:2] == (504, "deadline")


def test_an_answer_that_has_begun_goes_on() -> None:
    async def slow(receive: Receive, send: Send) -> None:
        await send(START)
        await asyncio.sleep(0.2)
        await send(END)

    assert ask(app_of(slow), []) == [START, END]


def test_the_work_is_cancelled() -> None:
    ended: list[str] = []

    async def hang(receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("given up")

    assert error_of(ask(app_of(hang), []))[0] == 504
    assert ended == ["given up"]


def test_a_timeout_from_inside_is_not_the_deadline() -> None:
    async def fail(receive: Receive, send: Send) -> None:
        raise TimeoutError("of something else")

    with pytest.raises(TimeoutError, match="of something else"):
        ask(app_of(fail), [], seconds=30)
