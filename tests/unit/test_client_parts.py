"""How the clients plan, wait and read, and the settings that they refuse."""

from __future__ import annotations

import asyncio
import importlib
import json
import pickle
import sys
from typing import Any

import httpx
import pytest
from client_fixtures import PAGE, URL, Bench, classify_sync, failed, result_of

from diplophrase.classifier import LabelHit, Result
from diplophrase.client import (
    AsyncClient,
    Client,
    LabelInfo,
    LabelsResult,
    LabelSummary,
    ModelInfo,
    ModelsResult,
    PromoteResult,
    Retry,
    SentenceResult,
    ServiceError,
)
from diplophrase.client_answers import Answer, Lost, failure_of, retry_after_s
from diplophrase.client_calls import Call, delay_before_retry, plan_classify
from diplophrase.client_network import loss_of, phase_timeouts
from diplophrase.errors import InvalidRequest, MissingExtra, SettingsError


def test_results_come_without_evidence_and_scores_where_not_asked() -> None:
    row = {"labels": [{"id": "a", "score": 1, "rank": 3}], "speaker": "china", "new": 1}
    row |= {"model_version": "v1", "truncated": True, "out_of_domain": True}
    bench = Bench([httpx.Response(200, json={"model_version": "v1", "results": [row]})])
    with bench.client() as client:
        found = client.classify(iter(["x"]), evidence=False)
    assert found[0] == Result([LabelHit("a", 1.0)], "china", "v1", {}, True, True)
    assert json.loads(bench.requests[0].content)["evidence"] is False


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, html=PAGE),
        httpx.Response(200, json={"model_version": "v1", "results": []}),  # one text, no result
        httpx.Response(200, json={"model_version": "v1", "results": [{"labels": "none"}]}),
        httpx.Response(200, content=b"\xff\xfe"),
        httpx.Response(307, headers={"Location": "http://elsewhere.test/"}),
        httpx.Response(404, json={"detail": "Not Found"}),
    ],
)
def test_what_the_service_does_not_answer_is_refused(answer: httpx.Response) -> None:
    with pytest.raises(ServiceError, match=f"gave status {answer.status_code} and no answer") as e:
        classify_sync(Bench([answer]), ["x"])
    assert e.value.kind == "bad_answer"


def test_the_timeouts_of_an_attempt_shrink_with_the_time_left() -> None:
    assert phase_timeouts(60.0, 120.0) == httpx.Timeout(60.0, connect=10.0)
    assert phase_timeouts(60.0, 4.0) == httpx.Timeout(4.0)
    assert phase_timeouts(60.0, -1.0) == httpx.Timeout(0.001)


def test_a_protocol_that_does_not_fit_is_not_tried_again() -> None:
    lost = loss_of(httpx.UnsupportedProtocol("no such protocol"))
    assert lost == Lost("unreachable", "the request failed (no such protocol).", False)


@pytest.mark.parametrize(
    ("header", "seconds"), [("", 0), ("3", 3), (" 12 ", 12), ("-1", 0), ("0.5", 0), ("²", 0)]
)
def test_retry_after_is_read_in_whole_seconds(header: str, seconds: float) -> None:
    assert retry_after_s(Answer(429, b"", retry_after=header)) == seconds
    assert retry_after_s(Answer(503, b"", retry_after="Wed, 21 Oct 2026 07:28:00 GMT")) == 0


@pytest.mark.parametrize(
    ("attempt", "asked_s", "jitter", "seconds"),
    [(1, 0.0, 0.0, 0.0), (1, 0.0, 0.5, 0.5), (3, 0.0, 0.5, 2.0), (3, 4.0, 0.5, 6.0),
     (5, 0.0, 0.5, 5.0), (100_000, 0.0, 0.5, 5.0)],
)  # fmt: skip
def test_delay_before_retry(attempt: int, asked_s: float, jitter: float, seconds: float) -> None:
    retry = Retry(first_s=1.0, longest_s=10.0)
    assert delay_before_retry(attempt, retry=retry, asked_s=asked_s, jitter=jitter) == seconds


def test_a_short_list_is_one_call_that_is_not_called_cut() -> None:
    options: dict[str, Any] = {"evidence": True, "scores": False}
    [call] = plan_classify(URL, ["a", "b"], batch_size=2, **options)
    assert (call.url, call.start) == (f"{URL}/v1/classify", None)
    calls = plan_classify(URL, ["a", "b", "c"], batch_size=2, **options)
    assert [call.start for call in calls] == [0, 2]


