"""`GET` and `POST /v1/review`: the queue of sentences most worth a look."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse

from diplophrase.classifier import Classifier, check_texts
from diplophrase.review import MIX
from diplophrase.settings import Settings
from serving.bounds import check_sizes
from serving.desk import Desk
from serving.engine import Engine
from serving.keys import require_key
from serving.label_schemas import QueuedResponse, ReviewRequest, ReviewResponse
from serving.schemas import ErrorResponse
from serving.store.records import View, look_at

_REFRESHED_TEXTS = 64  # at a time, when a new model looks again


def add_review(api: APIRouter, settings: Settings, desk: Desk) -> None:
    """Add both calls."""
    failures: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorResponse} for status in (401, 422, 429, 503)
    }
    looking = asyncio.Lock()  # one request at a time uses the model beside the classifying ones

    @api.post(
        "/review",
        response_model=QueuedResponse,
        summary="Queue texts for a look",
        responses=failures,
        dependencies=[Depends(require_key)],
    )
    async def queue(body: ReviewRequest, request: Request) -> JSONResponse:
        """Queue all texts or none; one that has a hand label is queued for another look."""
        request.state.texts = len(body.texts)
        check_sizes(body.texts, settings)
        check_texts(body.texts)
        engine: Engine = request.app.state.engine
        async with looking:
            views = await asyncio.to_thread(look_at, body.texts, engine.classifier)
        return JSONResponse(await desk.ask(lambda: _queue(desk, views)))

    @api.get("/review", response_model=ReviewResponse, summary="The texts most worth a look")
    async def review(
        request: Request,
        n: Annotated[int, Query(ge=1, le=100, description="how many texts")] = 20,
    ) -> JSONResponse:
        """Give the waiting texts that are most worth a look; what was answered has left."""
        engine: Engine = request.app.state.engine
        classifier = engine.classifier
        async with looking:
            await _refresh(desk, classifier, settings.deadline_s / 2)
        return JSONResponse(await desk.ask(lambda: _review(desk, classifier, n)))


def _queue(desk: Desk, views: Sequence[View]) -> dict[str, int]:
    new = desk.queue.add(views)
    return {"queued": new, "waiting": len(desk.queue.waiting())}


async def _refresh(desk: Desk, classifier: Classifier, seconds: float) -> None:
    """Let this model look at what an older one saw, as long as `seconds` last.

    What it does not get to is looked at by the requests that follow.
    """
    ends = time.monotonic() + seconds
    version = classifier.bundle.version
    waiting = await desk.ask(lambda: desk.queue.waiting())
    stale = [view.text for view in waiting if view.model_version != version]
    for start in range(0, len(stale), _REFRESHED_TEXTS):
        if time.monotonic() > ends:
            return
        part = stale[start : start + _REFRESHED_TEXTS]
        views = await asyncio.to_thread(look_at, part, classifier)
        await desk.ask(lambda seen=views: desk.queue.refresh(seen))  # type: ignore[misc]


def _review(desk: Desk, classifier: Classifier, count: int) -> dict[str, Any]:
    from serving.store.review import choose, suggestion_to_dict  # with the database: see Desk

    waiting = desk.queue.waiting()
    chosen = choose(desk.store, desk.references(), classifier, waiting, count)
    return {
        "model_version": classifier.bundle.version,
        "mix": asdict(MIX),
        "waiting": len(waiting),
        "suggestions": [suggestion_to_dict(suggestion) for suggestion in chosen],
    }
