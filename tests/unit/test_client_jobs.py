"""The clients' calls for jobs and rollbacks: what is sent, what is read, what is not sent twice."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from client_fixtures import Bench, failed

from diplophrase.client import JobProgress, JobResult, PromoteResult, ServiceError

JOB = {
    "id": "20261122-080000-0123abcd",
    "kind": "train",
    "options": {"fast": True},
    "state": "running",
    "by": "key 1 ada",
    "created": "2026-11-22T08:00:00Z",
    "ended": None,
    "exit_code": None,
    "error": None,
    "progress": {"fraction": 0.5, "stage": "fold 1 of 2", "step": 3, "of": 4, "loss": 1.0},
    "result": None,
}
MOVED = {"model_version": "v0", "previous": "v1", "verdict": "not compared", "reasons": []}


def script() -> list[httpx.Response | Exception]:
    return [
        httpx.Response(200, json=JOB),
        httpx.Response(200, json={"jobs": [JOB]}),
        httpx.Response(200, json={**JOB, "state": "done", "result": {"model_version": "v2"}}),
        httpx.Response(200, text="step 1\n"),
        httpx.Response(200, json={**JOB, "state": "cancelling"}),
        httpx.Response(200, json=MOVED),
    ]


def ask_sync(bench: Bench) -> list[Any]:
    with bench.client(api_key="s3cret") as client:
        started = client.start_job("train", fast=True)
        return [
            started,
            client.jobs(),
            client.job(started.id),
            client.job_log(started.id),
            client.cancel_job(started.id),
            client.rollback(),
        ]


def ask_async(bench: Bench) -> list[Any]:
    async def ask() -> list[Any]:
        async with bench.async_client(api_key="s3cret") as client:
            started = await client.start_job("train", fast=True)
            return [
                started,
                await client.jobs(),
                await client.job(started.id),
                await client.job_log(started.id),
                await client.cancel_job(started.id),
                await client.rollback(),
            ]

    return asyncio.run(ask())


@pytest.mark.parametrize("ask", [ask_sync, ask_async], ids=["sync", "async"])
def test_jobs_are_started_read_and_ended(ask: Any) -> None:
    bench = Bench(script())
    started, listed, done, log, cancelled, moved = ask(bench)
    assert started == JobResult.model_validate(JOB)
    assert started.progress == JobProgress(fraction=0.5, stage="fold 1 of 2", step=3, of=4)
    assert listed == [started]
    assert (done.state, done.result) == ("done", {"model_version": "v2"})
    assert (log, cancelled.state) == ("step 1\n", "cancelling")
    assert moved == PromoteResult("v0", "v1", "not compared", ())
    path = f"/v1/jobs/{JOB['id']}"
    assert [(request.method, request.url.path) for request in bench.requests] == [
        ("POST", "/v1/jobs"),
        ("GET", "/v1/jobs"),
        ("GET", path),
        ("GET", f"{path}/log"),
        ("DELETE", path),
        ("POST", "/v1/models/rollback"),
    ]
    sent = json.loads(bench.requests[0].content)
    assert sent == {"kind": "train", "options": {"fast": True}}
    assert {request.headers["Authorization"] for request in bench.requests} == {"Bearer s3cret"}


@pytest.mark.parametrize("call", ["rollback", "start_job"])
def test_what_does_harm_if_done_twice_is_not_sent_again_when_a_connection_breaks(
    call: str,
) -> None:
    arguments = ["train"] if call == "start_job" else []
    bench = Bench([httpx.ReadError("broken")])
    with bench.client() as client, pytest.raises(ServiceError, match="it broke"):
        getattr(client, call)(*arguments)
    assert len(bench.requests) == 1
    answer = MOVED if call == "rollback" else JOB
    bench = Bench([failed("not_ready"), httpx.Response(200, json=answer)])
    with bench.client() as client:
        getattr(client, call)(*arguments)
    assert len(bench.requests) == 2  # the service had refused the first


def test_an_id_leads_nowhere_else() -> None:
    bench = Bench([failed("not_found")])
    with bench.client() as client, pytest.raises(ServiceError, match="Something is wrong"):
        client.job("../models")
    assert bench.requests[0].url.raw_path == b"/v1/jobs/..%2Fmodels"


@pytest.mark.parametrize("content", [{"jobs": 1}, {"id": 1}])
def test_what_is_no_job_is_refused(content: Any) -> None:
    for call in ("jobs", "job"):
        bench = Bench([httpx.Response(200, json=content)])
        with bench.client() as client, pytest.raises(ServiceError, match="no answer of the"):
            getattr(client, call)(*(["x"] if call == "job" else []))
