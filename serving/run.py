"""`diplophrase serve`: listen and answer until stopped."""

from __future__ import annotations

import signal
from types import FrameType

import uvicorn

from diplophrase.bundle import current_bundle, load_bundle
from diplophrase.settings import Settings
from serving.app import create_app
from serving.logs import log_config


def serve(settings: Settings) -> None:
    """Verify the bundle, then listen at the settings' host and port.

    Raises:
        BundleError: before the port opens, if the bundle is not whole.
    """
    load_bundle(current_bundle(settings.models))
    signal.signal(signal.SIGTERM, _end)  # uvicorn drains first, then calls this
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=log_config(),
        access_log=False,
        server_header=False,
    )


def _end(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(0)
