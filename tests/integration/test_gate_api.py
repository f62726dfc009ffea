"""The gate over HTTP: a worse version is refused, forced, and taken back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from diplophrase import compare as comparing
from diplophrase.bundle import current_bundle
from diplophrase.promotions import read_promotions
from diplophrase.settings import Settings
from diplophrase.speed import Speed
from serving.app import create_app
from serving.keys import create_key
from tests.versions import measured_version, miss

LABEL = "commemoration"


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(comparing, "measure_speed", lambda *_: Speed(100.0, 100.0, 1.0, 5))
    folder = tmp_path / "models"
    for version in ("old", "new"):
        measured_version(folder, version)
    measured_version(folder, "worse", miss(LABEL, 0.3))
    (folder / "CURRENT").write_text("old\n")
    return folder


@pytest.fixture
def client(models: Path) -> Iterator[TestClient]:
    keys = models.parent / "keys.json"
    record, secret = create_key(keys, "operator")
    app = create_app(Settings(models=models, keys=keys, model_poll_s=3600, deadline_s=120))
    with TestClient(app, raise_server_exceptions=False) as client:
        client.headers["Authorization"] = f"Bearer {secret}"
        client.headers["X-Key"] = record.id  # for the tests alone
        yield client


def post(client: TestClient, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
    answer = client.post(f"/v1/models/{path}", **({"json": body} if body else {}))
    found = answer.json()
    return answer.status_code, found.get("error", found)


def serving(client: TestClient) -> tuple[str, str]:
    found = client.get("/v1/models").json()
    return found["serving"], found["current"]


def test_a_version_as_good_serves_and_the_one_before_comes_back(
    client: TestClient, models: Path
) -> None:
    moved = {"model_version": "new", "previous": "old", "verdict": "pass", "reasons": []}
    assert post(client, "new/promote") == (200, moved)
    assert serving(client) == ("new", "new")
    back = {"model_version": "old", "previous": "new", "verdict": "not compared", "reasons": []}
    assert post(client, "rollback") == (200, back)
    assert serving(client) == ("old", "old")
    status, error = post(client, "rollback")
    assert (status, error["kind"]) == (409, "conflict")
    assert serving(client) == ("old", "old")
    by = f"key {client.headers['X-Key']} operator"
    assert [(row.action, row.by) for row in read_promotions(models)] == [
        ("promote", by),
        ("rollback", by),
    ]


def test_a_worse_version_is_refused_with_every_reason_unless_forced(
    client: TestClient, models: Path
) -> None:
    status, error = post(client, "worse/promote")
    assert (status, error["kind"]) == (409, "gate_refused")
    fields = ["macro-F1", f"recall of {LABEL}"]
    assert [detail["field"] for detail in error["details"]] == fields
    assert all(detail["rule"] and detail["found"] for detail in error["details"])
    assert serving(client) == ("old", "old")
    status, moved = post(client, "worse/promote", force="the old one is wrong")
    assert (status, moved["verdict"]) == (200, "fail")
    assert [reason.partition(":")[0] for reason in moved["reasons"]] == fields
    assert serving(client) == ("worse", "worse")
    assert [(row.outcome, row.forced) for row in read_promotions(models)] == [
        ("refused", None),
        ("promoted", "the old one is wrong"),
    ]


@pytest.mark.parametrize("force", ["", "   ", 7, "x" * 1001])
def test_a_reason_is_some_words(client: TestClient, models: Path, force: Any) -> None:
    status, error = post(client, "worse/promote", force=force)
    assert (status, error["details"][0]["field"]) == (422, "force")
    assert current_bundle(models).name == "old"
    assert read_promotions(models) == []


def test_going_back_needs_a_key(client: TestClient, models: Path) -> None:
    assert post(client, "new/promote")[0] == 200
    del client.headers["Authorization"]
    status, error = post(client, "rollback")
    assert (status, error["kind"]) == (401, "unauthorized")
    assert current_bundle(models).name == "new"


def test_going_back_to_a_broken_version_is_refused(client: TestClient, models: Path) -> None:
    assert post(client, "new/promote")[0] == 200
    (models / "old" / "tokenizer.json").unlink()
    status, error = post(client, "rollback")
    assert (status, error["kind"]) == (409, "bundle_refused")
    assert error["message"].endswith("new serves on.")
    assert serving(client) == ("new", "new")


def test_a_log_that_cannot_be_read_stops_going_back_alone(client: TestClient, models: Path) -> None:
    (models / "promotions.jsonl").write_text("what?\n")
    status, error = post(client, "rollback")
    assert (status, error["kind"]) == (507, "storage")
    assert "promotions.jsonl, line 1 is no decision" in error["message"]
    assert post(client, "new/promote")[0] == 200
