"""What requests and answers about annotations look like."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from diplophrase.annotations import Annotation
from diplophrase.settings import MOST_TEXTS
from serving.schemas import Request
from serving.store.drafts import MAX_NAME, Draft


def _kept(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    """Let a bad annotation through as it came: all are judged together, with every other rule."""
    try:
        return read(value)
    except ValidationError:
        return value


class AnnotationsRequest(Request):
    """Hand labels to add: all of them, or none."""

    annotations: Annotated[
        list[Annotated[Draft, WrapValidator(_kept)]], Field(min_length=1, max_length=MOST_TEXTS)
    ]


class RetractRequest(Request):
    """Hand labels to take back: all of them, or none."""

    ids: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=MAX_NAME)]],
        Field(min_length=1, max_length=MOST_TEXTS),
    ]


class ReviewRequest(Request):
    """Texts to queue for a look: a sentence each."""

    texts: Annotated[list[str], Field(min_length=1, max_length=MOST_TEXTS)]


class ReceiptOut(BaseModel):
    """What became of one annotation: `added`, `changed` or `retracted`, by which event."""

    id: str
    state: str
    event: int


class ClaimOut(BaseModel):
    """Who, or which file, gives a text which labels."""

    by: str
    id: str
    labels: list[str]


class ConflictOut(BaseModel):
    """A text of the request, by its index, that others label otherwise."""

    index: int
    claims: list[ClaimOut]


class AddedResponse(BaseModel):
    """One receipt for each annotation, in order, and the conflicts that they are part of."""

    annotations: list[ReceiptOut]
    conflicts: list[ConflictOut]


class RetractedResponse(BaseModel):
    """One receipt for each different id, in order."""

    annotations: list[ReceiptOut]


class StoredOut(BaseModel):
    """An annotation that holds, and how it came: its event, when, from where, against whom."""

    annotation: Annotation
    event: int
    origin: str
    model_version: str | None
    received: str
    conflicts: list[ClaimOut]


class AnnotationsResponse(BaseModel):
    """A page of annotations, oldest event first; `next_cursor` is null on the last one."""

    annotations: list[StoredOut]
    next_cursor: str | None


class EventOut(BaseModel):
    """What happened once to a text: labelled, or a label taken back; by whom, when, from where.

    `origin` is api or import, `key_id` the API key of the request, `model_version` the model whose
    answer was corrected. Labels that were taken back are those that held until then.
    """

    event: int
    kind: Literal["label", "retract"]
    received: str
    annotator: str
    id: str
    labels: list[str]
    text: str
    origin: str
    key_id: str | None
    model_version: str | None


class EventsResponse(BaseModel):
    """A page of the events of a text, the oldest first; `next_cursor` is null on the last one."""

    events: list[EventOut]
    next_cursor: str | None


class QueuedResponse(BaseModel):
    """How many texts of the request were not waiting already, and how many wait now."""

    queued: int
    waiting: int


class ReasonsOut(BaseModel):
    """Each reason to look, from 0 to 1."""

    uncertainty: float
    disagreement: float
    rarity: float
    diversity: float


class SuggestionOut(BaseModel):
    """A text worth a look: why, which labels the model gives it, and which a hand gave it."""

    text: str
    value: float
    reasons: ReasonsOut
    labels: dict[str, float]
    speaker: str
    out_of_domain: bool
    hand: ClaimOut | None


class ReviewResponse(BaseModel):
    """The texts most worth a look, the first of them first, and how they were chosen."""

    model_version: str
    mix: ReasonsOut
    waiting: int
    suggestions: list[SuggestionOut]
