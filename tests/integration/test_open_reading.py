"""What is open without a key, and what is not, by the setting `open_reading`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from diplophrase.settings import Settings
from serving.app import create_app
from serving.keys import create_key
from tests.integration.conftest import ROOT

OPEN = ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def closed(keys: Path) -> Iterator[TestClient]:
    settings = Settings(models=ROOT / "models", keys=keys, open_reading=False)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def calls_of(client: TestClient) -> list[tuple[str, str]]:
    """Return the method and the path of every call under /v1."""
    paths = client.get("/openapi.json").json()["paths"]
    calls = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    return [(method, path) for method, path in calls if path.startswith("/v1/")]


def test_closed_reading_asks_for_a_key_at_every_call(closed: TestClient, keys: Path) -> None:
    create_key(keys, "archive")
    calls = calls_of(closed)
    assert {"/v1/classify", "/v1/statements", "/v1/labels"} <= {path for _, path in calls}
    answers = {call: closed.request(*call, json={}) for call in calls}
    statuses = {call: answer.status_code for call, answer in answers.items()}
    assert statuses == dict.fromkeys(calls, 401)
    reason = answers["GET", "/v1/labels"].json()["error"]["message"]
    assert reason.startswith("This call needs an API key and carries no key.")


def test_a_key_opens_closed_reading(closed: TestClient, keys: Path) -> None:
    _, secret = create_key(keys, "archive")
    given = {"Authorization": f"Bearer {secret}"}
    answer = closed.post("/v1/classify", json={"texts": ["A text."]}, headers=given)
    assert (answer.status_code, len(answer.json()["results"])) == (200, 1)


def test_operations_stay_open(closed: TestClient) -> None:
    assert {path: closed.get(path).status_code for path in OPEN} == dict.fromkeys(OPEN, 200)


def test_routes_under_v1_keep_their_names_in_the_metrics(client: TestClient) -> None:
    client.get("/v1/labels")
    assert 'diplophrase_requests_total{method="GET",route="/v1/labels"' in (
        client.get("/metrics").text
    )


def test_no_origin_may_read_answers_by_default(client: TestClient) -> None:
    answer = client.get("/v1/labels", headers={"Origin": "https://example.org"})
    assert "access-control-allow-origin" not in answer.headers