def test_bad_texts_are_named_before_anything_is_sent() -> None:
    bench = Bench()
    with bench.client(batch_size=1) as client:
        with pytest.raises(InvalidRequest, match="2 of 3 texts cannot be read") as e:
            client.classify(["good", " ", "half \ud800"])
        with pytest.raises(InvalidRequest, match=r"texts: found a string; must be a list"):
            client.classify("one sentence")
        with pytest.raises(InvalidRequest, match=r"holds '\\udcff', half of a surrogate pair"):
            client.classify_statement("A statement \udcff.")
    assert [detail.index for detail in e.value.details] == [1, 2]
    assert bench.requests == []


def test_statements_are_read_whole() -> None:
    sentences = ["One.", "两国。"]
    rows = [
        {"start": at, "end": at + len(text), "text": text} | result_of(text).to_dict()
        for at, text in zip([0, 5], sentences, strict=True)
    ]
    summary = {"partnership": {"sentences": [0, 1], "count": 2, "max_score": 0.9}}
    answer = {"id": "s-1", "model_version": "v1", "sentences": rows, "summary": summary}
    bench = Bench([httpx.Response(200, json=answer)])
    with bench.client() as client:
        found = client.classify_statement("One. 两国。", id="s-1")
    unscored = [Result(result_of(t).labels, "china", "v1", {}, False) for t in sentences]
    assert found.sentences == (
        SentenceResult(0, 4, "One.", unscored[0]),
        SentenceResult(5, 8, "两国。", unscored[1]),
    )
    assert (found.id, found.model_version) == ("s-1", "v1")
    assert found.summary == {"partnership": LabelSummary([0, 1], 2, 0.9)}
    sent = {"text": "One. 两国。", "evidence": True, "id": "s-1"}
    assert json.loads(bench.requests[0].content) == sent


def test_labels_are_read() -> None:
    label = {"id": "a", "name": "A", "definition": "What a is.", "threshold": 0.4}
    answer = {"model_version": "v1", "codebook_version": "1.0", "labels": [label]}
    bench = Bench([failed("overloaded"), httpx.Response(200, json=answer)])
    with bench.client() as client:
        found = client.labels()
    assert found == LabelsResult("v1", "1.0", (LabelInfo("a", "A", "What a is.", 0.4),))
    assert (bench.requests[0].method, bench.requests[0].url.path) == ("GET", "/v1/labels")


def test_the_async_client_asks_for_the_rest_too() -> None:
    answer = {"model_version": "v1", "codebook_version": "1.0", "labels": []}
    statement: dict[str, Any] = {"id": None, "model_version": "v1", "sentences": [], "summary": {}}
    bench = Bench([httpx.Response(200, json=body) for body in (answer, statement)])
    bench.script.append(httpx.Response(200, json={"status": "ready", "model_version": "v1"}))

    async def ask() -> None:
        async with bench.async_client() as client:
            assert (await client.labels()).labels == ()
            assert (await client.classify_statement("Text.")).summary == {}
            assert await client.ready() is True

    asyncio.run(ask())
    paths = [request.url.path for request in bench.requests]
    assert paths == ["/v1/labels", "/v1/statements", "/readyz"]


@pytest.mark.parametrize(
    ("step", "ready"),
    [
        (httpx.Response(200, json={"status": "ready", "model_version": "v1"}), True),
        (failed("not_ready"), False),
        (httpx.Response(503, html=PAGE), False),
        (httpx.ConnectError("refused"), False),
        (httpx.ReadTimeout("slow"), False),
    ],
)
def test_ready_tells_at_once(step: httpx.Response | Exception, ready: bool) -> None:
    bench = Bench([step])
    with bench.client() as client:
        assert client.ready() is ready
    assert (len(bench.requests), bench.slept) == (1, [])


def test_ready_raises_where_another_answers() -> None:
    client = Bench([httpx.Response(200, html=PAGE)]).client()
    with client, pytest.raises(ServiceError, match="gave status 200 and no answer"):
        client.ready()


