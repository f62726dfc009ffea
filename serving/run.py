"""`diplophrase serve`: listen and answer until stopped."""

from __future__ import annotations

import signal
from functools import partial
from math import ceil
from types import FrameType
from typing import Any

import uvicorn

from diplophrase.bundle import current_bundle, load_bundle
from diplophrase.settings import Settings
from serving.app import create_app
from serving.connection import BoundedConnection
from serving.logs import log_config
from serving.workers import run_workers


def serve(settings: Settings) -> None:
    """Verify the bundle, then listen at the settings' host and port.

    Raises:
        BundleError: before the port opens, if the bundle is not whole.
    """
    load_bundle(current_bundle(settings.models))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the start has read CURRENT
    signal.signal(signal.SIGTERM, _end)  # uvicorn drains first, then a single worker calls this
    options = server_options(settings)
    if settings.workers > 1:
        run_workers(settings, options)
    else:
        uvicorn.run(create_app(settings), workers=1, **options)


def server_options(settings: Settings) -> dict[str, Any]:
    """Return what uvicorn is told."""
    return {
        "host": settings.host,
        "port": settings.port,
        "http": partial(BoundedConnection, limit_s=settings.deadline_s),
        "log_config": log_config(),
        "access_log": False,
        "server_header": False,
        # a client that does not read its answer must not hold up the end
        "timeout_graceful_shutdown": ceil(settings.deadline_s) + 1,
    }


def _end(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(0)
