"""What /openapi.json promises, held against the server by generated requests."""

from __future__ import annotations

import httpx
import schemathesis
from hypothesis import HealthCheck, settings

from diplophrase.settings import Settings
from serving.app import create_app
from tests.e2e.server import ROOT, Server

MAX_EXAMPLES = 15  # of each phase and operation
SEED = 20261122
DOCUMENT = create_app(Settings(models=ROOT / "models")).openapi()

api = schemathesis.openapi.from_dict(DOCUMENT, config=schemathesis.Config(seed=SEED))


@api.parametrize()
@settings(
    max_examples=MAX_EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_the_server_keeps_what_the_document_promises(
    case: schemathesis.Case, server: Server
) -> None:
    case.call_and_validate(base_url=server.url, timeout=300)


def test_the_document_that_is_tested_is_the_one_served(server: Server) -> None:
    assert httpx.get(f"{server.url}/openapi.json", timeout=300).json() == DOCUMENT
