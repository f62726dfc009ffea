"""A few seconds of the overload that `overload.py` makes for half a minute."""

from __future__ import annotations

import asyncio

from tests.e2e.overload import TIMEOUT_S, overload
from tests.e2e.server import running_server

MAX_IN_FLIGHT = 512


def test_what_is_too_much_is_refused_and_the_service_recovers() -> None:
    with running_server(max_in_flight=MAX_IN_FLIGHT) as server:
        report = asyncio.run(overload(server.url, 3.0, max_in_flight=MAX_IN_FLIGHT))
        assert server.figure("diplophrase_texts_in_flight") == 0
    assert set(report.statuses) <= {200, 429, 504}, report.to_dict()
    assert min(report.statuses[200], report.statuses[429]) > 0, report.to_dict()
    assert report.without_retry_after == 0
    assert report.offered > 2 * report.capacity, report.to_dict()
    assert report.recovery_s < TIMEOUT_S
