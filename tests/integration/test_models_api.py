"""The versions over HTTP: what is listed, what is promoted, what is refused."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from diplophrase import bundle as bundle_module
from diplophrase.bundle import current_bundle, set_current
from diplophrase.promotions import read_promotions
from diplophrase.settings import Settings
from serving import models as models_module
from serving.app import create_app
from serving.keys import create_key
from tests.integration.test_swap import TEXT, add_version


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    for version in ("old", "new"):
        add_version(folder, version)
    set_current(folder, "old")
    return folder


@pytest.fixture
def client(models: Path) -> Iterator[TestClient]:
    """A client whose key is in force; the service looks at CURRENT only when it is told to."""
    keys = models.parent / "keys.json"
    _, secret = create_key(keys, "operator")
    app = create_app(Settings(models=models, keys=keys, model_poll_s=3600, deadline_s=120))
    with TestClient(app, raise_server_exceptions=False) as client:
        client.headers["Authorization"] = f"Bearer {secret}"
        yield client


def answering(client: TestClient) -> str:
    answer = client.post("/v1/classify", json={"texts": [TEXT]})
    assert answer.status_code == 200, answer.text
    version: str = answer.json()["model_version"]
    return version


def promote(client: TestClient, version: str) -> tuple[int, dict[str, Any]]:
    """Promote without regard to the gate; return the status and what it says of the swap."""
    answer = client.post(f"/v1/models/{version}/promote", json={"force": "a test"})
    body = answer.json()
    moved = {name: body[name] for name in ("model_version", "previous") if name in body}
    return answer.status_code, body.get("error", moved)


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[1000] ^= 1
    file.write_bytes(content)


def add_short_version(models: Path) -> None:
    """Publish a version that has a label less than its network."""
    staged = models / ".staged"
    shutil.copytree(models / "new", staged)
    config = json.loads((staged / "config.json").read_text(encoding="utf-8"))
    config |= {"labels": config["labels"][:-1], "model_version": "short"}
    (staged / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (staged / bundle_module.PREDICTIONS).unlink(missing_ok=True)
    bundle_module.save_bundle(models, staged, {})
    shutil.rmtree(staged)


def test_versions_are_listed_with_their_state_and_figures(client: TestClient, models: Path) -> None:
    add_version(models, "spoilt")
    flip_a_byte(models / "spoilt" / "model.onnx")
    (models / ".hidden").mkdir()
    (models / "new").rename(models / "renamed")
    answer = client.get("/v1/models").json()
    rows = {row.pop("version"): row for row in answer.pop("versions")}
    assert answer == {"serving": "old", "current": "old", "refused": None}
    assert list(rows) == ["old", "renamed", "spoilt"]
    metrics = rows["old"].pop("metrics")
    assert rows["old"] == {
        "state": "whole",
        "reason": None,
        "created": None,
        "current": True,
        "serving": True,
    }
    measured = json.loads((models / "old" / "metrics.json").read_text())["cross_validation"]
    assert metrics == {
        "macro_f1": measured["model"]["macro"]["f1"],
        "micro_f1": measured["model"]["micro"]["f1"],
        "exact_match": measured["model"]["exact_match"],
        "calibration_error": measured["calibration_error"],
        "evidence_f1": measured["evidence_f1"]["model"],
        "speaker_accuracy": measured["speaker_accuracy"],
    }
    assert (rows["spoilt"]["state"], rows["spoilt"]["metrics"]) == ("broken", {})
    assert "model.onnx differs from the sha256" in rows["spoilt"]["reason"]
    assert "holds the version 'new'" in rows["renamed"]["reason"]
    assert not rows["renamed"]["current"]


def test_versions_are_read_again_only_when_their_files_change(
    client: TestClient, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    read_version = models_module.read_version

    def counted(path: Path) -> Any:
        read.append(path.name)
        return read_version(path)

    monkeypatch.setattr(models_module, "read_version", counted)
    first = client.get("/v1/models").json()
    assert client.get("/v1/models").json() == first
    assert sorted(read) == ["new", "old"]
    flip_a_byte(models / "new" / "model.onnx")
    states = {row["version"]: row["state"] for row in client.get("/v1/models").json()["versions"]}
    assert states == {"new": "broken", "old": "whole"}
    assert sorted(read) == ["new", "new", "old"]
    shutil.rmtree(models)
    assert client.get("/v1/models").json() == {
        "serving": "old",
        "current": None,
        "refused": None,
        "versions": [],
    }


def test_a_promoted_version_answers_when_the_call_returns(client: TestClient, models: Path) -> None:
    assert answering(client) == "old"
    assert promote(client, "new") == (200, {"model_version": "new", "previous": "old"})
    assert answering(client) == "new"
    assert current_bundle(models).name == "new"
    assert client.get("/readyz").json()["model_version"] == "new"
    assert promote(client, "new") == (200, {"model_version": "new", "previous": "new"})
    assert promote(client, "old") == (200, {"model_version": "old", "previous": "new"})
    assert answering(client) == "old"


def test_promoting_needs_a_key(client: TestClient, models: Path) -> None:
    del client.headers["Authorization"]
    status, error = promote(client, "new")
    assert (status, error["kind"]) == (401, "unauthorized")
    assert (answering(client), current_bundle(models).name) == ("old", "old")


@pytest.mark.parametrize(
    ("version", "shown"),
    [
        ("none", "'none'"),
        (".staged", "'.staged'"),
        ("%2e%2e", "'..'"),
        ("%2E", "'.'"),
        ("CURRENT", "'CURRENT'"),
        ("new%00", r"'new\x00'"),
        ("new%0a", r"'new\n'"),
        ("x" * 101, "'" + "x" * 100 + "'"),
    ],
)
def test_a_version_that_is_not_there(
    client: TestClient, models: Path, version: str, shown: str
) -> None:
    (models / ".staged").mkdir()
    assert promote(client, version) == (
        404,
        {
            "kind": "not_found",
            "message": f"There is no version {shown}. `diplophrase models list` and GET "
            f"/v1/models give those there are.",
            "details": [],
        },
    )


@pytest.mark.parametrize("version", ["..%2fnew", "%2e%2e%2fmodels%2fnew", "new%2f..%2fnew", "a/b"])
def test_no_path_leads_anywhere(client: TestClient, models: Path, version: str) -> None:
    status, error = promote(client, version)
    assert (status, error["kind"]) == (404, "not_found")
    assert current_bundle(models).name == "old"


@pytest.mark.parametrize(
    ("harm", "version", "reason"),
    [
        ("flip", "new", "model.onnx differs from the sha256 in manifest.json."),
        ("remove", "new", "tokenizer.json is missing."),
        ("rename", "renamed", "holds the version 'new'. Versions are never renamed:"),
        ("labels", "short", "model.onnx gives 18 logits, config.json says 17"),
    ],
)
def test_a_broken_version_is_refused_and_the_old_one_serves_on(
    client: TestClient, models: Path, harm: str, version: str, reason: str
) -> None:
    if harm == "flip":
        flip_a_byte(models / "new" / "model.onnx")
    elif harm == "remove":
        (models / "new" / "tokenizer.json").unlink()
    elif harm == "rename":
        (models / "new").rename(models / "renamed")
    else:
        add_short_version(models)
    status, error = promote(client, version)
    assert (status, error["kind"]) == (409, "bundle_refused")
    assert reason in error["message"]
    assert error["message"].endswith(" old serves on.")
    assert (answering(client), current_bundle(models).name) == ("old", "old")
    assert client.get("/readyz").json()["refused_model"] is None  # CURRENT is as good as before


def test_the_serving_version_is_verified_too(client: TestClient, models: Path) -> None:
    flip_a_byte(models / "old" / "model.onnx")
    status, error = promote(client, "old")
    assert (status, error["kind"]) == (409, "bundle_refused")
    assert answering(client) == "old"


def test_a_full_disk_leaves_everything_as_it_was(
    client: TestClient, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(bundle_module.os, "fsync", full)
        assert promote(client, "new") == (
            507,
            {
                "kind": "storage",
                "message": f"{models / 'promotions.jsonl'} cannot be written: No space left on "
                f"device. CURRENT is as it was; mend that and try again.",
                "details": [],
            },
        )
    assert (answering(client), current_bundle(models).name) == ("old", "old")
    assert read_promotions(models) == []
    assert promote(client, "new")[0] == 200


def test_a_promotion_mends_a_refused_model(client: TestClient, models: Path) -> None:
    (models / "CURRENT").write_text("nowhere\n", encoding="utf-8")
    watcher = client.app.state.watcher  # type: ignore[attr-defined]
    assert client.portal is not None
    client.portal.call(watcher.check)
    listed = client.get("/v1/models").json()
    assert (listed["serving"], listed["current"]) == ("old", None)
    assert "names 'nowhere'" in listed["refused"]
    assert promote(client, "old") == (200, {"model_version": "old", "previous": "old"})
    assert client.get("/v1/models").json()["refused"] is None
    assert current_bundle(models).name == "old"


def test_no_request_fails_and_none_is_mixed_while_versions_are_promoted(
    client: TestClient,
) -> None:
    answers: list[tuple[int, set[str]]] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            answer = client.post("/v1/classify", json={"texts": [TEXT] * 3})
            found = {result["model_version"] for result in answer.json().get("results", [])}
            answers.append((answer.status_code, found))

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    for version in ("new", "old", "new"):
        assert promote(client, version)[0] == 200
    done.set()
    for thread in asking:
        thread.join()
    assert {status for status, _ in answers} == {200}
    assert {len(found) for _, found in answers} == {1}
    assert answers[-1][1] <= {"old", "new"}
