"""Annotations in and out of the database: added, taken back, found; nothing is overwritten."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from sqlalchemy import Connection, Row, Select, Table, and_, func, insert, select

from diplophrase.annotations import Annotation, text_key
from diplophrase.codebook import own_labels_in
from diplophrase.errors import Detail, InvalidRequest
from serving.store.conflicts import Claim, References, find_conflicts
from serving.store.database import Database
from serving.store.drafts import Entry
from serving.store.once import find_answer, keep_answer
from serving.store.records import Event, Filter, Once, Receipt, Stored, now
from serving.store.tables import current, events

_CHUNK = 500  # values of one IN; every database takes so many
Origin = Literal["api", "import"]


class LabelStore:
    """The hand labels that users add. Safe to use from several threads and processes."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(
        self,
        entries: Sequence[Entry],
        *,
        origin: Origin,
        key_id: str | None = None,
        once: Once | None = None,
        skip_unchanged: bool = False,
    ) -> list[Receipt]:
        """Add all annotations or none; an annotator's earlier label of a text is superseded.

        With `skip_unchanged`, one that says what holds already makes no event. With `once`, a
        request that was answered before gets the same receipts and changes nothing.

        Raises:
            InvalidRequest: if an id stands for another annotation, by index, or the idempotency
                key was used for another body.
            DiplophraseError: `database` if it fails; then nothing was added.
        """
        with self.database.writing() as connection:
            if once and (known := find_answer(connection, once)):
                return known
            before = _current_by_key(connection, [entry.key for entry in entries])
            ids = _ids_in_use(connection, [entry.annotation.id for entry in entries])
            _check_ids(entries, ids)
            receipts = []
            for entry in entries:
                note = entry.annotation
                known_now = before.get((entry.key, note.annotator))
                if known_now and not entry.has_own_id:
                    note = note.model_copy(update={"id": known_now.annotation_id})
                if skip_unchanged and known_now and _same(known_now.annotation, note):
                    receipts.append(Receipt(note.id, "unchanged", known_now.id))
                    continue
                row = _label_row(entry, note, origin, key_id)
                state = "changed" if known_now else "added"
                receipts.append(Receipt(note.id, state, _append(connection, row)))
            if once:
                keep_answer(connection, once, receipts)
        return receipts

    def retract(
        self, ids: Sequence[str], *, origin: Origin, key_id: str | None = None
    ) -> list[Receipt]:
        """Take all these annotations back, or none; the events that made them stay.

        One that was taken back before gets the receipt of then.

        Raises:
            InvalidRequest: naming each id that no annotation has or had, by index.
        """
        receipts = {}
        with self.database.writing() as connection:
            held = {row.annotation_id: row for row in _where_in(connection, "annotation_id", ids)}
            past = _where_in(connection, "annotation_id", ids, table=events)
            gone = {row.annotation_id: row.id for row in past if row.kind == "retract"}
            details = [
                Detail("ids", repr(ident)[:60], "must be the id of an annotation", index)
                for index, ident in enumerate(ids)
                if ident not in held and ident not in gone
            ]
            if details:
                raise InvalidRequest(
                    f"{len(details)} of {len(ids)} ids stand for no annotation. GET "
                    f"/v1/annotations and `diplophrase labels export` give those that hold. "
                    f"Nothing was taken back.",
                    details=details,
                )
            for ident in dict.fromkeys(ids):
                number = gone.get(ident, 0)
                if ident in held:
                    number = _append(connection, _retract_row(held[ident], origin, key_id))
                receipts[ident] = Receipt(ident, "retracted", number)
        return list(receipts.values())

    def all(self) -> list[Stored]:
        """Return every annotation that holds now, sorted by id."""
        with self.database.reading() as connection:
            rows = connection.execute(select(current)).all()
        return sorted((_stored(row) for row in rows), key=lambda item: item.annotation.id)

    def find(
        self,
        wanted: Filter,
        *,
        after: int = 0,
        limit: int = 100,
        among: Iterable[int] | None = None,
    ) -> list[Stored]:
        """Return up to `limit` annotations that hold now, of events after `after`, oldest first.

        `among` narrows them to these events.
        """
        query = _filtered(select(current), wanted).where(current.c.id > after)
        query = query.order_by(current.c.id).limit(limit)
        with self.database.reading() as connection:
            if among is None:
                return [_stored(row) for row in connection.execute(query)]
            found: list[Stored] = []
            numbers = sorted(number for number in among if number > after)
            for start in range(0, len(numbers), _CHUNK):
                part = query.where(current.c.id.in_(numbers[start : start + _CHUNK]))
                found += [_stored(row) for row in connection.execute(part)]
                if len(found) >= limit:
                    break
        return found[:limit]

    def history(self, text: str, *, after: int = 0, limit: int = 100) -> list[Event]:
        """Return up to `limit` events of a text after the event `after`, oldest first.

        White space and Unicode's composed forms do not make another text.
        """
        query = select(events).where(events.c.text_key == text_key(text), events.c.id > after)
        with self.database.reading() as connection:
            rows = connection.execute(query.order_by(events.c.id).limit(limit)).all()
        return [_event(row) for row in rows]

    def conflicts(
        self, references: References, keys: Sequence[str] | None = None
    ) -> dict[str, list[Claim]]:
        """Return the texts, by key, that are labelled otherwise by others or by our own files.

        With `keys`, only these texts are looked at.
        """
        return find_conflicts(((key, claim) for _, key, claim in self._claims(keys)), references)

    def conflicting_events(self, references: References) -> set[int]:
        """Return the numbers of the events whose labels are in conflict."""
        rows = self._claims(None)
        keys = find_conflicts(((key, claim) for _, key, claim in rows), references)
        return {number for number, key, _ in rows if key in keys}

    def _claims(self, keys: Sequence[str] | None) -> list[tuple[int, str, Claim]]:
        """Return event, text key and claim of what holds now, oldest first."""
        query = select(current).order_by(current.c.id)
        with self.database.reading() as connection:
            if keys is None:
                rows = list(connection.execute(query))
            else:
                rows = _where_in(connection, "text_key", keys)
        return [(row.id, row.text_key, _claim(row)) for row in rows]

    def unknown(self, notes: Sequence[Annotation]) -> list[Annotation]:
        """Return those annotations that were never in the store as they stand."""
        keys = list({text_key(note.text) for note in notes})
        with self.database.reading() as connection:
            rows = _where_in(connection, "text_key", keys, table=events)
        known = {row.annotation for row in rows}
        return [note for note in notes if note.to_json() not in known]