def test_a_base_url_may_have_a_path() -> None:
    bench = Bench()
    transport = httpx.MockTransport(bench.handle)
    with Client("https://host.test/phrases/", transport=transport) as client:
        client.classify(["x"])
    assert str(bench.requests[0].url) == "https://host.test/phrases/v1/classify"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_url": "localhost:8000"}, r"base_url: found 'localhost:8000'; must be like http://"),
        ({"base_url": "http://host:http"}, r"base_url: found 'http://host:http'; must be like"),
        ({"base_url": "http://[::1"}, r"base_url: found 'http://\[::1'; must be like"),
        ({"base_url": "http://me:pw@host"}, r"base_url: found a user, a query or a fragment in it"),
        ({"base_url": "http://host?a=1"}, r"base_url: found a user, a query or a fragment in it"),
        ({"batch_size": 0, "timeout_s": -1}, r"^batch_size: found 0; timeout_s: found -1; must be"),
        ({"api_key": "s3cret\n"}, r"^api_key: found 7 characters, of which some do not print"),
        ({"api_key": ""}, r"^api_key: found 0 characters"),
    ],
)
def test_settings_that_cannot_be_used(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as e:
        Client(**options)
    assert "s3cret" not in str(e.value)
    with pytest.raises(SettingsError, match=message):
        AsyncClient(**options)


def test_bounds_of_retry_and_concurrency() -> None:
    with pytest.raises(SettingsError, match=r"^attempts: found 0; deadline_s: found nan; must be"):
        Retry(attempts=0, deadline_s=float("nan"))
    with pytest.raises(SettingsError, match=r"^concurrency: found 0; must be above 0\.$"):
        AsyncClient(concurrency=0)


def test_errors_travel_between_processes() -> None:
    call = Call("GET", f"{URL}/v1/labels")
    error = failure_of(call, Answer(429, failed("overloaded").content), 2)
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.kind, copy.status, copy.message) == ("overloaded", 429, error.message)


def test_without_httpx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("client", "client_async", "client_network", "client_sync"):
        monkeypatch.delitem(sys.modules, f"diplophrase.{name}")
    monkeypatch.setitem(sys.modules, "httpx", None)
    message = r"diplophrase.client needs the package httpx.*pip install 'diplophrase\[client\]'"
    with pytest.raises(MissingExtra, match=message):
        importlib.import_module("diplophrase.client")


def test_versions_are_read_and_promoted() -> None:
    row = {"version": "v1", "state": "whole", "reason": None, "created": "2026-11-22"}
    row |= {"metrics": {"macro_f1": 0.5}, "current": True, "serving": False, "new": 1}
    listed = {"serving": "v0", "current": "v1", "refused": "It is spoilt.", "versions": [row]}
    promoted = {"model_version": "v1", "previous": "v0", "verdict": "fail", "reasons": ["slow"]}
    info = ModelInfo("v1", "whole", None, "2026-11-22", {"macro_f1": 0.5}, True, False)

    def script() -> list[httpx.Response | Exception]:
        return [
            httpx.Response(200, json=listed),
            failed("not_ready"),
            httpx.Response(200, json=promoted),
        ]

    bench = Bench(script())
    with bench.client(api_key="s3cret") as client:
        assert client.models() == ModelsResult("v0", "v1", "It is spoilt.", (info,))
        assert client.promote("v1") == PromoteResult("v1", "v0", "fail", ("slow",))

    async def ask(bench: Bench) -> tuple[ModelsResult, PromoteResult]:
        async with bench.async_client(api_key="s3cret") as client:
            return await client.models(), await client.promote("v1", force="x")

    again = Bench(script())
    assert asyncio.run(ask(again)) == (
        ModelsResult("v0", "v1", "It is spoilt.", (info,)),
        PromoteResult("v1", "v0", "fail", ("slow",)),
    )
    sent = [(request.method, request.url.path) for request in again.requests]
    assert sent == [("GET", "/v1/models")] + [("POST", "/v1/models/v1/promote")] * 2
    assert {request.headers["Authorization"] for request in again.requests} == {"Bearer s3cret"}
    assert [request.content for request in (bench.requests[-1], again.requests[-1])] == [
        b"",
        b'{"force": "x"}',
    ]


@pytest.mark.parametrize("version", ["", "..", "a/b", ".hidden", "v1\n", "x" * 101])
def test_what_is_no_name_of_a_version_is_not_sent(version: str) -> None:
    bench = Bench()
    with bench.client() as client, pytest.raises(InvalidRequest, match="must be a name that"):
        client.promote(version)
    assert bench.requests == []


def test_a_refused_promotion_says_why() -> None:
    with (
        Bench([failed("bundle_refused")]).client() as client,
        pytest.raises(ServiceError, match="Something is wrong") as e,
    ):
        client.promote("v1")
    assert (e.value.kind, e.value.status, e.value.exit_code) == ("bundle_refused", 409, 5)
