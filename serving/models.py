"""`GET /v1/models`, and `POST` to promote a version and to go back to the one before."""

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
from serving.schemas import ErrorResponse, ModelsResponse, PromoteRequest, PromoteResponse
from serving.swap import ModelWatcher, Moved

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
    """Add the calls; the application's state holds the `watcher` that swaps."""
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
        summary="Make a version the one that answers, if it is no worse",
        responses=failures,
    )
    async def promote(
        version: str,
        request: Request,
        key: Annotated[KeyRecord, Depends(require_key)],
        body: PromoteRequest | None = None,
    ) -> JSONResponse:
        """Answer when the version serves here, which takes some seconds of comparing.

        Other processes on the same folder follow within `model_poll_s` seconds. A version that is
        not whole, or worse than the one that answers, is refused with 409, and the old one serves
        on; `force` promotes one that is worse. `promotions.jsonl` keeps every decision.
        """
        watcher: ModelWatcher = request.app.state.watcher
        force = body.force if body is not None else None
        return _moved(await watcher.promote(version, by=_who(key), force=force))

    @api.post(
        "/models/rollback",
        response_model=PromoteResponse,
        summary="Go back to the version that answered before",
        responses=failures,
    )
    async def rollback(
        request: Request, key: Annotated[KeyRecord, Depends(require_key)]
    ) -> JSONResponse:
        """Answer when that version serves here; calling it twice goes back two."""
        watcher: ModelWatcher = request.app.state.watcher
        return _moved(await watcher.roll_back(by=_who(key)))


def _who(key: KeyRecord) -> str:
    return f"key {key.id} {key.name}"


def _moved(moved: Moved) -> JSONResponse:
    record = moved.record
    log.info("%s of the model %s by the %s", record.action, record.to, record.by)
    return JSONResponse(
        {
            "model_version": record.to,
            "previous": moved.previous,
            "verdict": record.verdict,
            "reasons": record.reasons,
        }
    )


def _current(models: Path) -> str | None:
    try:
        return current_bundle(models).name
    except BundleError:
        return None  # `refused` says why
