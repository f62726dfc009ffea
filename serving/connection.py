"""A connection on which a request's head cannot be waited for without end.

uvicorn bounds how long a connection may be idle, but not how long a head may take that comes byte
by byte; nor the rest of a body that came too late to be read. Both would hold a connection for as
long as a stranger likes.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from diplophrase.errors import DiplophraseError
from serving.deadline import too_slow

log = logging.getLogger("diplophrase.serving")


class BoundedConnection(HttpToolsProtocol):
    """Ends a connection on which no request is answered and none has become whole in `limit_s`.

    While a request is answered, `Deadline` of `serving.deadline` counts instead.
    """

    def __init__(self, *args: Any, limit_s: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self._limit_s = limit_s
        self._end: asyncio.TimerHandle | None = None
        self._head_begun = False

    def connection_made(  # type: ignore[override]  # as in uvicorn
        self, transport: asyncio.Transport
    ) -> None:
        super().connection_made(transport)
        self._start()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._end is None and not self._answering:
            self._start()
        super().data_received(data)
        if self._answering:
            self._stop()

    def on_message_begin(self) -> None:
        self._head_begun = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_begun = False
        super().on_headers_complete()

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _start(self) -> None:
        self._end = self.loop.call_later(self._limit_s, self._give_up)

    def _stop(self) -> None:
        if self._end is not None:
            self._end.cancel()
            self._end = None

    def _give_up(self) -> None:
        self._end = None
        if self.transport.is_closing():
            return
        if self._head_begun:
            log.info("a request's head did not arrive in time")
            self._refuse(too_slow(self._limit_s))
        self.transport.close()

    def _refuse(self, error: DiplophraseError) -> None:
        body = json.dumps(error.body()).encode()
        head = (
            f"HTTP/1.1 {error.status} Request Timeout\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
