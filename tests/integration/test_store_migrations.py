"""From an empty database and from each former revision to the newest, with what is in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, insert, inspect, text

from diplophrase.errors import DiplophraseError
from serving.store.database import parse_url
from serving.store.migrate import MIGRATIONS
from serving.store.queue import ReviewQueue
from serving.store.tables import current, events, requests, review_texts
from tests.integration.store_fixtures import draft, entries, open_store

REVISIONS = [script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()]
NEWEST, FORMER = REVISIONS[0], REVISIONS[1:]


def upgrade(url: str, revision: str) -> None:
    """Bring an empty database to a former revision, and put an event into it."""
    engine = create_engine(parse_url(url, Path()))
    [entry] = entries(draft(1, id="old-1"))
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        row = {
            "kind": "label",
            "text_key": entry.key,
            "text": entry.annotation.text,
            "annotator": "ada",
            "annotation_id": "old-1",
            "label_set": " economic_cooperation ",
            "annotation": entry.annotation.to_json(),
            "origin": "api",
            "created_at": "2026-11-22T00:00:00.000000Z",
        }
        connection.execute(insert(events).values(row))
    engine.dispose()


def test_there_is_one_line_of_revisions() -> None:
    assert (NEWEST, FORMER) == ("0003", ["0002", "0001"])


@pytest.mark.parametrize("revision", FORMER)
def test_a_former_revision_is_brought_up_with_its_labels(database_url: str, revision: str) -> None:
    upgrade(database_url, revision)
    store = open_store(database_url)
    assert [stored.annotation.id for stored in store.all()] == ["old-1"]
    assert ReviewQueue(store.database).waiting() == []
    [receipt] = store.add(entries(draft(1)), origin="api")
    assert (receipt.id, receipt.state, receipt.event) == ("old-1", "changed", 2)
    with store.database.reading() as connection:
        assert MigrationContext.configure(connection).get_current_revision() == NEWEST
    store.database.close()


def test_the_tables_are_those_that_queries_see(database_url: str) -> None:
    store = open_store(database_url)
    found = inspect(store.database.engine)
    for table in (events, current, requests, review_texts):
        columns = {column["name"] for column in found.get_columns(table.name)}
        assert columns == set(table.columns.keys()), table.name
    store.database.close()


def test_a_newer_database_is_refused_and_left_alone(database_url: str) -> None:
    store = open_store(database_url)
    with store.database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    store.database.close()
    with pytest.raises(DiplophraseError, match="revision '9999', which this version") as raised:
        open_store(database_url)
    assert raised.value.kind == "database"
