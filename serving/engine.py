"""The loaded model, the queue before it, and the threads that run it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import Encoding

from diplophrase.classifier import Classifier, Raw, Result
from diplophrase.errors import DiplophraseError, InvalidRequest
from diplophrase.settings import Settings
from serving.batching import FairQueue, collect_batch
from serving.logs import request_id as current_request_id
from serving.metrics import Metrics

log = logging.getLogger("diplophrase.serving")

_WARM_UP = ("A short text.", "A longer text of some more words, as statements have them, " * 4)
_LOOK_AHEAD = 256  # waiting texts among which a batch is chosen
_FEW = 8  # texts that are tokenised at once; more go to a thread, the event loop stays free


@dataclass(eq=False, slots=True)
class Ticket:
    """One text that waits for the network, and the future that gets its answer."""

    classifier: Classifier
    encoding: Encoding
    answer: asyncio.Future[Raw]
    loop: asyncio.AbstractEventLoop
    abandoned: bool = False
    queued_s: float = field(default_factory=time.perf_counter)
    request_id: str | None = field(default_factory=current_request_id.get)

    def resolve(self, raw: Raw | None, error: Exception | None = None) -> None:
        """Hand the answer, or the error, to the event loop; safe from any thread."""
        self.loop.call_soon_threadsafe(self._settle, raw, error)

    def _settle(self, raw: Raw | None, error: Exception | None) -> None:
        if self.answer.done():
            return
        if raw is not None:
            self.answer.set_result(raw)
        else:
            self.answer.set_exception(error or RuntimeError("no answer"))


@dataclass(slots=True)
class Engine:
    """Runs texts of many requests together, in batches of like length.

    `runners` threads take batches as soon as they are free; there is no waiting window. All
    share one network, whose session may run in several threads at once.
    """

    settings: Settings
    classifier: Classifier
    metrics: Metrics
    in_flight: int = 0
    _queue: FairQueue[Ticket] = field(default_factory=FairQueue)
    _ready: threading.Condition = field(default_factory=threading.Condition)
    _closing: bool = False
    alive: int = 0  # runners that have not ended
    _runners: list[threading.Thread] = field(default_factory=list)

    @classmethod
    def open(cls, settings: Settings, bundle: Path, metrics: Metrics) -> Engine:
        """Load the bundle, warm it up and start the runners.

        Raises:
            BundleError: if the bundle is not whole.
        """
        engine = cls(settings, load_warm(bundle, settings, metrics), metrics)
        metrics.model_in_use(engine.classifier.bundle.version, engine.classifier.labels)
        metrics.watch(
            waiting=lambda: len(engine._queue),
            in_flight=lambda: engine.in_flight,
            runners=lambda: engine.alive,
        )
        engine.alive = settings.runners
        for number in range(settings.runners):
            name = f"runner-{number}"
            runner = threading.Thread(target=engine._run, name=name, daemon=True)
            runner.start()
            engine._runners.append(runner)
        return engine

    @property
    def ready(self) -> bool:
        """Tell whether every runner is alive."""
        return not self._closing and self.alive == self.settings.runners

    def close(self) -> None:
        """Let the runners finish what waits, then end them."""
        with self._ready:
            self._closing = True
            self._ready.notify_all()
        for runner in self._runners:
            runner.join(timeout=self.settings.deadline_s)

    async def classify(
        self, texts: Sequence[str], *, evidence: bool, precision: float | None = None
    ) -> list[Result]:
        """Label `texts`, all with the same model; cancel it and their places are free at once.

        Raises:
            InvalidRequest: if the model has no operating point of that precision, or `texts` are
                more than may ever be in flight.
            DiplophraseError: `overloaded` at once if too many texts are in flight, `not_ready` if
                no runner is left.
        """
        classifier = self.classifier
        thresholds = classifier.thresholds(precision)
        async with self._admitted(len(texts)) as places:
            encodings, raws = await self._answer(classifier, texts, places)
        results = [
            classifier.decide(text, encoding, raw, evidence=evidence, thresholds=thresholds)
            for text, encoding, raw in zip(texts, encodings, raws, strict=True)
        ]
        self.metrics.labels_given(hit.id for result in results for hit in result.labels)
        return results

    @asynccontextmanager
    async def _admitted(self, texts: int) -> AsyncIterator[Places]:
        limit = self.settings.max_in_flight
        if texts > limit:
            raise InvalidRequest(
                f"The request holds {texts} texts or sentences; the service takes at most {limit} "
                f"at a time. Send it in parts."
            )
        if self._closing or self.in_flight + texts > limit:
            reason = "is stopping" if self._closing else f"holds {self.in_flight} texts in flight"
            raise DiplophraseError(
                f"The service {reason} and takes at most {limit}. Try again in a second.",
                kind="overloaded",
            )
        places = Places(self, texts)
        try:
            yield places
        finally:
            places.free_all()

    async def _answer(
        self, classifier: Classifier, texts: Sequence[str], places: Places
    ) -> tuple[list[Encoding], list[Raw]]:
        started = time.perf_counter()
        if len(texts) <= _FEW:
            encodings = classifier.encode(texts)
        else:
            encodings = await asyncio.to_thread(classifier.encode, texts)
        self.metrics.tokenised(time.perf_counter() - started)
        loop = asyncio.get_running_loop()
        tickets = [
            Ticket(classifier, encoding, loop.create_future(), loop) for encoding in encodings
        ]
        for ticket in tickets:
            ticket.answer.add_done_callback(places.free_one)
        self._enqueue(tickets)
        try:
            return encodings, await asyncio.gather(*(ticket.answer for ticket in tickets))
        finally:
            for ticket in tickets:
                ticket.abandoned = True  # harmless when answered; saves the work when not

    def _enqueue(self, tickets: Sequence[Ticket]) -> None:
        with self._ready:
            if not self.alive and not self._closing:
                raise not_ready()
            self._queue.extend(tickets)
            self._ready.notify_all()

    def _run(self) -> None:
        batch: list[Ticket] | None = []
        try:
            while (batch := self._next_batch()) is not None:
                if batch:
                    run_batch(batch, self.metrics)
        except BaseException as error:  # nothing is above this thread to catch it
            log.critical("a runner has ended: the service is not ready", exc_info=error)
            self._bury(batch or [])

    def _bury(self, batch: Sequence[Ticket]) -> None:
        """Answer the texts of a runner that ended and, if it was the last, all that wait."""
        with self._ready:
            self.alive -= 1
            orphans = list(batch)
            if not self.alive:
                orphans += self._queue.take(len(self._queue), range(len(self._queue)))
        for ticket in orphans:
            ticket.resolve(None, not_ready())

    def _next_batch(self) -> list[Ticket] | None:
        """Wait for texts and take a batch of one model; None ends the runner."""
        with self._ready:
            while not len(self._queue) and not self._closing:
                self._ready.wait()
            if not len(self._queue):
                return None
            urgent = self._queue.peek(_LOOK_AHEAD)
            while stale := {id(ticket) for ticket in urgent if ticket.abandoned}:
                self._queue.drop(stale)
                urgent = self._queue.peek(_LOOK_AHEAD)
            if not urgent:
                return []
            same = [k for k, t in enumerate(urgent) if t.classifier is urgent[0].classifier]
            lengths = [len(urgent[row].encoding.ids) for row in same]
            chosen = collect_batch(
                lengths,
                max_texts=self.settings.batch_texts,
                max_tokens=self.settings.batch_tokens,
            )
            return self._queue.take(_LOOK_AHEAD, [same[row] for row in chosen])


class Places:
    """A request's share of the texts in flight: each text's place is free once it has its answer.

    Were they held to the end, the requests of a burst, which share the network and so end
    together, would keep everyone else out for as long as the whole burst takes.
    """

    def __init__(self, engine: Engine, texts: int) -> None:
        self._engine = engine
        self._held = texts
        engine.in_flight += texts

    def free_one(self, _answer: object) -> None:
        """Free the place of one text."""
        self._free(min(1, self._held))

    def free_all(self) -> None:
        """Free what is still held; calls that come later do nothing."""
        self._free(self._held)

    def _free(self, places: int) -> None:
        self._held -= places
        self._engine.in_flight -= places


def not_ready() -> DiplophraseError:
    """Return the error of a service that cannot run its model."""
    return DiplophraseError(
        "The model is not loaded, or a thread that runs it has ended. The log says why.",
        kind="not_ready",
    )


def load_warm(bundle: Path, settings: Settings, metrics: Metrics) -> Classifier:
    """Load a bundle and run it once on a short and a long text.

    Raises:
        BundleError: if the bundle is not whole.
    """
    with metrics.loading():
        classifier = Classifier.load(bundle, threads=settings.threads)
        classifier.classify(_WARM_UP)
    return classifier


def run_batch(batch: Sequence[Ticket], metrics: Metrics) -> None:
    """Run a batch and answer its tickets; if it fails, each text runs singly once."""
    started = time.perf_counter()
    try:
        raws = batch[0].classifier.run([ticket.encoding for ticket in batch])
    except Exception as error:  # whatever the network raises must reach the one it concerns
        if len(batch) == 1:
            log.error("a text failed", exc_info=error, extra={"request_id": batch[0].request_id})
            batch[0].resolve(None, error)
            return
        for ticket in batch:
            run_batch([ticket], metrics)
        return
    metrics.batch_ran(
        waits_s=[started - ticket.queued_s for ticket in batch],
        padded_tokens=len(batch) * max(len(ticket.encoding.ids) for ticket in batch),
        inference_s=time.perf_counter() - started,
    )
    for ticket, raw in zip(batch, raws, strict=True):
        ticket.resolve(raw)
