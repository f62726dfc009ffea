"""The application: what each address answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from diplophrase import __version__
from diplophrase.bundle import current_bundle
from diplophrase.classifier import Classifier, Result
from diplophrase.errors import Detail, DiplophraseError, InvalidRequest
from diplophrase.sentences import split_sentences
from diplophrase.settings import Settings
from serving.errors import BodyLimit, install_errors
from serving.schemas import (
    ClassifyRequest,
    ClassifyResponse,
    ErrorResponse,
    LabelsResponse,
    StatementRequest,
    StatementResponse,
)

_WARM_UP = ("A short text.", "A longer text of some more words, as statements have them, " * 4)


class Engine:
    """The loaded model and the one thread that runs it."""

    def __init__(self, settings: Settings) -> None:
        self.classifier = Classifier.load(current_bundle(settings.models), threads=settings.threads)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="classifier")
        self.ready = False

    def warm_up(self) -> None:
        """Run the network once on a short and a long text."""
        self.classifier.classify(_WARM_UP)
        self.ready = True

    async def classify(self, texts: Sequence[str], *, evidence: bool) -> list[Result]:
        """Label `texts` in the worker thread; the event loop stays free."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._worker, lambda: self.classifier.classify(texts, evidence=evidence)
        )

    def close(self) -> None:
        self.ready = False
        self._worker.shutdown()


def create_app(settings: Settings) -> FastAPI:
    """Build the service. The model is loaded and warmed up before the first request.

    Raises:
        BundleError: at start-up, if the bundle that CURRENT names is not whole.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = Engine(settings)
        app.state.engine = engine
        engine.warm_up()
        yield
        engine.close()

    failures: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorResponse} for status in (400, 413, 422)
    }
    app = FastAPI(
        title="diplophrase",
        version=__version__,
        summary="Labels the set phrases of diplomatic statements, sentence by sentence.",
        lifespan=lifespan,
        responses=failures,
        redoc_url=None,
    )
    app.state.settings = settings
    install_errors(app)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    _add_classify(app, settings)
    _add_labels(app)
    _add_health(app)
    return app


def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


def check_sizes(texts: Sequence[str], settings: Settings) -> None:
    """Refuse too many texts, and every text that is blank or too long.

    Raises:
        InvalidRequest: naming each bad text by its index.
    """
    details = []
    if len(texts) > settings.max_texts:
        rule = f"at most {settings.max_texts} texts a request"
        details.append(Detail("texts", f"{len(texts)} texts", rule))
    for index, text in enumerate(texts):
        if not text.strip():
            rule = "a text has a visible character"
            details.append(Detail("texts", f"{len(text)} blank characters", rule, index))
        elif len(text) > settings.max_characters:
            rule = (
                f"at most {settings.max_characters} characters a text; "
                f"POST /v1/statements splits longer ones"
            )
            details.append(Detail("texts", f"{len(text)} characters", rule, index))
    if details:
        first = details[0]
        where = first.field if first.index is None else f"{first.field}[{first.index}]"
        more = f", and {len(details) - 1} more faults (see details)" if len(details) > 1 else ""
        raise InvalidRequest(f"{where}: found {first.found}; {first.rule}{more}.", details=details)


def _add_classify(app: FastAPI, settings: Settings) -> None:
    @app.post("/v1/classify", response_model=ClassifyResponse, summary="Label sentences")
    async def classify(body: ClassifyRequest, request: Request) -> JSONResponse:
        check_sizes(body.texts, settings)
        engine = _engine(request)
        results = await engine.classify(body.texts, evidence=body.evidence)
        answers = [result.to_dict(scores=body.scores) for result in results]
        version = engine.classifier.bundle.version
        return JSONResponse({"model_version": version, "results": answers})

    @app.post("/v1/statements", response_model=StatementResponse, summary="Label a statement")
    async def statements(body: StatementRequest, request: Request) -> JSONResponse:
        limit = settings.max_statement_characters
        if not body.text.strip() or len(body.text) > limit:
            rule = f"a statement has a visible character and at most {limit} characters"
            detail = Detail("text", f"{len(body.text)} characters", rule)
            raise InvalidRequest(f"text: found {detail.found}; {rule}.", details=[detail])
        sentences = split_sentences(body.text)
        engine = _engine(request)
        texts = [sentence.text for sentence in sentences]
        results = await engine.classify(texts, evidence=body.evidence)
        rows = [
            {"start": sentence.start, "end": sentence.end, "text": sentence.text} | result.to_dict()
            for sentence, result in zip(sentences, results, strict=True)
        ]
        answer = {
            "id": body.id,
            "model_version": engine.classifier.bundle.version,
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


def _add_labels(app: FastAPI) -> None:
    @app.get("/v1/labels", response_model=LabelsResponse, summary="The codebook of this model")
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

    @app.get("/readyz", summary="The model is loaded and warmed up")
    async def readyz(request: Request) -> dict[str, str]:
        engine = getattr(request.app.state, "engine", None)
        if engine is None or not engine.ready:
            raise DiplophraseError("The model is not loaded yet. Try again.", kind="not_ready")
        return {"status": "ready", "model_version": engine.classifier.bundle.version}