def _filtered(query: Select[Any], wanted: Filter) -> Select[Any]:
    rules = []
    if wanted.label is not None:
        rules.append(current.c.label_set.contains(f" {wanted.label} ", autoescape=True))
    if wanted.annotator is not None:
        rules.append(current.c.annotator == wanted.annotator)
    if wanted.since is not None:
        rules.append(current.c.created_at >= wanted.since)
    if wanted.contains is not None:
        rules.append(current.c.text.icontains(wanted.contains, autoescape=True))
    return query.where(and_(True, *rules))


def _chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]


def _where_in(
    connection: Connection, column: str, values: Sequence[str], *, table: Table = current
) -> list[Row[Any]]:
    return [
        row
        for part in _chunks(values)
        for row in connection.execute(select(table).where(table.c[column].in_(part)))
    ]


def _current_by_key(connection: Connection, keys: Sequence[str]) -> dict[tuple[str, str], Row[Any]]:
    rows = _where_in(connection, "text_key", keys)
    return {(row.text_key, row.annotator): row for row in rows}


def _ids_in_use(connection: Connection, ids: Sequence[str]) -> dict[str, tuple[str, str]]:
    rows = _where_in(connection, "annotation_id", ids)
    return {row.annotation_id: (row.text_key, row.annotator) for row in rows}


def _check_ids(entries: Sequence[Entry], in_use: dict[str, tuple[str, str]]) -> None:
    details = []
    for entry in entries:
        holder = in_use.get(entry.annotation.id)
        if holder and holder != (entry.key, entry.annotation.annotator):
            rule = "an id stands for one text and annotator; the store has it for another"
            details.append(Detail("id", entry.annotation.id[:60], rule, entry.index))
    if details:
        raise InvalidRequest(
            f"{len(details)} of {len(entries)} ids stand for other annotations. Leave the ids out, "
            f"and the store makes them.",
            details=details,
        )


def _same(known: str, note: Annotation) -> bool:
    """Tell whether an annotation says what the stored one says, but for when it was made."""
    left_out = {"created"}
    stored = Annotation.model_validate_json(known)
    return stored.model_dump(exclude=left_out) == note.model_dump(exclude=left_out)


def _label_row(
    entry: Entry, note: Annotation, origin: Origin, key_id: str | None
) -> dict[str, Any]:
    return {
        "kind": "label",
        "text_key": entry.key,
        "text": note.text,
        "annotator": note.annotator,
        "annotation_id": note.id,
        "label_set": f" {' '.join(sorted(note.labels))} ",
        "annotation": note.to_json(),
        "origin": origin,
        "key_id": key_id,
        "model_version": entry.model_version,
        "created_at": now(),
    }


def _retract_row(row: Row[Any], origin: Origin, key_id: str | None) -> dict[str, Any]:
    kept = {
        name: value for name, value in row._mapping.items() if name not in ("id", "model_version")
    }
    return {
        **kept,
        "kind": "retract",
        "origin": origin,
        "key_id": key_id,
        "model_version": None,
        "created_at": now(),
    }


def _append(connection: Connection, row: dict[str, Any]) -> int:
    number = connection.execute(insert(events).values(row).returning(events.c.id)).scalar_one()
    assert isinstance(number, int)
    return number


def _stored(row: Row[Any]) -> Stored:
    return Stored(
        annotation=Annotation.model_validate_json(row.annotation),
        event=row.id,
        key=row.text_key,
        origin=row.origin,
        model_version=row.model_version,
        received=row.created_at,
    )


def _event(row: Row[Any]) -> Event:
    return Event(
        event=row.id,
        kind=row.kind,
        received=row.created_at,
        annotator=row.annotator,
        id=row.annotation_id,
        labels=tuple(row.label_set.split()),
        text=row.text,
        origin=row.origin,
        key_id=row.key_id,
        model_version=row.model_version,
    )


def _claim(row: Row[Any]) -> Claim:
    own = own_labels_in(json.loads(row.annotation).get("codebook", ""))
    return Claim(row.annotator, row.annotation_id, tuple(row.label_set.split()), own)


def last_event(connection: Connection) -> int:
    """Return the number of the newest event, 0 if there is none."""
    return int(connection.execute(select(func.coalesce(func.max(events.c.id), 0))).scalar_one())
