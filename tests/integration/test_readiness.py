"""What `/readyz` and `/metrics` say when something inside has ended or was refused."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from diplophrase.bundle import current_bundle, set_current
from diplophrase.settings import Settings
from serving import engine as module
from serving.app import create_app
from tests.integration.conftest import ROOT

TEXT = {"texts": ["Both sides agreed to deepen mutual trust."]}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with the committed model as CURRENT."""
    folder = tmp_path / "models"
    version = current_bundle(ROOT / "models").name
    shutil.copytree(ROOT / "models" / version, folder / version)
    set_current(folder, version)
    return folder


@pytest.fixture
def client(models: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(models=models, runners=2, model_poll_s=0.05))) as client:
        yield client


def figure(client: TestClient, name: str) -> float:
    for line in client.get("/metrics").text.splitlines():
        if line.startswith(f"diplophrase_{name} "):
            return float(line.split()[1])
    raise AssertionError(f"no figure {name}")


def wait_until(happened: Callable[[], object]) -> None:
    ends = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < ends
        time.sleep(0.02)


def end_a_runner(client: TestClient, patch: pytest.MonkeyPatch) -> None:
    """Send a text to a runner that ends for a reason which no batch can have."""

    def end(*given: object) -> None:
        raise SystemExit("the runner is ended")

    before = figure(client, "runners_alive")
    with patch.context() as inside:
        inside.setattr(module, "run_batch", end)
        answer = client.post("/v1/classify", json=TEXT)
    assert (answer.status_code, answer.json()["error"]["kind"]) == (503, "not_ready")
    wait_until(lambda: figure(client, "runners_alive") == before - 1)


def test_the_service_is_not_ready_once_a_runner_has_ended(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert (client.get("/readyz").status_code, figure(client, "runners_alive")) == (200, 2)
    end_a_runner(client, monkeypatch)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["error"] == {
        "kind": "not_ready",
        "message": "The model is not loaded, or a thread that runs it has ended. The log says why.",
        "details": [],
    }
    assert "a runner has ended: the service is not ready" in caplog.text
    assert client.get("/healthz").status_code == 200
    assert client.post("/v1/classify", json=TEXT).status_code == 200  # the other runner


def test_without_any_runner_requests_are_refused_at_once(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        end_a_runner(client, monkeypatch)
    answer = client.post("/v1/classify", json=TEXT)
    assert (answer.status_code, answer.json()["error"]["kind"]) == (503, "not_ready")


def test_a_refused_model_is_told(client: TestClient, models: Path) -> None:
    old = client.get("/readyz").json()
    assert (old["refused_model"], figure(client, "model_refused")) == (None, 0)
    (models / "CURRENT").write_text("nowhere\n", encoding="utf-8")
    wait_until(lambda: figure(client, "model_refused") == 1)
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["model_version"]) == (200, old["model_version"])
    assert "names 'nowhere'" in ready.json()["refused_model"]
    set_current(models, old["model_version"])
    wait_until(lambda: figure(client, "model_refused") == 0)
    assert client.get("/readyz").json() == old
