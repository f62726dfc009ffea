"""Requests that count once, however often they are sent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, delete, insert, select

from diplophrase.errors import Detail, InvalidRequest
from serving.store.tables import requests

KEPT = timedelta(hours=24)  # so long a request that is sent again counts once


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


def now() -> str:
    """Return the time as the store writes it."""
    return moment(datetime.now(UTC))


def moment(time: datetime) -> str:
    """Return a time as the store writes it: in UTC, to the microsecond, so that text sorts it."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def body_hash(content: object) -> str:
    """Return the sha256 of a request's content, whatever the order of its fields."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _oldest_kept() -> str:
    return moment(datetime.now(UTC) - KEPT)


def find_answer(connection: Connection, once: Once) -> list[Receipt] | None:
    """Return the receipts of a request that was answered in the last `KEPT`, None if it is new.

    Raises:
        InvalidRequest: if its key was used for another body.
    """
    query = select(requests.c.body_sha256, requests.c.answer).where(
        requests.c.key_id == once.key_id, requests.c.idempotency_key == once.key
    )
    query = query.where(requests.c.created_at >= _oldest_kept())
    row = connection.execute(query).first()
    if row is None:
        return None
    if row.body_sha256 != once.body_sha256:
        rule = "a key stands for one request; use a new key for another body"
        raise InvalidRequest(
            f"Idempotency-Key: {once.key[:60]!r} was used for another body; {rule}.",
            details=[Detail("Idempotency-Key", repr(once.key)[:60], rule)],
        )
    return [Receipt(**receipt) for receipt in json.loads(row.answer)]


def keep_answer(connection: Connection, once: Once, receipts: Sequence[Receipt]) -> None:
    """Keep what a request was answered, in the transaction that answers it; forget the old ones."""
    connection.execute(delete(requests).where(requests.c.created_at < _oldest_kept()))
    answer = [asdict(receipt) for receipt in receipts]
    connection.execute(
        insert(requests).values(
            key_id=once.key_id,
            idempotency_key=once.key,
            body_sha256=once.body_sha256,
            answer=json.dumps(answer),
            created_at=now(),
        )
    )
