"""What goes into the label store and comes out; needs no database, which is slow to import."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from diplophrase.annotations import Annotation, text_key
from diplophrase.classifier import Classifier, Floats
from diplophrase.review import Ranked
from serving.store.conflicts import Claim


@dataclass(frozen=True, slots=True)
class Once:
    """A request that must count once: who sent it under which key, and the sha256 of its body."""

    key_id: str
    key: str
    body_sha256: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one annotation: `added`, `changed`, `unchanged` or `retracted`."""

    id: str
    state: str
    event: int


@dataclass(frozen=True, slots=True)
class Stored:
    """An annotation that holds now, with the event that says so."""

    annotation: Annotation
    event: int
    key: str
    origin: str
    model_version: str | None
    received: str


@dataclass(frozen=True, slots=True)
class Event:
    """What happened once to a text: who gave it which labels, or took them back, and how.

    `origin` is api or import, `key_id` the API key of a request, `model_version` the model whose
    answer was corrected. Labels that were taken back are those that held until then.
    """

    event: int
    kind: str  # label, or retract
    received: str
    annotator: str
    id: str
    labels: tuple[str, ...]
    text: str
    origin: str
    key_id: str | None
    model_version: str | None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which annotations are wanted; None means any. `since` is ISO 8601 in UTC."""

    label: str | None = None
    annotator: str | None = None
    since: str | None = None
    contains: str | None = None


@dataclass(frozen=True, slots=True)
class View:
    """What a model says of a text that waits: a score for each label, and the embedding [H]."""

    key: str
    text: str
    model_version: str
    scores: Mapping[str, float]
    speaker: str
    out_of_domain: bool
    embedding: Floats = field(repr=False)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A text worth a look, why, and what the model and the hand say of it."""

    view: View
    ranked: Ranked
    labels: dict[str, float]  # that the model gives, with their scores
    claim: Claim | None  # of a hand, where there is one


def look_at(texts: Sequence[str], classifier: Classifier) -> list[View]:
    """Return what the model says of each text, in order.

    Raises:
        InvalidRequest: naming every text that cannot be read.
    """
    encodings = classifier.encode(texts)
    views = []
    for text, encoding, raw in zip(texts, encodings, classifier.run(encodings), strict=True):
        result = classifier.decide(text, encoding, raw, evidence=False)
        views.append(
            View(
                text_key(text),
                text,
                result.model_version,
                result.scores,
                result.speaker,
                result.out_of_domain,
                raw.embedding,
            )
        )
    return views


def now() -> str:
    """Return the time as the store writes it."""
    return moment(datetime.now(UTC))


def moment(time: datetime) -> str:
    """Return a time as the store writes it: in UTC, to the microsecond, so that text sorts it."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def body_hash(content: object) -> str:
    """Return the sha256 of a request's content, whatever the order of its fields."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
