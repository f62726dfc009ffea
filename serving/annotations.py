"""`POST` and `GET /v1/annotations`: hand labels of users in and out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BeforeValidator

from diplophrase.errors import Detail, InvalidRequest
from diplophrase.settings import Settings
from serving.desk import Desk
from serving.errors import MOST_DETAILS
from serving.keys import KeyRecord, require_key
from serving.label_schemas import (
    AddedResponse,
    AnnotationsRequest,
    AnnotationsResponse,
    EventsResponse,
    RetractedResponse,
    RetractRequest,
)
from serving.schemas import ErrorResponse
from serving.store.conflicts import Claim
from serving.store.drafts import Draft, Entry, gather
from serving.store.records import Filter, Once, Receipt, Stored, body_hash, moment, now


def _written_out(value: object) -> object:
    """Refuse a bare number, which would be read as seconds since 1970."""
    if isinstance(value, str) and "T" not in value.upper():
        raise ValueError("must be a date, T, a time and its zone, such as 2026-11-22T08:00:00Z")
    return value


def _true_or_false(value: object) -> object:
    if value not in ("true", "false", True, False):
        raise ValueError("must be true or false")
    return value


Time = Annotated[AwareDatetime, BeforeValidator(_written_out)]
Flag = Annotated[bool, BeforeValidator(_true_or_false)]
Text = Annotated[str, Query(min_length=1, max_length=500, pattern=r"^[^\x00]+$")]
Cursor = Annotated[
    str | None, Query(pattern="^[0-9]{1,18}$", description="`next_cursor` of the page before")
]
Limit = Annotated[int, Query(ge=1, le=1000, description="rows on a page")]
Key = Annotated[KeyRecord, Depends(require_key)]
_IDEMPOTENCY = "a request that is sent again with the same key within 24 hours counts once"


def add_annotations(api: APIRouter, settings: Settings, desk: Desk) -> None:
    """Add the calls."""
    failures: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorResponse} for status in (401, 422, 429, 503)
    }

    @api.post(
        "/annotations", response_model=AddedResponse, summary="Add hand labels", responses=failures
    )
    async def add(
        body: AnnotationsRequest,
        request: Request,
        key: Key,
        idempotency_key: Annotated[
            str | None,
            Header(min_length=1, max_length=255, pattern="^[!-~]+$", description=_IDEMPOTENCY),
        ] = None,
    ) -> JSONResponse:
        """Add all annotations or none; every fault is named with the index of its annotation.

        What an annotator said of a text before is superseded, and stays in the events. A text that
        others label otherwise is a conflict, which the answer lists.
        """
        request.state.texts = len(body.annotations)
        once = _once(key, idempotency_key, await request.json())
        return JSONResponse(
            await desk.ask(lambda: _add(desk, settings, body.annotations, key, once))
        )

    @api.post(
        "/annotations/retract",
        response_model=RetractedResponse,
        summary="Take hand labels back",
        responses=failures,
    )
    async def retract(body: RetractRequest, key: Key) -> JSONResponse:
        """Take all these annotations back, or none; the events that made them stay."""
        receipts = await desk.ask(lambda: desk.store.retract(body.ids, origin="api", key_id=key.id))
        return JSONResponse({"annotations": [_receipt(receipt) for receipt in receipts]})

    @api.get(
        "/annotations", response_model=AnnotationsResponse, summary="The hand labels that hold"
    )
    async def find(
        label: Annotated[Text | None, Query(description="only with this label")] = None,
        annotator: Annotated[Text | None, Query(description="only of this annotator")] = None,
        since: Annotated[
            Time | None, Query(description="only received at this time or later")
        ] = None,
        contains: Annotated[
            Text | None, Query(description="only texts with these words; case of a-z is ignored")
        ] = None,
        conflicts: Annotated[
            Flag, Query(description="only texts that others label otherwise")
        ] = False,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> JSONResponse:
        """Give what holds now, oldest event first, page by page."""
        wanted = Filter(label, annotator, _since(since), contains)
        after = int(cursor or 0)
        return JSONResponse(await desk.ask(lambda: _find(desk, wanted, conflicts, after, limit)))

    @api.get(
        "/annotations/events",
        response_model=EventsResponse,
        summary="All that was ever said of a text",
    )
    async def history(
        text: Annotated[str, Query(min_length=1, pattern=r"^[^\x00]+$")],
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> JSONResponse:
        """Give the events of a text, the oldest first; one that is not known has none."""
        after = int(cursor or 0)
        return JSONResponse(await desk.ask(lambda: _history(desk, text, after, limit)))


def _once(key: KeyRecord, given: str | None, body: object) -> Once | None:
    return None if given is None else Once(key.id, given, body_hash(body))


def _since(time: AwareDatetime | None) -> str | None:
    try:
        return None if time is None else moment(time)
    except OverflowError:
        rule = "must be a time from the year 1 to 9999 in UTC"
        raise InvalidRequest(
            f"since: found {time}; {rule}.", details=[Detail("since", str(time), rule)]
        ) from None


def _add(
    desk: Desk,
    settings: Settings,
    drafts: Sequence[Draft],
    key: KeyRecord,
    once: Once | None,
) -> dict[str, Any]:
    entries = check_drafts(drafts, desk, settings)
    store = desk.store
    receipts = store.add(entries, origin="api", key_id=key.id, once=once)
    found = store.conflicts(desk.references(), [entry.key for entry in entries])
    conflicts = [
        {"index": entry.index, "claims": [claim.to_dict() for claim in found[entry.key]]}
        for entry in entries
        if entry.key in found
    ]
    return {"annotations": [_receipt(receipt) for receipt in receipts], "conflicts": conflicts}


def check_drafts(drafts: Sequence[Draft], desk: Desk, settings: Settings) -> list[Entry]:
    """Return what may be added.

    Raises:
        InvalidRequest: naming every fault by the index of its annotation.
    """
    if len(drafts) > settings.max_texts:
        rule = f"at most {settings.max_texts} annotations a request"
        found = f"{len(drafts)} annotations"
        raise InvalidRequest(
            f"annotations: found {found}; {rule}.", details=[Detail("annotations", found, rule)]
        )
    gathered = gather(
        list(enumerate(drafts)),
        desk.codebook(),
        max_characters=settings.max_characters,
        created=now(),
    )
    if gathered.faults:
        first, more = gathered.faults[0], len(gathered.faults) - 1
        rest = f", and {more} more faults (see details)" if more else ""
        raise InvalidRequest(
            f"annotations[{first.index}].{first.field}: found {first.found}; {first.rule}{rest}. "
            f"Nothing was added.",
            details=gathered.faults[:MOST_DETAILS],
        )
    return gathered.entries


def _find(desk: Desk, wanted: Filter, conflicts: bool, after: int, limit: int) -> dict[str, Any]:
    store, references = desk.store, desk.references()
    among = store.conflicting_events(references) if conflicts else None
    rows = store.find(wanted, after=after, limit=limit + 1, among=among)
    page = rows[:limit]
    disputed = store.conflicts(references, [row.key for row in page])
    return {
        "annotations": [_stored(row, disputed.get(row.key, [])) for row in page],
        "next_cursor": str(page[-1].event) if len(rows) > limit else None,
    }


def _history(desk: Desk, text: str, after: int, limit: int) -> dict[str, Any]:
    rows = desk.store.history(text, after=after, limit=limit + 1)
    return {
        "events": [asdict(row) for row in rows[:limit]],
        "next_cursor": str(rows[limit - 1].event) if len(rows) > limit else None,
    }


def _stored(row: Stored, claims: Sequence[Claim]) -> dict[str, Any]:
    others = [claim.to_dict() for claim in claims if claim.id != row.annotation.id]
    return {
        "annotation": row.annotation.model_dump(mode="json"),
        "event": row.event,
        "origin": row.origin,
        "model_version": row.model_version,
        "received": row.received,
        "conflicts": others,
    }


def _receipt(receipt: Receipt) -> dict[str, Any]:
    return {"id": receipt.id, "state": receipt.state, "event": receipt.event}
