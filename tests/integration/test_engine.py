"""Many requests over one network: bounds, failures, batch mates."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tokenizers import Encoding

from diplophrase.annotations import read_annotations
from diplophrase.bundle import current_bundle
from diplophrase.classifier import Classifier, Raw
from diplophrase.errors import DiplophraseError
from diplophrase.settings import Settings
from serving.app import create_app
from serving.engine import Engine
from serving.metrics import Metrics
from tests.integration.conftest import ROOT

TEXTS = [
    note.text for note in read_annotations(ROOT / "labels" / "annotations" / "seeds.jsonl")[:60]
]


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Engine]:
    engine = Engine.open(
        Settings(models=ROOT / "models", **settings), current_bundle(ROOT / "models"), Metrics()
    )
    try:
        yield engine
    finally:
        await asyncio.to_thread(engine.close)


@pytest.fixture
def gate() -> threading.Event:
    """Hold every batch, from `hold_batches` on, until the event is set."""
    return threading.Event()


def hold_batches(monkeypatch: pytest.MonkeyPatch, gate: threading.Event) -> None:
    run = Classifier.run

    def held(self: Classifier, encodings: Sequence[Encoding]) -> list[Raw]:
        assert gate.wait(timeout=30)
        return run(self, encodings)

    monkeypatch.setattr(Classifier, "run", held)


def test_requests_run_together_answer_as_they_do_alone(classifier: Classifier) -> None:
    async def ask() -> list[list[Any]]:
        async with running() as engine:
            asks = [engine.classify(TEXTS[k : k + 5], evidence=True) for k in range(0, 60, 5)]
            return list(await asyncio.gather(*asks))

    alone = {text: classifier.classify([text])[0] for text in TEXTS}
    for k, results in enumerate(asyncio.run(ask())):
        for text, result in zip(TEXTS[5 * k : 5 * k + 5], results, strict=True):
            assert {hit.id for hit in result.labels} == {hit.id for hit in alone[text].labels}
            gaps = [abs(result.scores[name] - alone[text].scores[name]) for name in result.scores]
            assert max(gaps) <= 1e-4


def test_too_many_texts_in_flight_are_refused_at_once(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask() -> None:
        async with running(max_in_flight=10) as engine:
            hold_batches(monkeypatch, gate)
            first = asyncio.create_task(engine.classify(TEXTS[:8], evidence=False))
            await asyncio.sleep(0)
            with pytest.raises(DiplophraseError, match="holds 8 texts in flight and takes at") as e:
                await engine.classify(TEXTS[:3], evidence=False)
            assert (e.value.kind, e.value.status) == ("overloaded", 429)
            gate.set()
            assert len(await first) == 8
            assert engine.in_flight == 0
            assert len(await engine.classify(TEXTS[:3], evidence=False)) == 3

    asyncio.run(ask())


def test_a_request_that_is_given_up_frees_its_places_at_once(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask() -> None:
        async with running() as engine:
            hold_batches(monkeypatch, gate)
            asked = asyncio.create_task(engine.classify(TEXTS[:2], evidence=False))
            await asyncio.sleep(0.01)
            assert engine.in_flight == 2
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
            assert engine.in_flight == 0
            gate.set()

    asyncio.run(ask())


def test_the_place_of_a_text_is_free_when_it_has_its_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a burst of requests, which end together, keeps all others out until then."""
    run, left = Classifier.run, [4]
    gate = threading.Event()

    def hold_the_last(self: Classifier, encodings: Sequence[Encoding]) -> list[Raw]:
        left[0] -= len(encodings)
        assert left[0] > 0 or gate.wait(timeout=300)
        return run(self, encodings)

    async def ask() -> None:
        async with running(max_in_flight=4, runners=1, batch_texts=1) as engine:
            monkeypatch.setattr(Classifier, "run", hold_the_last)
            first = asyncio.create_task(engine.classify(TEXTS[:4], evidence=False))
            async with asyncio.timeout(300):
                while engine.in_flight != 1:
                    await asyncio.sleep(0.01)
            second = asyncio.create_task(engine.classify(TEXTS[4:7], evidence=False))
            await asyncio.sleep(0)
            assert engine.in_flight == 4
            gate.set()
            assert [len(await first), len(await second)] == [4, 3]
            assert engine.in_flight == 0

    asyncio.run(ask())


def test_one_bad_text_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Classifier.run

    def fails_on_bad(self: Classifier, encodings: Sequence[Encoding]) -> list[Raw]:
        if any("poison" in encoding.tokens for encoding in encodings):
            raise RuntimeError("the network refuses this text")
        return run(self, encodings)

    async def ask() -> list[Any]:
        async with running() as engine:
            monkeypatch.setattr(Classifier, "run", fails_on_bad)
            asks = [engine.classify([text], evidence=False) for text in (*TEXTS[:6], "poison")]
            return list(await asyncio.gather(*asks, return_exceptions=True))

    *good, bad = asyncio.run(ask())
    assert [len(results) for results in good] == [1] * 6
    assert isinstance(bad, RuntimeError)


def test_what_the_client_left_is_not_run(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask() -> int:
        async with running(runners=1, batch_texts=1) as engine:
            hold_batches(monkeypatch, gate)
            leaving = asyncio.create_task(engine.classify(TEXTS[:20], evidence=False))
            await asyncio.sleep(0.1)
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
            ran: list[int] = []
            held = Classifier.run

            def counted(self: Classifier, encodings: Sequence[Encoding]) -> list[Raw]:
                ran.append(len(encodings))
                return held(self, encodings)

            monkeypatch.setattr(Classifier, "run", counted)
            gate.set()
            await engine.classify(TEXTS[20:21], evidence=False)
            return sum(ran)

    assert asyncio.run(ask()) == 1


def test_a_late_answer_is_a_deadline_error(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(Settings(models=ROOT / "models", deadline_s=0.2))
    with TestClient(app) as client:
        hold_batches(monkeypatch, gate)
        answer = client.post("/v1/classify", json={"texts": TEXTS[:2]})
        gate.set()
        assert app.state.engine.in_flight == 0
    assert (answer.status_code, answer.json()["error"]["kind"]) == (504, "deadline")
