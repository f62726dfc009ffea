"""The application without a network: a request is a call, which is fast."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI

from diplophrase.settings import Settings
from serving.app import create_app


@asynccontextmanager
async def running_app(settings: Settings) -> AsyncIterator[FastAPI]:
    """Start the application in this event loop, and stop it at the end."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


@dataclass(frozen=True)
class Reply:
    """What the application sent."""

    status: int
    body: bytes
    headers: dict[str, str]


async def ask(
    app: FastAPI, path: str, chunks: Sequence[bytes] | None = None, *, declared: bool = True
) -> Reply:
    """Get `path`, or post a body in `chunks` to it; without `declared` its length is not told."""
    headers = [(b"content-type", b"application/json"), (b"host", b"test")]
    if chunks is not None and declared:
        headers.append((b"content-length", str(sum(map(len, chunks))).encode()))
    waiting = [
        {"type": "http.request", "body": chunk, "more_body": number < len(chunks or [b""])}
        for number, chunk in enumerate(chunks or [b""], start=1)
    ]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not waiting:
            await asyncio.Event().wait()  # the client stays connected
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await app(_scope(path, "GET" if chunks is None else "POST", headers), receive, send)
    start = sent[0]
    assert start["type"] == "http.response.start"
    named = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    return Reply(start["status"], b"".join(part.get("body", b"") for part in sent[1:]), named)


def _scope(path: str, method: str, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
    }
