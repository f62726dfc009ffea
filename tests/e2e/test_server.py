"""The real server on a free port, asked over the network."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from diplophrase.annotations import read_annotations

ROOT = Path(__file__).parents[2]
START_SECONDS = 60


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", "from diplophrase.command import main; main()"]
    process = subprocess.Popen([*command, "serve", "--port", str(port)], cwd=ROOT)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(url, process)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended before it was ready"
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    pytest.fail(f"not ready within {START_SECONDS} s")


def post(address: str, texts: list[str]) -> list[set[str]]:
    answer = httpx.post(f"{address}/v1/classify", json={"texts": texts}, timeout=60)
    assert answer.status_code == 200, answer.text
    return [{hit["id"] for hit in result["labels"]} for result in answer.json()["results"]]


def test_sentences_of_the_seeds_get_their_hand_labels(address: str) -> None:
    notes = read_annotations(ROOT / "labels" / "annotations" / "seeds.jsonl")[:200]
    given = post(address, [note.text for note in notes])
    right = sum(labels == set(note.labels) for labels, note in zip(given, notes, strict=True))
    assert right >= 0.8 * len(notes)  # the model was trained on them: this checks the plumbing


def test_unseen_sentences(address: str) -> None:
    unseen = {
        "Dominica reiterated its adherence to the one-China principle and supports China's "
        "reunification.": ("taiwan_one_china", True),
        "Vietnam's long struggle for national reunification ended in 1975.": (
            "taiwan_one_china",
            False,
        ),
        "The two companies formed a strategic partnership on cloud storage.": (
            "partnership_tier",
            False,
        ),
        "Both sides agreed to lift relations to a comprehensive strategic partnership.": (
            "partnership_tier",
            True,
        ),
    }
    for (text, (label, expected)), given in zip(
        unseen.items(), post(address, list(unseen)), strict=True
    ):
        assert (label in given) is expected, text


def test_a_whole_seed_document_is_labelled(address: str) -> None:
    text = (ROOT / "seeds" / "003_606a9464ba09ff0c.txt").read_text(encoding="utf-8")
    answer = httpx.post(f"{address}/v1/statements", json={"text": text}, timeout=60).json()
    assert len(answer["sentences"]) == 26
    assert answer["summary"]["partnership_tier"]["count"] >= 2
