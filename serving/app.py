"""The application: what each address answers."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline

from diplophrase import __version__
from diplophrase.bundle import current_bundle
from diplophrase.classifier import Result
from diplophrase.errors import DiplophraseError
from diplophrase.sentences import split_sentences
from diplophrase.settings import Settings
from serving.annotations import add_annotations
from serving.bounds import check_sizes, check_statement
from serving.deadline import Deadline
from serving.desk import Desk
from serving.document import document_bounds
from serving.engine import Engine, not_ready
from serving.errors import BodyLimit, install_errors
from serving.headers import add_headers
from serving.jobs.routes import add_jobs
from serving.keys import install_keys, require_key
from serving.logs import Observe
from serving.metrics import Metrics, add_metrics
from serving.models import add_models
from serving.review import add_review
from serving.schemas import (
    ClassifyRequest,
    ClassifyResponse,
    ErrorResponse,
    LabelsResponse,
    StatementRequest,
    StatementResponse,
)
from serving.swap import ModelWatcher

T = TypeVar("T")


def create_app(
    settings: Settings,
    *,
    metrics: Metrics | None = None,
    beside: Callable[[Engine], Coroutine[Any, Any, None]] | None = None,
) -> FastAPI:
    """Build the service. The model is loaded and warmed up before the first request.

    `beside` runs beside the service, from its start to its end, and is given its engine.

    Raises:
        BundleError: at start-up, if the bundle that CURRENT names is not whole.
    """
    figures = metrics or Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = Engine.open(settings, current_bundle(settings.models), figures)
        watcher = ModelWatcher(engine)
        app.state.engine, app.state.watcher = engine, watcher
        tasks = [asyncio.create_task(watcher.follow())]
        if beside is not None:
            tasks.append(asyncio.create_task(beside(engine)))
        with _woken_by_sighup(watcher):
            yield
        for task in tasks:
            task.cancel()
        await asyncio.to_thread(engine.close)
        await asyncio.to_thread(desk.close)

    failures: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorResponse} for status in (400, 401, 408, 413, 422, 429, 503, 504)
    }
    app = FastAPIOffline(  # its /docs needs no internet
        title="diplophrase",
        version=__version__,
        summary="Labels the set phrases of diplomatic statements, sentence by sentence.",
        lifespan=lifespan,
        responses=failures,
        redoc_url=None,
    )
    app.state.settings = settings
    install_errors(app)
    install_keys(app, settings.keys)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_middleware(Deadline, seconds=settings.deadline_s)
    app.add_middleware(Observe, metrics=figures)
    add_headers(app, origins=settings.cors_origins)
    add_metrics(app, figures)
    _add_health(app)
    asked = [] if settings.open_reading else [Depends(require_key)]
    api = APIRouter(prefix="/v1", dependencies=asked)
    _add_classify(api, settings)
    _add_labels(api)
    add_models(api, settings.models)
    desk = Desk(settings)
    add_annotations(api, settings, desk)
    add_review(api, settings, desk)
    add_jobs(api, settings)
    app.include_router(api)
    document_bounds(app, settings)
    return app


def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


@contextmanager
def _woken_by_sighup(watcher: ModelWatcher) -> Iterator[None]:
    """Let SIGHUP look at CURRENT; only the main thread may hear signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, watcher.wake)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


async def _while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await `work`, and give it up when the client hangs up."""
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise DiplophraseError("The client hung up before the answer.", kind="client_gone")
        return task.result()
    finally:
        gone.cancel()
        task.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _add_classify(api: APIRouter, settings: Settings) -> None:
    @api.post("/classify", response_model=ClassifyResponse, summary="Label sentences")
    async def classify(body: ClassifyRequest, request: Request) -> JSONResponse:
        request.state.texts = len(body.texts)
        check_sizes(body.texts, settings)
        results = await _while_connected(
            request,
            _engine(request).classify(body.texts, evidence=body.evidence, precision=body.precision),
        )
        answers = [result.to_dict(scores=body.scores) for result in results]
        return JSONResponse({"model_version": results[0].model_version, "results": answers})

    @api.post("/statements", response_model=StatementResponse, summary="Label a statement")
    async def statements(body: StatementRequest, request: Request) -> JSONResponse:
        check_statement(body.text, settings)
        sentences = await asyncio.to_thread(split_sentences, body.text)
        texts = [sentence.text for sentence in sentences]
        request.state.texts = len(texts)
        results = await _while_connected(
            request,
            _engine(request).classify(texts, evidence=body.evidence, precision=body.precision),
        )
        rows = [
            {"start": sentence.start, "end": sentence.end, "text": sentence.text} | result.to_dict()
            for sentence, result in zip(sentences, results, strict=True)
        ]
        answer = {
            "id": body.id,
            "model_version": results[0].model_version,
            "sentences": rows,
            "summary": summarise(results),
        }
        return JSONResponse(answer)


def summarise(results: Sequence[Result]) -> dict[str, dict[str, Any]]:
    """Return for each label that occurs its sentences, their count and the highest score."""
    summary: dict[str, dict[str, Any]] = {}
    for index, result in enumerate(results):
        for hit in result.labels:
            entry = summary.setdefault(hit.id, {"sentences": [], "count": 0, "max_score": 0.0})
            entry["sentences"].append(index)
            entry["count"] += 1
            entry["max_score"] = max(entry["max_score"], hit.score)
    return dict(sorted(summary.items(), key=lambda item: (-item[1]["count"], item[0])))


def _add_labels(api: APIRouter) -> None:
    @api.get("/labels", response_model=LabelsResponse, summary="The codebook of this model")
    async def labels(request: Request) -> JSONResponse:
        config = _engine(request).classifier.config
        fields = {"id", "name", "definition", "threshold"}
        answer = {
            "model_version": config.model_version,
            "codebook_version": config.codebook_version,
            "labels": [label.model_dump(include=fields) for label in config.labels],
        }
        return JSONResponse(answer)


def _add_health(app: FastAPI) -> None:
    @app.get("/healthz", summary="The process is alive")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get(
        "/readyz",
        summary="The model is loaded and warmed up, and every thread that runs it is alive",
        responses={503: {"model": ErrorResponse}},
    )
    async def readyz(request: Request) -> dict[str, str | None]:
        engine = getattr(request.app.state, "engine", None)
        if engine is None or not engine.ready:
            raise not_ready()
        version = engine.classifier.bundle.version
        refused = request.app.state.watcher.refused
        return {"status": "ready", "model_version": version, "refused_model": refused}
