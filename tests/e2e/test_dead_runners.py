"""The threads that run the model, killed inside: the service says so and nobody hangs."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from fastapi import FastAPI

from diplophrase.settings import Settings
from tests.e2e.in_process import Reply, ask, running_app
from tests.e2e.server import ROOT

BODY = json.dumps({"texts": ["Peace.", "Both sides agreed."]}).encode()
DEADLINE_S = 600.0  # an answer that comes by the deadline alone is a 504
SETTINGS = Settings(models=ROOT / "models", runners=2, deadline_s=DEADLINE_S)


class Killer:
    """A function that raises `error` the first `times` times, then does what `function` does."""

    def __init__(self, function: Any, error: BaseException, times: int) -> None:
        self.function, self.error, self.left = function, error, times
        self._lock = threading.Lock()

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        with self._lock:
            kill = self.left > 0
            self.left -= kill
        if kill:
            raise self.error
        return self.function(*arguments, **named)


async def status_of(app: FastAPI, path: str) -> int:
    return (await ask(app, path)).status


def kind_of(reply: Reply) -> str:
    kind: str = json.loads(reply.body)["error"]["kind"]
    return kind


@pytest.mark.parametrize("error", [RuntimeError("x"), MemoryError(), SystemExit(1)])
def test_with_all_threads_dead_requests_are_refused_at_once(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from serving import engine

    async def kill() -> tuple[Reply, Reply, Reply, int]:
        async with running_app(SETTINGS) as app:
            assert await status_of(app, "/readyz") == 200
            monkeypatch.setattr(engine, "collect_batch", Killer(engine.collect_batch, error, 2))
            first = await ask(app, "/v1/classify", [BODY])
            second = await ask(app, "/v1/classify", [BODY])
            assert app.state.engine.in_flight == 0
            return first, second, await ask(app, "/readyz"), await status_of(app, "/healthz")

    first, second, ready, alive = asyncio.run(kill())
    assert [reply.status for reply in (first, second, ready)] == [503, 503, 503]
    assert [kind_of(reply) for reply in (first, second, ready)] == ["not_ready"] * 3
    assert alive == 200
    ended = [record for record in caplog.records if "a runner has ended" in record.msg]
    assert [record.levelname for record in ended] == ["CRITICAL", "CRITICAL"]


def test_with_one_thread_dead_its_texts_fail_and_the_other_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def kill() -> tuple[Reply, Reply, Reply]:
        async with running_app(SETTINGS) as app:
            metrics = app.state.engine.metrics
            killer = Killer(metrics.batch_ran, MemoryError(), 1)
            monkeypatch.setattr(metrics, "batch_ran", killer)
            lost = await ask(app, "/v1/classify", [BODY])
            return lost, await ask(app, "/v1/classify", [BODY]), await ask(app, "/readyz")

    lost, after, ready = asyncio.run(kill())
    assert (lost.status, kind_of(lost)) == (503, "not_ready")
    assert len(json.loads(after.body)["results"]) == 2
    assert (ready.status, kind_of(ready)) == (503, "not_ready")
