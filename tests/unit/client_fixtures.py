"""A scripted service and a clock that only sleeping moves, for the tests of the clients."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from diplophrase.classifier import Evidence, LabelHit, Result
from diplophrase.client import AsyncClient, Client
from diplophrase.errors import Detail, DiplophraseError

URL = "http://service.test"
Script = list[httpx.Response | Exception]
PAGE = "<html><head><title>502 Bad Gateway</title></head></html>"


def result_of(text: str, version: str = "v1") -> Result:
    """Return a result from which the text can be told."""
    span = Evidence(0, len(text), text)
    hit = LabelHit("partnership", 0.9, span, {"tier": text, "taiwan_formula": ["principle"]})
    return Result([hit], "china", version, {"partnership": 0.9}, False)


def labelled(request: httpx.Request, version: str = "v1") -> httpx.Response:
    """Answer as /v1/classify does."""
    asked = json.loads(request.content)
    rows = [result_of(text, version).to_dict(scores=asked["scores"]) for text in asked["texts"]]
    return httpx.Response(200, json={"model_version": version, "results": rows})


def failed(kind: str, *details: Detail, **headers: str) -> httpx.Response:
    """Answer as the service does when it fails."""
    error = DiplophraseError("Something is wrong.", kind=kind, details=list(details))
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(error.status, json=error.body(), headers=named)


@dataclass
class Bench:
    """A scripted service, then one that labels; and a clock that only sleeping moves."""

    script: Script = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    now: float = 100.0
    attempt_s: float = 0.0

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.now += self.attempt_s
        step = self.script.pop(0) if self.script else labelled(request)
        if isinstance(step, Exception):
            raise step
        return step

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)

    def client(self, **options: Any) -> Client:
        given: dict[str, Any] = {
            "transport": httpx.MockTransport(self.handle),
            "sleep": self.sleep,
            "jitter": lambda: 0.5,
            "clock": lambda: self.now,
        }
        return Client(URL, **given | options)

    def async_client(self, **options: Any) -> AsyncClient:
        given: dict[str, Any] = {
            "transport": httpx.MockTransport(self.handle),
            "sleep": self.sleep_async,
            "jitter": lambda: 0.5,
            "clock": lambda: self.now,
        }
        return AsyncClient(URL, **given | options)


def classify_sync(bench: Bench, texts: list[str], **options: Any) -> list[Result]:
    with bench.client(**options) as client:
        return list(client.classify(texts, scores=True))


def classify_async(bench: Bench, texts: list[str], **options: Any) -> list[Result]:
    async def ask() -> list[Result]:
        async with bench.async_client(**options) as client:
            return list(await client.classify(texts, scores=True))

    return asyncio.run(ask())


Ask = Callable[..., list[Result]]
both = pytest.mark.parametrize("ask", [classify_sync, classify_async], ids=["sync", "async"])
