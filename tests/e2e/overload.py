"""Ten times more than the service can do, for some seconds; then one request.

python -m tests.e2e.overload [seconds]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx
import numpy as np

from diplophrase.annotations import read_annotations
from diplophrase.settings import Settings
from tests.e2e.server import ROOT, running_server

FACTOR = 10
TEXTS = 64  # a request
TIMEOUT_S = 120


@dataclass
class Report:
    """What was offered and what came of it; `refused_s` are seconds from request to 429."""

    capacity: float = 0.0  # texts a second
    offered: float = 0.0  # texts a second
    statuses: Counter[int] = field(default_factory=Counter)
    refused_s: list[float] = field(default_factory=list)
    without_retry_after: int = 0
    recovery_s: float = 0.0

    def to_dict(self) -> dict[str, object]:
        """Return the report with the times of refusals summed up."""
        seconds = self.refused_s or [0.0]
        quantiles = {f"p{q}": round(float(np.percentile(seconds, q)), 4) for q in (50, 99, 100)}
        return vars(self) | {"statuses": dict(self.statuses), "refused_s": quantiles}


def request_body() -> bytes:
    notes = read_annotations(ROOT / "labels" / "annotations" / "seeds.jsonl")
    return json.dumps({"texts": [note.text for note in notes[:TEXTS]], "evidence": False}).encode()


async def overload(url: str, seconds: float, *, max_in_flight: int) -> Report:
    """Measure what the server can do, ask ten times that, and time the first request after it.

    At least three times `max_in_flight` texts are sent, however slow the machine is.
    """
    report, body = Report(), request_body()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    headers = {"content-type": "application/json"}
    async with httpx.AsyncClient(
        base_url=url, timeout=TIMEOUT_S, limits=limits, headers=headers
    ) as http:
        report.capacity = await _capacity(http, body, max(1.0, seconds / 5))
        sent = await _flood(http, body, report, seconds, 3 * max_in_flight // TEXTS)
        await _recover(http, report)
        await asyncio.gather(*sent)
    return report


async def _capacity(http: httpx.AsyncClient, body: bytes, seconds: float) -> float:
    """Return the texts a second that four connections get answered."""
    answered = 0
    started = time.perf_counter()

    async def work() -> None:
        nonlocal answered
        while time.perf_counter() - started < seconds:
            (await http.post("/v1/classify", content=body)).raise_for_status()
            answered += TEXTS

    await asyncio.gather(*(work() for _ in range(4)))
    return answered / (time.perf_counter() - started)


async def _flood(
    http: httpx.AsyncClient, body: bytes, report: Report, seconds: float, requests: int
) -> list[asyncio.Task[None]]:
    """Send requests at ten times the capacity, whether or not the earlier ones are answered."""
    interval = TEXTS / (FACTOR * report.capacity)
    started, sent = time.perf_counter(), []
    while (now := time.perf_counter()) - started < seconds or len(sent) < requests:
        sent.append(asyncio.create_task(_send(http, body, report)))
        await asyncio.sleep(max(0.0, started + interval * len(sent) - now))
    report.offered = TEXTS * len(sent) / (time.perf_counter() - started)
    return sent


async def _send(http: httpx.AsyncClient, body: bytes, report: Report) -> None:
    begun = time.perf_counter()
    answer = await http.post("/v1/classify", content=body)
    report.statuses[answer.status_code] += 1
    if answer.status_code == 429:
        report.refused_s.append(time.perf_counter() - begun)
        report.without_retry_after += "retry-after" not in answer.headers


async def _recover(http: httpx.AsyncClient, report: Report) -> None:
    """Ask one sentence, again after what Retry-After says, until it is answered."""
    begun = time.perf_counter()
    while time.perf_counter() - begun < TIMEOUT_S:
        answer = await http.post("/v1/classify", json={"texts": ["Peace."]})
        if answer.status_code == 200:
            break
        await asyncio.sleep(float(answer.headers.get("retry-after", "1")))
    report.recovery_s = time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float, nargs="?", default=30.0)
    given = parser.parse_args()
    with running_server() as server:
        most = Settings().max_in_flight
        report = asyncio.run(overload(server.url, given.seconds, max_in_flight=most))
    print(json.dumps(report.to_dict(), indent=1))


if __name__ == "__main__":
    main()
