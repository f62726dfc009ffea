"""Ten thousand bodies that no client should send: each is answered, in time, in the one form."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter

import httpx
import pytest

from diplophrase.client import Client
from diplophrase.errors import KINDS
from diplophrase.settings import Settings
from serving.schemas import ErrorResponse
from tests.e2e.in_process import Reply, ask, running_app
from tests.e2e.malformed import bodies
from tests.e2e.server import ROOT, Server

COUNT = 10_000
SEED = 4
MOST_ERROR_BYTES = 400_000
MOST_SECONDS = 10  # of processor time, so that a busy machine does not count; 30 is the deadline
SETTINGS = Settings(models=ROOT / "models", deadline_s=600)


def fault_of(status: int, body: bytes) -> str | None:
    """Return what is wrong with an answer to a body that may be bad, None if nothing is."""
    if status == 200:
        return None if json.loads(body)["model_version"] else "no model_version"
    if not 400 <= status < 500:
        return f"status {status}: {body[:300]!r}"
    if len(body) > MOST_ERROR_BYTES:
        return f"an error of {len(body)} bytes"
    error = ErrorResponse.model_validate_json(body, extra="forbid").error
    known = KINDS.get(error.kind, (0, 0))[0] == status and error.message
    return None if known else f"status {status} with {body[:300]!r}"


def test_ten_thousand_bodies_in_process() -> None:
    async def send_all() -> tuple[list[str], Counter[int]]:
        faults, statuses = [], Counter[int]()
        async with running_app(SETTINGS) as app:
            for number, (kind, path, body) in enumerate(bodies(COUNT, SEED)):
                begun = time.process_time()
                reply = await ask(app, path, [body])
                seconds = time.process_time() - begun
                statuses[reply.status] += 1
                fault = fault_of(reply.status, reply.body)
                if fault is None and seconds > MOST_SECONDS:
                    fault = f"{seconds:.1f} s"
                if fault:
                    faults.append(f"{number} {kind} {path}: {fault}")
        return faults, statuses

    faults, statuses = asyncio.run(send_all())
    assert faults == []
    assert sum(statuses.values()) == COUNT
    assert {200, 400, 413, 422} <= set(statuses)  # the bodies reach every check
    assert min(statuses[status] for status in (200, 400, 422)) > 500


def test_some_hundred_bodies_through_the_real_server(server: Server, client: Client) -> None:
    faults = []
    with httpx.Client(base_url=server.url, timeout=60) as http:
        for number, (kind, path, body) in enumerate(bodies(500, SEED + 1)):
            answer = http.post(path, content=body, headers={"content-type": "application/json"})
            if fault := fault_of(answer.status_code, answer.content):
                faults.append(f"{number} {kind} {path}: {fault}")
    assert faults == []
    assert len(client.classify(["Peace."])) == 1


@pytest.mark.parametrize(
    ("body", "status", "kind", "message"),
    [
        (
            b"[" * 50_000,
            400,
            "invalid_json",
            "The body is not JSON (it is nested too deeply). Send a JSON object.",
        ),
        (
            b'{"texts": ["\xff"]}',
            400,
            "invalid_json",
            "The body is not JSON (it is not UTF-8). Send a JSON object.",
        ),
        (
            b'{"texts": [' + b"9" * 5000 + b"]}",
            400,
            "invalid_json",
            "The body is not JSON (a number in it has too many digits). Send a JSON object.",
        ),
        (
            json.dumps({"texts": [0] * 300_000}).encode(),
            422,
            "invalid_request",
            "The request cannot be read: texts: must hold 10000 items at most.",
        ),
        (
            json.dumps({str(number): 0 for number in range(101)}).encode(),
            422,
            "invalid_request",
            "The request cannot be read: body: must hold 100 fields at most.",
        ),
        (
            json.dumps({"texts": ["\u200b\ufeff\u202e"]}).encode(),
            422,
            "invalid_request",
            "texts[0]: found 3 blank characters; a text has a visible character.",
        ),
    ],
)
def test_what_is_wrong_is_said(body: bytes, status: int, kind: str, message: str) -> None:
    reply = asyncio.run(_ask_once(body))
    error = json.loads(reply.body)["error"]
    assert (reply.status, error["kind"], error["message"]) == (status, kind, message)


def test_every_bad_item_up_to_a_thousand_is_listed() -> None:
    error = json.loads(asyncio.run(_ask_once(json.dumps({"texts": [0] * 1200}).encode())).body)
    assert len(error["error"]["details"]) == 1000
    assert error["error"]["message"].endswith("texts[4]: must be a string and 1195 more.")


def test_a_body_that_turns_out_too_large_is_named_so() -> None:
    reply = asyncio.run(_ask_once(*[b"x" * 100_000] * 30, declared=False))
    error = json.loads(reply.body)["error"]
    assert (reply.status, error["kind"]) == (413, "body_too_large")
    assert error["message"] == (
        "The body has 2100000 bytes or more; 2000000 are allowed. Send fewer texts at a time."
    )


def test_a_body_that_is_not_said_to_be_json_is_not_repeated(server: Server) -> None:
    answer = httpx.post(
        f"{server.url}/v1/classify",
        content=b'{"texts": ["a secret"]}',
        headers={"content-type": "text/plain"},
    )
    error = answer.json()["error"]
    assert error["message"] == (
        "The request cannot be read: body: must be a JSON object, sent with the header "
        "'Content-Type: application/json'."
    )
    assert error["details"][0]["found"] == "a body of 23 bytes that is not said to be JSON"


def test_a_statement_of_more_sentences_than_fit_is_not_asked_for_again(server: Server) -> None:
    answer = httpx.post(f"{server.url}/v1/statements", json={"text": "One.\n" * 9000}, timeout=60)
    assert (answer.status_code, answer.json()["error"]["message"]) == (
        422,
        "The request holds 9000 texts or sentences; the service takes at most 8192 at a time. "
        "Send it in parts.",
    )


async def _ask_once(*chunks: bytes, declared: bool = True) -> Reply:
    async with running_app(SETTINGS) as app:
        return await ask(app, "/v1/classify", chunks, declared=declared)
