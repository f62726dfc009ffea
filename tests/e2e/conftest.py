"""One server with default settings for all tests that leave it as it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from diplophrase.client import Client
from tests.e2e.server import Server, running_server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client
