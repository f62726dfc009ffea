"""The committed bundle and the real application, in process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from diplophrase.bundle import current_bundle
from diplophrase.classifier import Classifier
from diplophrase.settings import Settings
from serving.app import create_app
from serving.store.database import Database, parse_url
from serving.store.store import LabelStore
from tests.postgres import create_database, running_postgres

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


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL server of the tests' own."""
    with running_postgres() as address:
        yield address


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    return create_database(request.getfixturevalue("postgres"), f"test_{uuid4().hex}")


@pytest.fixture
def store(database_url: str) -> Iterator[LabelStore]:
    database = Database(parse_url(database_url, Path()))
    yield LabelStore(database)
    database.close()
