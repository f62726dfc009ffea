"""Jobs beside a real server: they outlive it, and a training's version answers when promoted."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

import pytest

from diplophrase.annotations import read_annotations
from diplophrase.client import Client, JobResult, ServiceError
from diplophrase.promotions import read_promotions
from serving.keys import create_key
from tests.e2e.server import PATIENCE_S, ROOT, running_server, wait_until
from tests.integration.test_jobs import WAIT
from tests.unit.training_fixtures import write_base
from tests.versions import measured_version

SENTENCES = 32
LONGEST = 120  # characters of a sentence that the tiny checkpoint can read
# `diplophrase` with a tiny checkpoint, which is trained in seconds
TINY = "import sys; from diplophrase.command import main; sys.argv[2:2] = ['--base={}']; main()"
TEXT = "Both sides agreed to lift relations to a comprehensive strategic partnership."


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    measured_version(folder, "old")
    (folder / "CURRENT").write_text("old\n")
    return folder


@pytest.fixture
def secret(tmp_path: Path) -> str:
    return create_key(tmp_path / "keys.json", "operator")[1]


def end(client: Client, job: JobResult) -> JobResult:
    ends = time.monotonic() + PATIENCE_S
    while (found := client.job(job.id)).state in ("running", "cancelling"):
        assert time.monotonic() < ends, client.job_log(job.id)
        time.sleep(0.1)
    return found


def test_a_job_outlives_the_service_and_every_worker_sees_it(
    models: Path, secret: str, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    settings = {
        "models": models,
        "keys": tmp_path / "keys.json",
        "job_command": json.dumps([sys.executable, "-c", WAIT.format(go=str(go))]),
    }
    with running_server(**settings) as server, Client(server.url, api_key=secret) as client:
        job = client.start_job("train")
        wait_until(lambda: "waiting" in client.job_log(job.id), "the work began")
    with running_server("--workers", "2", **settings) as server:
        for _ in range(6):  # each on a connection of its own, which either worker may take
            with Client(server.url, api_key=secret) as client:
                assert client.job(job.id).state == "running"
                with pytest.raises(ServiceError, match=f"The job {job.id} is running"):
                    client.start_job("train")
        go.touch()
        with Client(server.url, api_key=secret) as client:
            found = end(client, job)
            assert (found.state, found.result) == ("done", {"model_version": "v43"})
            assert [row.id for row in client.jobs()] == [job.id]
            assert client.models().serving == "old"


def small_labels(folder: Path) -> Path:
    """Write a labels folder of some short seeds."""
    (folder / "annotations").mkdir(parents=True)
    for name in ("codebook.yaml", "out_of_domain.jsonl"):
        shutil.copyfile(ROOT / "labels" / name, folder / name)
    notes = read_annotations(ROOT / "labels" / "annotations" / "seeds.jsonl")
    short = [note for note in notes if len(note.text) < LONGEST][:SENTENCES]
    lines = "".join(f"{note.to_json()}\n" for note in short)
    (folder / "annotations" / "seeds.jsonl").write_text(lines, encoding="utf-8")
    return folder


def test_a_trained_version_is_promoted_by_force_alone_and_taken_back(
    models: Path, secret: str, tmp_path: Path
) -> None:
    settings = {
        "models": models,
        "keys": tmp_path / "keys.json",
        "labels": small_labels(tmp_path / "labels"),
        "seeds": ROOT / "seeds",
        "job_command": json.dumps(
            [sys.executable, "-c", TINY.format(write_base(tmp_path / "base"))]
        ),
        "deadline_s": 120,
    }
    with running_server(**settings) as server, Client(server.url, api_key=secret) as client:
        job = client.start_job("train", folds=0, epochs=1, name="candidate")
        found = end(client, job)
        assert found.state == "done", client.job_log(job.id)
        assert found.result == {"model_version": "candidate"}
        assert found.progress is not None
        assert (found.progress.stage, found.progress.fraction) == ("final model", 1.0)
        assert "Wrote" in client.job_log(job.id)
        assert client.classify([TEXT]).model_versions == ("old",)
        with pytest.raises(ServiceError, match="candidate holds no answers out of fold") as refused:
            client.promote("candidate")
        assert refused.value.kind == "gate_refused"
        client.promote("candidate", force="a test")
        assert client.classify([TEXT]).model_versions == ("candidate",)
        assert client.rollback().model_version == "old"
        assert client.classify([TEXT]).model_versions == ("old",)
    assert [(row.action, row.outcome, row.forced) for row in read_promotions(models)] == [
        ("promote", "refused", None),
        ("promote", "promoted", "a test"),
        ("rollback", "promoted", None),
    ]
