"""The queue of texts to look at: what the model says of each, and which is worth most."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import ColumnElement, Row, delete, exists, insert, select, update

from diplophrase.errors import InvalidRequest
from diplophrase.review import MIX, Mix, rank
from serving.store.conflicts import Claim
from serving.store.database import Database
from serving.store.records import Suggestion, View, now
from serving.store.store import last_event
from serving.store.tables import current, review_texts

MOST_WAITING = 10_000  # texts in the queue
_MOST_ANSWERED = 2_000  # that the ranking keeps away from


class ReviewQueue:
    """The texts that wait for a look, kept in the store's database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, views: Sequence[View]) -> int:
        """Queue texts and return how many of them did not wait already; all or none.

        One that was answered, or has a hand label, is queued for another look.

        Raises:
            InvalidRequest: if more than `MOST_WAITING` texts would wait.
        """
        distinct = {view.key: view for view in views}
        with self.database.writing() as connection:
            waiting = {row.text_key for row in connection.execute(_waiting())}
            new = len(distinct.keys() - waiting)
            if len(waiting) + new > MOST_WAITING:
                raise InvalidRequest(
                    f"{len(waiting)} texts wait, and {new} would join them; at most "
                    f"{MOST_WAITING} may wait. Label some of them first, or queue fewer."
                )
            after = last_event(connection)
            for key in distinct:
                connection.execute(delete(review_texts).where(review_texts.c.text_key == key))
            rows = [{**_row(view), "after_event": after} for view in distinct.values()]
            if rows:
                connection.execute(insert(review_texts), rows)
        return new

    def refresh(self, views: Sequence[View]) -> None:
        """Keep a newer model's view of texts that are queued."""
        with self.database.writing() as connection:
            for view in views:
                kept = ("model_version", "view", "embedding")
                values = {name: value for name, value in _row(view).items() if name in kept}
                place = review_texts.c.text_key == view.key
                connection.execute(update(review_texts).where(place).values(values))

    def waiting(self) -> list[View]:
        """Return the texts that wait, in an order that does not depend on when they came."""
        with self.database.reading() as connection:
            return [_view(row) for row in connection.execute(_waiting())]

    def answered(self) -> list[View]:
        """Return the texts that were queued and have been answered since, the newest of them."""
        columns = review_texts.c
        query = select(review_texts).where(_is_answered())
        query = query.order_by(columns.created_at.desc(), columns.text_key).limit(_MOST_ANSWERED)
        with self.database.reading() as connection:
            return [_view(row) for row in connection.execute(query)]


def suggest(
    waiting: Sequence[View],
    *,
    labels: Sequence[str],
    thresholds: npt.NDArray[np.floating],
    positives: Mapping[str, int],
    claims: Mapping[str, Claim],
    answered: Sequence[View] = (),
    count: int,
    mix: Mix = MIX,
) -> list[Suggestion]:
    """Return the `count` texts most worth a look, the first of them first.

    Args:
        waiting: what the model says of each text that waits.
        labels: ids [L] of the model's labels.
        thresholds: the scores [L] from which they are given.
        positives: how many hand labels each has.
        claims: hand labels by text key.
        answered: texts that need no other like them.
        count: how many are wanted.
        mix: how much each reason counts.
    """
    if not waiting:
        return []
    hands = [claims.get(view.key) for view in waiting]
    given = [[label in hand.labels if hand else False for label in labels] for hand in hands]
    width = waiting[0].embedding.shape
    known = [view.embedding for view in answered if view.embedding.shape == width]
    ranked = rank(
        np.array([[view.scores.get(label, 0.0) for label in labels] for view in waiting]),
        np.asarray(thresholds, dtype=np.float64),
        np.stack([view.embedding for view in waiting]).astype(np.float64),
        np.array([positives.get(label, 0) for label in labels], dtype=np.float64),
        count=count,
        given=np.array(given, dtype=bool),
        labelled=np.array([hand is not None for hand in hands]),
        known=np.stack(known).astype(np.float64) if known else None,
        mix=mix,
    )
    limits = dict(zip(labels, map(float, thresholds), strict=True))
    return [
        Suggestion(
            view := waiting[item.row],
            item,
            {name: score for name, score in view.scores.items() if score >= limits.get(name, 2)},
            hands[item.row],
        )
        for item in ranked
    ]


def _is_answered() -> ColumnElement[bool]:
    return exists().where(
        current.c.text_key == review_texts.c.text_key, current.c.id > review_texts.c.after_event
    )


def _waiting() -> Any:
    return select(review_texts).where(~_is_answered()).order_by(review_texts.c.text_key)


def _row(view: View) -> dict[str, Any]:
    said = {"scores": dict(view.scores), "speaker": view.speaker, "foreign": view.out_of_domain}
    return {
        "text_key": view.key,
        "text": view.text,
        "model_version": view.model_version,
        "view": json.dumps(said),
        "embedding": np.asarray(view.embedding, dtype="<f4").tobytes(),
        "created_at": now(),
    }


def _view(row: Row[Any]) -> View:
    said = json.loads(row.view)
    return View(
        row.text_key,
        row.text,
        row.model_version,
        said["scores"],
        said["speaker"],
        said["foreign"],
        np.frombuffer(row.embedding, dtype="<f4"),
    )
