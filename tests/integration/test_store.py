"""The label store on SQLite and on PostgreSQL: what is added holds, and nothing is lost."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.exc import DBAPIError

from diplophrase.errors import DiplophraseError, InvalidRequest, SettingsError
from serving.store.conflicts import Claim
from serving.store.database import Database, parse_url
from serving.store.once import KEPT
from serving.store.records import Filter, Once, moment
from serving.store.store import LabelStore
from serving.store.tables import events, requests
from tests.integration.store_fixtures import draft, entries, open_store, plain, texts_of


def test_what_is_added_holds_as_it_was_given(store: LabelStore) -> None:
    [entry] = entries(draft(1, model_version="m1", note="Ports count.", id="own-1"))
    [receipt] = store.add([entry], origin="api", key_id="0123456789abcdef")
    [stored] = store.all()
    assert (receipt.id, receipt.state, receipt.event) == ("own-1", "added", stored.event)
    assert stored.annotation == entry.annotation
    assert (stored.origin, stored.model_version) == ("api", "m1")
    assert stored.annotation.evidence == {"economic_cooperation": (22, 42)}


def test_the_last_word_of_an_annotator_holds_and_all_events_stay(store: LabelStore) -> None:
    [first] = store.add(entries(draft(1)), origin="api")
    [second] = store.add(entries(plain(1)), origin="api")
    assert (first.state, second.state, first.id == second.id) == ("added", "changed", True)
    assert [item.annotation.labels for item in store.all()] == [()]
    with store.database.reading() as connection:
        rows = connection.execute(
            select(events.c.kind, events.c.label_set).order_by(events.c.id)
        ).all()
    assert [tuple(row) for row in rows] == [("label", " economic_cooperation "), ("label", "  ")]


def test_taking_back_leaves_nothing_but_its_events(store: LabelStore) -> None:
    [one, two] = store.add(entries(draft(1), draft(2)), origin="api")
    rule = "1 of 2 ids stand for no annotation"
    with pytest.raises(InvalidRequest, match=rule) as raised:
        store.retract([one.id, "nothing"], origin="api")
    assert [(fault.index, fault.found) for fault in raised.value.details] == [(1, "'nothing'")]
    assert len(store.all()) == 2
    [receipt] = store.retract([one.id, one.id], origin="api")
    assert store.retract([one.id], origin="api") == [receipt]
    assert [item.annotation.id for item in store.all()] == [two.id]
    [again] = store.add(entries(draft(1)), origin="api")
    assert (again.id, again.state) == (one.id, "added")


def test_events_cannot_be_changed(store: LabelStore) -> None:
    store.add(entries(draft(1)), origin="api")
    for statement in (update(events).values(annotator="eve"), delete(events)):
        with (
            pytest.raises((DBAPIError, DiplophraseError), match="append-only"),
            store.database.writing() as connection,
        ):
            connection.execute(statement)
    assert [item.annotation.annotator for item in store.all()] == ["ada"]


def test_a_request_under_one_key_counts_once(store: LabelStore) -> None:
    once = Once("0123456789abcdef", "form-7", "a" * 64)
    first = store.add(entries(draft(1)), origin="api", once=once)
    assert store.add(entries(draft(1)), origin="api", once=once) == first
    other = Once("0123456789abcdef", "form-7", "b" * 64)
    with pytest.raises(InvalidRequest, match="'form-7' was used for another body"):
        store.add(entries(draft(2)), origin="api", once=other)
    elsewhere = Once("fedcba9876543210", "form-7", "b" * 64)
    store.add(entries(draft(2)), origin="api", once=elsewhere)
    with store.database.reading() as connection:
        assert sorted(connection.execute(select(events.c.id)).scalars()) == [1, 2]


def test_an_id_stands_for_one_annotation_and_a_fault_keeps_all_out(store: LabelStore) -> None:
    store.add(entries(draft(1, id="x")), origin="api")
    with pytest.raises(InvalidRequest, match="1 of 2 ids stand for other annotations") as raised:
        store.add(entries(draft(2), draft(3, id="x")), origin="api")
    assert [(fault.index, fault.field) for fault in raised.value.details] == [(1, "id")]
    assert len(store.all()) == 1


def test_what_says_nothing_new_makes_no_event_when_asked(store: LabelStore) -> None:
    store.add(entries(draft(1), draft(2)), origin="import", skip_unchanged=True)
    changed = store.add(
        entries(draft(1, created="2027-01-01"), plain(2)), origin="import", skip_unchanged=True
    )
    assert [receipt.state for receipt in changed] == ["unchanged", "changed"]
    assert [receipt.event for receipt in changed] == [1, 3]


def test_filters_narrow_and_pages_join(store: LabelStore) -> None:
    rows = [draft(1), plain(2, "bea"), draft(3, "bea"), plain(4, text="100% of A_B, not AxB.")]
    store.add(entries(*rows), origin="api")
    cases = {
        Filter(label="economic_cooperation"): [1, 3],
        Filter(label="economic"): [],
        Filter(annotator="bea"): [2, 3],
        Filter(contains="BOTH sides"): [1, 2, 3],
        Filter(contains="100%"): [4],
        Filter(contains="a_b"): [4],
        Filter(contains="a%b"): [],
        Filter(since="2000-01-01T00:00:00.000000Z"): [1, 2, 3, 4],
        Filter(since="2999-01-01T00:00:00.000000Z"): [],
        Filter(label="economic_cooperation", annotator="bea"): [3],
    }
    found = {wanted: [item.event for item in store.find(wanted)] for wanted in cases}
    assert found == cases
    pages = [store.find(Filter(), after=after, limit=3) for after in (0, 3)]
    assert [[item.event for item in page] for page in pages] == [[1, 2, 3], [4]]
    assert [item.event for item in store.find(Filter(), among=[4, 2], limit=1)] == [2]


def test_conflicts_name_everybody_who_says_otherwise(store: LabelStore) -> None:
    drafts = [draft(1), plain(1, "bea"), draft(2), draft(2, "bea"), plain(3), draft(4)]
    one, _, two, _, three, four = entries(*drafts)
    references = {
        three.key: Claim("seeds.jsonl", "s3", ("economic_cooperation",)),
        four.key: Claim("seeds.jsonl", "s4", ("economic_cooperation",)),
    }
    store.add(entries(*drafts), origin="api")
    found = store.conflicts(references)
    assert {key: [(claim.by, claim.labels) for claim in found[key]] for key in found} == {
        one.key: [("ada", ("economic_cooperation",)), ("bea", ())],
        three.key: [("seeds.jsonl", ("economic_cooperation",)), ("ada", ())],
    }
    assert store.conflicting_events(references) == {1, 2, 5}
    assert store.conflicts(references, [two.key, four.key]) == {}
    store.add(entries(draft(1, "bea")), origin="api")
    assert list(store.conflicts(references)) == [three.key]


def test_white_space_and_composed_letters_do_not_make_another_text(store: LabelStore) -> None:
    spellings = ["The café  opens.", " The cafe\u0301 opens."]
    drafts = [
        plain(1, name, text=spelling)
        for name, spelling in zip(("ada", "bea"), spellings, strict=True)
    ]
    found = entries(*drafts)
    assert found[0].key == found[1].key
    store.add(found, origin="api")
    assert texts_of(store) == spellings or texts_of(store) == spellings[::-1]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nothing", "what is given is no URL"),
        ("mysql://u:secret@host/x", r"found mysql://u:\*\*\*@host/x"),
        ("sqlite://", "found sqlite://"),
        ("sqlite:///:memory:", "found sqlite:///%3Amemory%3A"),
    ],
)
def test_other_databases_are_refused(url: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse_url(url, Path("labels"))


def test_without_a_url_the_store_is_a_file_beside_the_labels() -> None:
    assert parse_url(None, Path("somewhere/labels")).database == "somewhere/labels/store.db"


def test_a_database_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(DiplophraseError, match="cannot be used") as raised:
        open_store("postgresql://u:secret@127.0.0.1:1/x")
    assert (raised.value.kind, "secret" in raised.value.message) == ("database", False)
    missing = tmp_path / "none" / "store.db"
    with pytest.raises(DiplophraseError, match=re.escape(str(missing))) as raised:
        open_store(f"sqlite:///{missing}")
    assert raised.value.kind == "database"
    other = tmp_path / "other.db"
    other.write_bytes(b"This is no database, and it is long enough to be seen as such. " * 40)
    with pytest.raises(DiplophraseError, match="file is not a database"):
        open_store(f"sqlite:///{other}")


def test_sqlite_writes_ahead_and_to_the_disk(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    with store.database.reading() as connection:
        pragmas = ("journal_mode", "synchronous", "busy_timeout")
        found = [connection.execute(text(f"PRAGMA {name}")).scalar_one() for name in pragmas]
    assert found == ["wal", 2, 30_000]
    store.database.close()


def test_the_same_database_may_be_open_twice(database_url: str) -> None:
    one, two = open_store(database_url), open_store(database_url)
    one.add(entries(draft(1)), origin="api")
    two.add(entries(draft(2)), origin="api")
    assert [item.annotation for item in one.all()] == [item.annotation for item in two.all()]
    assert isinstance(one.database, Database)
    for store in (one, two):
        assert len(store.all()) == 2
        store.database.close()


def test_a_key_is_forgotten_after_a_day(store: LabelStore) -> None:
    once, other = (Once("0123456789abcdef", key, "a" * 64) for key in ("form-7", "form-8"))
    first = store.add(entries(draft(1)), origin="api", once=once)
    store.add(entries(draft(2)), origin="api", once=other)
    ages = {"form-7": KEPT + timedelta(seconds=1), "form-8": KEPT - timedelta(minutes=1)}
    with store.database.writing() as connection:
        for key, age in ages.items():
            row = update(requests).where(requests.c.idempotency_key == key)
            connection.execute(row.values(created_at=moment(datetime.now(UTC) - age)))
    assert [
        receipt.event for receipt in store.add(entries(draft(2)), origin="api", once=other)
    ] == [2]
    anew = Once("0123456789abcdef", "form-7", "b" * 64)
    [again] = store.add(entries(draft(1)), origin="api", once=anew)
    assert (again.state, again.event) == ("changed", 3)
    assert first[0].event == 1
    with store.database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(requests)).scalar_one() == 2


def test_the_history_of_a_text_is_all_that_was_said_of_it(store: LabelStore) -> None:
    key = "0123456789abcdef"
    [one] = store.add(entries(draft(1, model_version="m1")), origin="api", key_id=key)
    store.add(entries(draft(2)), origin="import")
    store.add(entries(plain(1, "bea")), origin="import")
    store.retract([one.id], origin="api", key_id=key)
    found = store.history(f"  {draft(1)['text']} ")
    assert [
        (each.event, each.kind, each.annotator, each.labels, each.origin, each.key_id)
        for each in found
    ] == [
        (1, "label", "ada", ("economic_cooperation",), "api", key),
        (3, "label", "bea", (), "import", None),
        (4, "retract", "ada", ("economic_cooperation",), "api", key),
    ]
    assert [each.model_version for each in found] == ["m1", None, None]
    assert found[0].id == found[2].id == one.id
    assert found[0].received <= found[1].received <= found[2].received
    assert [each.event for each in store.history(draft(1)["text"], after=1, limit=1)] == [3]
    assert store.history("never seen") == []
