"""Filling the review queue from files, and choosing from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from diplophrase.bundle import current_bundle
from diplophrase.classifier import Classifier
from diplophrase.settings import Settings
from serving.store.candidates import choose_candidates, read_candidates
from serving.store.conflicts import Claim, ReferenceFiles, References
from serving.store.queue import ReviewQueue, suggest
from serving.store.records import Suggestion, View, look_at
from serving.store.store import LabelStore


def hand_labels(
    store: LabelStore, references: References
) -> tuple[Counter[str], Mapping[str, Claim]]:
    """Return how many texts have each label by hand, and what a hand says of each text."""
    claims = dict(references)
    for stored in store.all():
        note = stored.annotation
        claims[stored.key] = Claim(note.annotator, note.id, note.labels)
    return Counter(label for claim in claims.values() for label in claim.labels), claims


def choose(
    store: LabelStore,
    references: References,
    classifier: Classifier,
    waiting: Sequence[View],
    count: int,
) -> list[Suggestion]:
    """Return the `count` of `waiting` that are most worth a look, the first of them first.

    Only what this model looked at is compared.
    """
    version = classifier.bundle.version
    positives, claims = hand_labels(store, references)
    answered = ReviewQueue(store.database).answered()
    return suggest(
        [view for view in waiting if view.model_version == version],
        labels=classifier.labels,
        thresholds=classifier.thresholds(),
        positives=positives,
        claims=claims,
        answered=[view for view in answered if view.model_version == version],
        count=count,
    )


def choose_waiting(store: LabelStore, settings: Settings, *, count: int) -> list[Suggestion]:
    """Let the current model look at what it has not seen, and choose from all that waits."""
    classifier = Classifier.load(current_bundle(settings.models), runners=settings.runners)
    queue = ReviewQueue(store.database)
    version = classifier.bundle.version
    stale = [view.text for view in queue.waiting() if view.model_version != version]
    if stale:
        queue.refresh(look_at(stale, classifier))
    references = ReferenceFiles(settings.labels).claims()
    return choose(store, references, classifier, queue.waiting(), count)


def queue_files(store: LabelStore, files: Sequence[Path], settings: Settings, *, keep: int) -> int:
    """Queue the `keep` texts of `files` most worth a look; return how many did not wait already.

    Raises:
        InvalidData: if a file cannot be read, naming the row; then nothing is queued.
        InvalidRequest: if too many texts would wait.
    """
    classifier = Classifier.load(current_bundle(settings.models), runners=settings.runners)
    positives, _ = hand_labels(store, ReferenceFiles(settings.labels).claims())
    found = (read_candidates(path, max_characters=settings.max_characters) for path in files)
    texts = choose_candidates(
        chain.from_iterable(found),
        labels=classifier.labels,
        thresholds=classifier.thresholds(),
        positives=positives,
        keep=keep,
    )
    return ReviewQueue(store.database).add(look_at(texts, classifier))


def suggestion_to_dict(suggestion: Suggestion) -> dict[str, Any]:
    """Return a suggestion as it stands in JSON."""
    view, claim = suggestion.view, suggestion.claim
    return {
        "text": view.text,
        "value": round(suggestion.ranked.value, 4),
        "reasons": suggestion.ranked.reasons(),
        "labels": suggestion.labels,
        "speaker": view.speaker,
        "out_of_domain": view.out_of_domain,
        "hand": None if claim is None else claim.to_dict(),
    }
