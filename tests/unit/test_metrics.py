"""Each figure of `GET /metrics` after what it counts has happened."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from serving.metrics import Metrics, add_metrics


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"diplophrase_{name}", labels)


def test_requests_are_counted_by_route_method_and_status() -> None:
    metrics = Metrics()
    for status in (200, 200, 422):
        metrics.requested(route="/v1/classify", method="POST", status=status, seconds=0.02)
    metrics.requested(route="/healthz", method="GET", status=200, seconds=0.5)
    counted = {
        (route, status): value(metrics, "requests_total", route=route, method=method, status=status)
        for route, method, status in [
            ("/v1/classify", "POST", "200"),
            ("/v1/classify", "POST", "422"),
            ("/healthz", "GET", "200"),
            ("/healthz", "GET", "422"),
        ]
    }
    assert counted == {
        ("/v1/classify", "200"): 2,
        ("/v1/classify", "422"): 1,
        ("/healthz", "200"): 1,
        ("/healthz", "422"): None,
    }
    assert value(metrics, "request_seconds_sum", route="/v1/classify") == pytest.approx(0.06)
    assert value(metrics, "request_seconds_bucket", route="/v1/classify", le="0.01") == 0
    assert value(metrics, "request_seconds_bucket", route="/v1/classify", le="0.025") == 3
    assert value(metrics, "request_seconds_bucket", route="/healthz", le="0.25") == 0
    assert value(metrics, "request_seconds_bucket", route="/healthz", le="0.5") == 1


def test_a_batch_gives_its_waits_its_time_and_its_size() -> None:
    metrics = Metrics()
    metrics.tokenised(0.004)
    metrics.batch_ran(waits_s=[0.25, 0.5, 0.25], padded_tokens=120, inference_s=0.125)
    metrics.batch_ran(waits_s=[0.0], padded_tokens=9, inference_s=0.0625)
    sums = {
        name: (value(metrics, f"{name}_count"), value(metrics, f"{name}_sum"))
        for name in (
            "tokenise_seconds",
            "queue_seconds",
            "inference_seconds",
            "batch_texts",
            "batch_padded_tokens",
        )
    }
    assert sums == {
        "tokenise_seconds": (1, 0.004),
        "queue_seconds": (4, 1.0),
        "inference_seconds": (2, 0.1875),
        "batch_texts": (2, 4),
        "batch_padded_tokens": (2, 129),
    }
    assert value(metrics, "batch_texts_bucket", le="2.0") == 1
    assert value(metrics, "batch_texts_bucket", le="4.0") == 2
    assert value(metrics, "batch_padded_tokens_bucket", le="64.0") == 1
    assert value(metrics, "batch_padded_tokens_bucket", le="128.0") == 2


def test_gauges_are_read_when_asked_and_from_the_last_engine() -> None:
    metrics = Metrics()
    assert (value(metrics, "queue_depth"), value(metrics, "texts_in_flight")) == (0, 0)
    waiting = ["a", "b"]
    metrics.watch(waiting=lambda: len(waiting), in_flight=lambda: 7, runners=lambda: 2)
    assert (value(metrics, "queue_depth"), value(metrics, "texts_in_flight")) == (2, 7)
    assert value(metrics, "runners_alive") == 2
    waiting.append("c")
    assert value(metrics, "queue_depth") == 3
    metrics.watch(waiting=lambda: 0, in_flight=lambda: 1, runners=lambda: 1)
    assert (value(metrics, "queue_depth"), value(metrics, "texts_in_flight")) == (0, 1)
    assert value(metrics, "runners_alive") == 1


def test_a_refused_model_shows_until_it_is_not() -> None:
    metrics = Metrics()
    seen = [value(metrics, "model_refused")]
    for refused in (True, False):
        metrics.model_refused(refused)
        seen.append(value(metrics, "model_refused"))
    assert seen == [0, 1, 0]


def test_labels_of_the_model_start_at_zero_and_count_each_time_they_are_given() -> None:
    metrics = Metrics()
    metrics.model_in_use("v1", ["support", "warning", "protest"])
    metrics.labels_given(["support", "warning", "support"])
    metrics.labels_given(iter(["support"]))
    given = {
        label: value(metrics, "labels_given_total", label=label)
        for label in ("support", "warning", "protest", "unknown")
    }
    assert given == {"support": 3, "warning": 1, "protest": 0, "unknown": None}


def test_one_version_is_in_use_at_a_time() -> None:
    metrics = Metrics()
    metrics.model_in_use("v1", [])
    metrics.model_in_use("v2", [])
    assert value(metrics, "model_info", version="v1") is None
    assert value(metrics, "model_info", version="v2") == 1


def test_failed_loads_are_counted_and_the_last_outcome_shows() -> None:
    metrics = Metrics()
    seen = [_loads(metrics)]
    with metrics.loading():
        pass
    seen.append(_loads(metrics))
    for _ in range(2):
        with pytest.raises(ValueError, match="not whole"), metrics.loading():
            raise ValueError("not whole")
        seen.append(_loads(metrics))
    with metrics.loading():
        pass
    seen.append(_loads(metrics))
    assert seen == [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1)]


def _loads(metrics: Metrics) -> tuple[float | None, float | None]:
    return value(metrics, "model_load_failures_total"), value(metrics, "model_last_load_ok")


def test_the_address_answers_in_the_text_format() -> None:
    metrics, app = Metrics(), FastAPI()
    add_metrics(app, metrics)
    metrics.model_in_use("v1", ["support"])
    metrics.requested(route="/healthz", method="GET", status=200, seconds=0.5)
    answer = TestClient(app).get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    lines = answer.text.splitlines()
    expected = {
        'diplophrase_requests_total{method="GET",route="/healthz",status="200"} 1.0',
        'diplophrase_request_seconds_sum{route="/healthz"} 0.5',
        'diplophrase_model_info{version="v1"} 1.0',
        'diplophrase_labels_given_total{label="support"} 0.0',
        "diplophrase_queue_depth 0.0",
        "diplophrase_batch_texts_count 0.0",
    }
    assert expected - set(lines) == set()


def test_two_applications_share_no_figure() -> None:
    first, second = Metrics(), Metrics()
    first.tokenised(1.0)
    counts = [value(metrics, "tokenise_seconds_count") for metrics in (first, second)]
    assert counts == [1, 0]
