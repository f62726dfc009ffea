"""`GET /v1/models` and `POST /v1/models/{version}/promote`."""

from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from diplophrase.bundle import FILES, MANIFEST, current_bundle
from diplophrase.errors import BundleError
from diplophrase.versions import Version, read_version, version_paths
from serving.keys import KeyRecord, require_key
from serving.schemas import ErrorResponse, ModelsResponse, PromoteResponse
from serving.swap import ModelWatcher

log = logging.getLogger("diplophrase.serving")

Stamp = tuple[tuple[int, int, int] | None, ...]


class Catalogue:
    """The versions in a folder. What was verified is read again only if a file of it changes."""

    def __init__(self, models: Path) -> None:
        self.models = models
        self._seen: dict[Path, tuple[Stamp, Version]] = {}
        self._reading = threading.Lock()  # several requests at once read the files once

    def read(self) -> list[Version]:
        """Return the versions in order of their names; reads files, so not for the event loop."""
        with self._reading:
            paths = version_paths(self.models)
            self._seen = {path: self._look(path) for path in paths}
            return [version for _, version in self._seen.values()]

    def _look(self, path: Path) -> tuple[Stamp, Version]:
        stamp = tuple(_stamp(path / name) for name in (*FILES, MANIFEST))
        known = self._seen.get(path)
        return known if known and known[0] == stamp else (stamp, read_version(path))


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        state = file.stat()
    except OSError:
        return None  # reading says why
    return state.st_mtime_ns, state.st_size, state.st_ino


def add_models(api: APIRouter, models: Path) -> None:
    """Add both calls; the application's state holds the `watcher` that swaps."""
    catalogue = Catalogue(models)
    failures: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorResponse} for status in (401, 404, 409, 503, 507)
    }

    @api.get("/models", response_model=ModelsResponse, summary="The versions of the model")
    async def list_models(request: Request) -> JSONResponse:
        watcher: ModelWatcher = request.app.state.watcher
        versions, current = await asyncio.to_thread(lambda: (catalogue.read(), _current(models)))
        serving = watcher.serving
        rows = [
            {
                **version.to_dict(),
                "current": version.version == current,
                "serving": version.version == serving,
            }
            for version in versions
        ]
        answer = {"serving": serving, "current": current, "refused": watcher.refused}
        return JSONResponse({**answer, "versions": rows})

    @api.post(
        "/models/{version}/promote",
        response_model=PromoteResponse,
        summary="Make a version the one that answers",
        responses=failures,
    )
    async def promote(
        version: str, request: Request, key: Annotated[KeyRecord, Depends(require_key)]
    ) -> JSONResponse:
        """Answer when the version serves here.

        Other processes on the same folder follow within `model_poll_s` seconds. A version that is
        not whole is refused with 409, and the old one serves on.
        """
        watcher: ModelWatcher = request.app.state.watcher
        previous = await watcher.promote(version)
        log.info("model %s promoted with the key %s", version, key.id)
        return JSONResponse({"model_version": version, "previous": previous})


def _current(models: Path) -> str | None:
    try:
        return current_bundle(models).name
    except BundleError:
        return None  # `refused` says why
