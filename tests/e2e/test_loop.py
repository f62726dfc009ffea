"""The whole loop on a real server: labels in, train, compare, promote, and back again."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from diplophrase.bundle import current_bundle
from diplophrase.client import Client, Retry
from diplophrase.promotions import read_promotions
from serving.keys import create_key
from tests.e2e.server import COMMAND, PATIENCE_S, ROOT, running_server, wait_until

AUTHORED_STRIDE = 100  # of the authored sentences, one in so many, so that a training takes seconds
LABEL = "commemoration"
TEXT = "The two sides lit paper lanterns over the river."
TAUGHT = [
    f"{who} lit paper lanterns {where}."
    for who in ("The two ministers", "The two envoys", "Both delegations", "Both parties", "They")
    for where in ("on the lake", "by the harbour", "over the bay", "at the bridge", "by the river")
]
PLAIN = ["Paper prices rose again.", "The river is closed to ships.", "They lit the stove at dawn."]
PAUSE_S = 0.05  # between two requests, which leaves the training a processor
TRAINING = {"fast": True, "folds": 2, "epochs": 10, "name": "taught"}


@dataclass
class Traffic:
    """What a client that never stops asking was answered: versions in turn, and what failed."""

    versions: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    requests: int = 0


@contextmanager
def steady_traffic(url: str) -> Iterator[Traffic]:
    """Classify again and again, in a thread of its own, for as long as the block lasts."""
    traffic, stop = Traffic(), threading.Event()

    def ask() -> None:
        with Client(url, retry=Retry(attempts=1)) as client:
            while not stop.wait(PAUSE_S):
                try:
                    [version] = client.classify([TEXT]).model_versions
                except Exception as error:
                    traffic.failures.append(repr(error))
                else:
                    traffic.requests += 1
                    if traffic.versions[-1:] != [version]:
                        traffic.versions.append(version)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield traffic
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the committed model, all seeds and some of the authored sentences."""
    current = current_bundle(ROOT / "models")
    (tmp_path / "models").mkdir()
    shutil.copytree(current, tmp_path / "models" / current.name)
    (tmp_path / "models" / "CURRENT").write_text(f"{current.name}\n", encoding="utf-8")
    annotations = tmp_path / "labels" / "annotations"
    annotations.mkdir(parents=True)
    for name in ("codebook.yaml", "out_of_domain.jsonl", "annotations/seeds.jsonl"):
        shutil.copy(ROOT / "labels" / name, tmp_path / "labels" / name)
    file = ROOT / "labels" / "annotations" / "authored.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines()[::AUTHORED_STRIDE]
    (annotations / file.name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return tmp_path


def lesson() -> list[dict[str, object]]:
    """Return annotations by which who lights paper lanterns commemorates, and look-alikes."""
    yes = [
        {
            "text": text,
            "labels": [LABEL],
            "evidence": {LABEL: [text.index("paper"), text.index("lanterns") + len("lanterns")]},
        }
        for text in TAUGHT
    ]
    no = [{"text": text, "labels": []} for text in PLAIN]
    return [{**note, "annotator": "a test"} for note in [*yes, *no]]


def answer(client: Client) -> tuple[str, set[str], dict[str, float]]:
    """Return the version that answers, its labels for the sentence, and the score of each."""
    [result] = client.classify([TEXT], scores=True)
    return result.model_version, {hit.id for hit in result.labels}, result.scores


def compare(models: Path, a: str, b: str) -> dict[str, Any]:
    done = subprocess.run(
        [*COMMAND, "models", "compare", a, b, "--json", "--models", str(models)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    return dict(json.loads(done.stdout))


def test_labels_in_a_better_model_out_and_back(place: Path) -> None:
    models, labels = place / "models", place / "labels"
    before = current_bundle(models).name
    _, secret = create_key(place / "keys.json", "team")
    settings = {
        "models": models,
        "labels": labels,
        "seeds": ROOT / "seeds",
        "keys": place / "keys.json",
        "model_poll_s": 0.2,
        "deadline_s": PATIENCE_S,
    }
    with (
        running_server(**settings) as server,
        Client(server.url, api_key=secret, timeout_s=PATIENCE_S) as client,
        steady_traffic(server.url) as traffic,
    ):
        old = answer(client)
        assert old[0] == before
        assert LABEL not in old[1]

        added = client.add_annotations(lesson())
        assert len(added.receipts) == len(TAUGHT) + len(PLAIN)
        job = client.start_job("train", **TRAINING)
        wait_until(lambda: client.job(job.id).state != "running", "the training ended")
        found = client.job(job.id)
        assert found.state == "done", client.job_log(job.id)
        assert found.result == {"model_version": "taught"}
        assert answer(client) == old  # a new version never answers by itself

        comparison = compare(models, before, "taught")
        assert (comparison["verdict"], comparison["reasons"]) == ("pass", [])
        assert (comparison["basis"], comparison["unseen"]["sentences"]) == ("heads", 832)
        moved = client.promote("taught")
        assert (moved.model_version, moved.previous, moved.verdict) == ("taught", before, "pass")
        new = answer(client)
        assert new[0] == "taught"
        assert LABEL in new[1]
        assert new[2][LABEL] > 0.1 > old[2][LABEL]

        assert client.rollback().model_version == before
        again = answer(client)
        assert again[:2] == old[:2]
        assert again[2] == pytest.approx(old[2], abs=1e-6)
        asked = traffic.requests
        wait_until(lambda: traffic.requests > asked + 1, "the old version answers the others too")
    assert traffic.failures == []
    assert traffic.versions == [before, "taught", before]
    assert [(row.action, row.outcome, row.forced) for row in read_promotions(models)] == [
        ("promote", "promoted", None),
        ("rollback", "promoted", None),
    ]
