"""The committed bundle and the real application, in process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from diplophrase.bundle import current_bundle
from diplophrase.classifier import Classifier
from diplophrase.settings import Settings
from serving.app import create_app

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    return Classifier.load(current_bundle(ROOT / "models"), threads=2)


@pytest.fixture(scope="session")
def client() -> Iterator[TestClient]:
    settings = Settings(
        models=ROOT / "models",
        max_texts=3,
        max_characters=300,
        max_statement_characters=1000,
        max_body_bytes=4000,
    )
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client
