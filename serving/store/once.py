"""Requests that count once, however often they are sent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, delete, insert, select

from diplophrase.errors import Detail, InvalidRequest
from serving.store.records import Once, Receipt, moment, now
from serving.store.tables import requests

KEPT = timedelta(hours=24)  # so long a request that is sent again counts once


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
