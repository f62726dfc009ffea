"""What the clients send, in which order, and when they send it again."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from client_fixtures import (
    PAGE,
    URL,
    Ask,
    Bench,
    both,
    classify_async,
    classify_sync,
    failed,
    labelled,
    result_of,
)

from diplophrase.client import Retry, ServiceError
from diplophrase.errors import Detail


@both
def test_results_are_in_order_over_several_batches(ask: Ask) -> None:
    bench, texts = Bench(), [f"text {number}" for number in range(7)]
    assert ask(bench, texts, batch_size=3) == [result_of(text) for text in texts]
    sent = [json.loads(request.content) for request in bench.requests]
    assert [asked["texts"] for asked in sent] == [texts[:3], texts[3:6], texts[6:]]
    assert sent[0] == {"texts": texts[:3], "evidence": True, "scores": True}


def test_no_texts_make_no_request() -> None:
    bench = Bench()
    with bench.client() as client:
        found = client.classify([])
    assert (len(found), found.model_versions, bench.requests) == (0, (), [])


def test_the_key_and_the_name_of_the_client_are_sent() -> None:
    bench = Bench()
    with bench.client(api_key="s3cret") as client:
        client.classify(["x"])
    headers = bench.requests[0].headers
    assert headers["Authorization"] == "Bearer s3cret"
    assert headers["User-Agent"].startswith("diplophrase/")
    assert headers["Content-Type"] == "application/json"


def test_a_swap_of_the_model_between_two_requests_shows() -> None:
    bench = Bench()
    versions = iter(["v1", "v1", "v2"])
    bench.handle = lambda request: labelled(request, next(versions))  # type: ignore[method-assign]
    with bench.client(batch_size=1) as client:
        assert client.classify(["a", "b", "c"]).model_versions == ("v1", "v2")


def test_no_more_than_concurrency_requests_are_in_flight() -> None:
    """Ten requests start; each answers only when no other can start any more."""
    in_flight, most, ended = 0, 0, []

    async def handle(request: httpx.Request) -> httpx.Response:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        [text] = json.loads(request.content)["texts"]
        for _ in range(20 if text == "0" else 5):  # the first answers late
            await asyncio.sleep(0)
        in_flight -= 1
        ended.append(text)
        return labelled(request)

    texts = [str(number) for number in range(10)]
    options: dict[str, Any] = {"batch_size": 1, "concurrency": 3}
    found = classify_async(Bench(), texts, transport=httpx.MockTransport(handle), **options)
    assert [hit.attributes["tier"] for result in found for hit in result.labels] == texts
    assert ended[0] != "0"
    assert most == 3


@both
def test_the_waits_double_up_to_the_longest(ask: Ask) -> None:
    bench = Bench(
        [failed("overloaded"), failed("not_ready"), failed("bundle"), failed("overloaded")]
    )
    retry = Retry(first_s=1.0, longest_s=3.0)
    assert ask(bench, ["x"], retry=retry) == [result_of("x")]
    assert bench.slept == [0.5, 1.0, 1.5, 1.5]


@both
def test_retry_after_is_waited_for_and_jitter_comes_on_top(ask: Ask) -> None:
    bench = Bench([failed("overloaded", Retry_After="7"), failed("overloaded", Retry_After="2")])
    assert ask(bench, ["x"], retry=Retry(first_s=1.0)) == [result_of("x")]
    assert bench.slept == [7.5, 3.0]


@both
def test_a_connection_that_breaks_is_tried_again(ask: Ask) -> None:
    lost = [httpx.ConnectError("refused"), httpx.ReadError("reset"), httpx.ConnectTimeout("slow")]
    bench = Bench([*lost, httpx.RemoteProtocolError("hung up")])
    assert ask(bench, ["x"], retry=Retry(first_s=0.2)) == [result_of("x")]
    assert bench.slept == pytest.approx([0.1, 0.2, 0.4, 0.8])


@both
def test_after_the_last_attempt_the_last_error_is_raised(ask: Ask) -> None:
    bench = Bench([failed("overloaded"), httpx.ConnectError("refused"), failed("not_ready")])
    with pytest.raises(
        ServiceError, match=r"^Something is wrong. \(The last of 3 attempts.\)$"
    ) as e:
        ask(bench, ["x"], retry=Retry(attempts=3))
    assert (e.value.kind, e.value.status, e.value.exit_code) == ("not_ready", 503, 5)
    assert len(bench.slept) == 2


@both
def test_a_service_that_is_not_there_is_named(ask: Ask) -> None:
    bench = Bench([httpx.ConnectError("refused"), httpx.ConnectError("refused again")])
    message = (
        r"^POST http://service.test/v1/classify: no connection, or it broke \(refused again\). "
        r"Is the service running\? `diplophrase serve` starts one. \(The last of 2 attempts.\)$"
    )
    with pytest.raises(ServiceError, match=message) as e:
        ask(bench, ["x"], retry=Retry(attempts=2))
    assert (e.value.kind, e.value.status, e.value.exit_code) == ("unreachable", 0, 9)


@both
def test_a_refused_request_is_not_sent_again_and_its_details_count_in_the_whole_list(
    ask: Ask,
) -> None:
    blank = Detail("texts", "5001 characters", "at most 5000 characters a text", 1)
    bench = Bench([failed("invalid_request", blank, Detail("body", "9", "a rule"))])
    bench.script.insert(0, labelled(httpx.Request("POST", URL, content=_asking("a", "b"))))
    message = r"^Something is wrong. \(In the request with texts\[2:4\], counted from its first.\)$"
    with pytest.raises(ServiceError, match=message) as e:
        ask(bench, ["a", "b", "c", "d", "e"], batch_size=2, **_one_by_one(ask))
    assert (e.value.kind, e.value.status, e.value.exit_code) == ("invalid_request", 422, 2)
    assert e.value.details == [
        Detail("texts", "5001 characters", "at most 5000 characters a text", 3),
        Detail("body", "9", "a rule"),
    ]
    assert (len(bench.requests), bench.slept) == (2, [])


def _asking(*texts: str) -> bytes:
    return json.dumps({"texts": texts, "scores": True}).encode()


def _one_by_one(ask: Ask) -> dict[str, int]:
    return {"concurrency": 1} if ask is classify_async else {}


@pytest.mark.parametrize("status", [400, 401, 404, 413, 500, 502, 504])
def test_other_failures_are_not_tried_again(status: int) -> None:
    body = {"error": {"kind": "of_tomorrow", "message": "No.", "details": []}}
    bench = Bench([httpx.Response(status, json=body)])
    with pytest.raises(ServiceError, match=r"^No\.$") as e:
        classify_sync(bench, ["x"])
    assert (e.value.kind, e.value.status, e.value.exit_code) == ("of_tomorrow", status, 1)
    assert bench.slept == []


@both
def test_the_page_of_a_proxy_is_no_answer(ask: Ask) -> None:
    bench = Bench([httpx.Response(502, html=PAGE)])
    message = (
        r"^POST http://service.test/v1/classify gave status 502 and no answer of the diplophrase "
        r"service \(text/html; charset=utf-8, 56 bytes: "
        r"'<html><head><title>502 Bad Gateway</title></head></html>'\). "
        r"Check base_url, the service's version and any proxy before it.$"
    )
    with pytest.raises(ServiceError, match=message) as e:
        ask(bench, ["x"])
    assert (e.value.kind, e.value.status) == ("bad_answer", 502)


@both
def test_no_wait_outlasts_the_deadline(ask: Ask) -> None:
    bench = Bench([failed("overloaded"), failed("overloaded", Retry_After="7")], attempt_s=2.0)
    message = (
        r"^Attempt 3 would start after the deadline of 10 s. The last failure: "
        r"Something is wrong. \(The last of 2 attempts.\)$"
    )
    with pytest.raises(ServiceError, match=message) as e:
        ask(bench, ["x"], retry=Retry(first_s=1.0, deadline_s=10.0))
    assert (e.value.kind, e.value.status, e.value.exit_code) == ("deadline", 429, 9)
    assert isinstance(e.value.__cause__, ServiceError)
    assert e.value.__cause__.kind == "overloaded"
    assert bench.slept == [0.5]  # 2.0 + 0.5 + 2.0 s are gone, 5.5 s are left, 8.0 s were wanted


@both
def test_an_answer_that_takes_too_long_is_not_asked_for_again(ask: Ask) -> None:
    bench = Bench([httpx.ReadTimeout("timed out")])
    with pytest.raises(ServiceError, match=r"no answer in time \(timed out\)") as e:
        ask(bench, ["x"])
    assert (e.value.kind, bench.slept) == ("deadline", [])


def test_the_async_client_bounds_an_attempt_as_a_whole() -> None:
    async def handle(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()  # for ever
        raise AssertionError

    with pytest.raises(ServiceError, match=r"no answer in time \(ReadTimeout\)"):
        classify_async(Bench(), ["x"], transport=httpx.MockTransport(handle), timeout_s=0.001)
