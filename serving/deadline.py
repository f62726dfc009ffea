"""One deadline for each request, from its arrival to its answer."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diplophrase.errors import DiplophraseError
from serving.errors import respond


class Deadline:
    """Gives up a request that has no answer `seconds` after its head arrived.

    If its body was still arriving then, the client is told that it was too slow, and the
    connection ends, since what comes next on it is the rest of that body. All else that takes too
    long is the service's delay. What the request held (its task, its texts in the queue) is free
    at once. An answer that has begun goes on to its end.
    """

    def __init__(self, app: ASGIApp, *, seconds: float) -> None:
        self.app = app
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        timeout = asyncio.timeout(self.seconds)
        exchange = _Exchange(receive, send, timeout)
        try:
            async with timeout:
                await self.app(scope, exchange.receive, exchange.send)
        except TimeoutError:
            if not timeout.expired():  # it came from inside
                raise
            answer = respond(self._error(exchange.reading))
            if exchange.reading:
                answer.headers["Connection"] = "close"
            await answer(scope, receive, send)

    def _error(self, reading: bool) -> DiplophraseError:
        if reading:
            return too_slow(self.seconds)
        message = (
            f"No answer within {self.seconds:g} s. Send fewer texts at a time or try again later."
        )
        return DiplophraseError(message, kind="deadline")


class _Exchange:
    """Notes whether the body is being waited for, and ends the timeout when an answer begins."""

    def __init__(self, receive: Receive, send: Send, timeout: asyncio.Timeout) -> None:
        self._receive = receive
        self._send = send
        self._timeout = timeout
        self._whole = False
        self.reading = False

    async def receive(self) -> Message:
        self.reading = not self._whole
        message = await self._receive()  # if this is cut off, `reading` stays as it is
        self.reading = False
        self._whole = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and not self._timeout.expired():
            self._timeout.reschedule(None)
        await self._send(message)


def too_slow(seconds: float) -> DiplophraseError:
    """Return the error of a request that was not whole after so many seconds."""
    message = (
        f"The request was not whole {seconds:g} s after it began. Send it faster, or fewer texts "
        f"at a time."
    )
    return DiplophraseError(message, kind="request_too_slow")
