"""What a client asks about hand labels and the review queue; the base of both clients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict, Unpack
from urllib.parse import urlencode
from uuid import uuid4

from diplophrase.annotations import Annotation
from diplophrase.client_answers import Answer, Wire, read_as
from diplophrase.client_calls import Call
from diplophrase.errors import InvalidRequest

Item = Mapping[str, Any]  # an annotation as POST /v1/annotations takes it


class Wanted(TypedDict, total=False):
    """Which annotations are asked for; what is left out, or None, is as the service has it."""

    label: str | None
    annotator: str | None
    since: datetime | None  # with its time zone
    contains: str | None
    conflicts: bool
    cursor: str | None
    limit: int  # annotations on the page; 100 unless given


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of an annotation: `added`, `changed` or `retracted`, by which event."""

    id: str
    state: str
    event: int


@dataclass(frozen=True, slots=True)
class Claim:
    """Who, or which file, gives a text which labels."""

    by: str
    id: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AddedResult:
    """A receipt for each annotation, in order; by index, the claims that differ from some."""

    receipts: tuple[Receipt, ...]
    conflicts: dict[int, tuple[Claim, ...]]


@dataclass(frozen=True, slots=True)
class StoredAnnotation:
    """An annotation that holds, how it came, and who says otherwise."""

    annotation: Annotation
    event: int
    origin: str
    model_version: str | None
    received: str
    conflicts: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class AnnotationsPage:
    """A page of annotations; ask for the next with `next_cursor`, None on the last one."""

    annotations: tuple[StoredAnnotation, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class QueuedResult:
    """How many texts did not wait already, and how many wait now."""

    queued: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A text worth a look: its value, the reasons, what the model and a hand say of it."""

    text: str
    value: float
    reasons: dict[str, float]
    labels: dict[str, float]
    speaker: str
    out_of_domain: bool
    hand: Claim | None


@dataclass(frozen=True, slots=True)
class ReviewResult:
    """The texts most worth a look, the first of them first, and the weights of the reasons."""

    model_version: str
    mix: dict[str, float]
    waiting: int
    suggestions: tuple[Suggestion, ...]


class LabelCalls(ABC):
    """The calls about hand labels of the client that waits for each answer."""

    _base_url: str

    @abstractmethod
    def _send(self, call: Call) -> Answer: ...

    def add_annotations(
        self, annotations: Sequence[Item], *, idempotency_key: str | None = None
    ) -> AddedResult:
        """Add all annotations or none; needs `api_key`.

        An attempt that is repeated counts once: without `idempotency_key` one is made. Give your
        own to repeat a call from another process; the service knows a key for 24 hours.

        Raises:
            InvalidRequest: if there is none.
            ServiceError: if the request fails; `details` have the index of each bad annotation.
        """
        call = plan_add(self._base_url, annotations, idempotency_key)
        return read_added(call, self._send(call))

    def retract_annotations(self, ids: Sequence[str]) -> tuple[Receipt, ...]:
        """Take annotations back, all or none; needs `api_key`.

        Raises:
            ServiceError: if the request fails, naming each id that no annotation has.
        """
        call = plan_retract(self._base_url, ids)
        return tuple(read_as(_Receipts, call, self._send(call)).annotations)

    def annotations(self, **wanted: Unpack[Wanted]) -> AnnotationsPage:
        """Return a page of the annotations that hold, oldest event first.

        Raises:
            InvalidRequest: if `since` has no time zone.
            ServiceError: if the request fails.
        """
        call = plan_annotations(self._base_url, **wanted)
        return read_page(call, self._send(call))

    def queue_texts(self, texts: Sequence[str]) -> QueuedResult:
        """Queue texts for a look; needs `api_key`.

        Raises:
            ServiceError: if the request fails.
        """
        call = plan_queue(self._base_url, texts)
        return read_as(_Queued, call, self._send(call)).typed()

    def review(self, n: int = 20) -> ReviewResult:
        """Return the `n` waiting texts that are most worth a look.

        Raises:
            ServiceError: if the request fails.
        """
        call = Call("GET", f"{self._base_url}/v1/review?n={n}")
        return read_review(call, self._send(call))


class AsyncLabelCalls(ABC):
    """The same calls for asyncio; see `LabelCalls`."""

    _base_url: str

    @abstractmethod
    async def _send(self, call: Call) -> Answer: ...

    async def add_annotations(
        self, annotations: Sequence[Item], *, idempotency_key: str | None = None
    ) -> AddedResult:
        """Add all annotations or none; see `Client.add_annotations`."""
        call = plan_add(self._base_url, annotations, idempotency_key)
        return read_added(call, await self._send(call))

    async def retract_annotations(self, ids: Sequence[str]) -> tuple[Receipt, ...]:
        """Take annotations back; see `Client.retract_annotations`."""
        call = plan_retract(self._base_url, ids)
        return tuple(read_as(_Receipts, call, await self._send(call)).annotations)

    async def annotations(self, **wanted: Unpack[Wanted]) -> AnnotationsPage:
        """Return a page of annotations; see `Client.annotations`."""
        call = plan_annotations(self._base_url, **wanted)
        return read_page(call, await self._send(call))

    async def queue_texts(self, texts: Sequence[str]) -> QueuedResult:
        """Queue texts for a look; see `Client.queue_texts`."""
        call = plan_queue(self._base_url, texts)
        return read_as(_Queued, call, await self._send(call)).typed()

    async def review(self, n: int = 20) -> ReviewResult:
        """Return the texts most worth a look; see `Client.review`."""
        call = Call("GET", f"{self._base_url}/v1/review?n={n}")
        return read_review(call, await self._send(call))


def plan_add(base_url: str, annotations: Sequence[Item], once: str | None) -> Call:
    """Return the call that adds annotations, with a key of its own where none is given."""
    rows = [dict(item) for item in annotations]
    if not rows:
        raise InvalidRequest("annotations: found none; give one or more.")
    url = f"{base_url}/v1/annotations"
    return Call("POST", url, {"annotations": rows}, once=once or uuid4().hex)


def plan_retract(base_url: str, ids: Sequence[str]) -> Call:
    """Return the call that takes annotations back."""
    return Call("POST", f"{base_url}/v1/annotations/retract", {"ids": list(ids)})


def plan_annotations(base_url: str, **wanted: Unpack[Wanted]) -> Call:
    """Return the call that finds annotations.

    Raises:
        InvalidRequest: if `since` has no time zone.
    """
    since = wanted.get("since")
    if since is not None and since.tzinfo is None:
        raise InvalidRequest(f"since: found {since.isoformat()}; must have a time zone.")
    asked: dict[str, Any] = {**wanted, "since": since and since.isoformat()}
    asked["conflicts"] = "true" if wanted.get("conflicts") else None
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    return Call("GET", f"{base_url}/v1/annotations?{query}")


def plan_queue(base_url: str, texts: Sequence[str]) -> Call:
    """Return the call that queues texts."""
    return Call("POST", f"{base_url}/v1/review", {"texts": list(texts)})


def read_added(call: Call, answer: Answer) -> AddedResult:
    """Return what became of the annotations."""
    found = read_as(_Added, call, answer)
    conflicts = {row.index: tuple(row.claims) for row in found.conflicts}
    return AddedResult(tuple(found.annotations), conflicts)


def read_page(call: Call, answer: Answer) -> AnnotationsPage:
    """Return a page of annotations."""
    found = read_as(_Page, call, answer)
    return AnnotationsPage(tuple(found.annotations), found.next_cursor)


def read_review(call: Call, answer: Answer) -> ReviewResult:
    """Return the texts most worth a look."""
    found = read_as(_Review, call, answer)
    return ReviewResult(found.model_version, found.mix, found.waiting, tuple(found.suggestions))


class _Receipts(Wire):
    annotations: list[Receipt]


class _Conflict(Wire):
    index: int
    claims: list[Claim]


class _Added(_Receipts):
    conflicts: list[_Conflict]


class _Page(Wire):
    annotations: list[StoredAnnotation]
    next_cursor: str | None


class _Queued(Wire):
    queued: int
    waiting: int

    def typed(self) -> QueuedResult:
        return QueuedResult(self.queued, self.waiting)


class _Review(Wire):
    model_version: str
    mix: dict[str, float]
    waiting: int
    suggestions: list[Suggestion]
