"""Many processes on one store: none loses a label, a killed one leaves no half."""

from __future__ import annotations

import random
from collections import Counter

from sqlalchemy import func, select

from serving.store.tables import events, requests
from tests.integration.store_fixtures import draft, entries, open_store
from tests.integration.store_writer import PART, hear_all, start_writer

WRITERS = 8
WRITES = 6  # of each writer
KILLS = 40
LONGEST_S = 0.02  # between what a writer says and its end
SEED = 20261122


def test_eight_processes_at_once_lose_nothing(database_url: str) -> None:
    """They also open the store at once, while nothing is in the database."""
    writers = [start_writer(database_url, f"writer-{number}", WRITES) for number in range(WRITERS)]
    said = [hear_all(heard) for _, heard in writers]
    for process, _ in writers:
        process.join()
    assert [process.exitcode for process, _ in writers] == [0] * WRITERS
    assert said == [[-1, *range(WRITES)]] * WRITERS
    store = open_store(database_url)
    found = Counter(stored.annotation.annotator for stored in store.all())
    assert found == {f"writer-{number}": WRITES * PART for number in range(WRITERS)}
    with store.database.reading() as connection:
        numbers = sorted(connection.execute(select(events.c.id)).scalars())
    assert numbers == list(range(1, WRITERS * WRITES * PART + 1))
    store.database.close()


def test_a_writer_killed_at_any_moment_leaves_whole_writes_only(database_url: str) -> None:
    generator = random.Random(SEED)
    store = open_store(database_url)
    safe: dict[str, int] = {}
    for kill in range(KILLS):
        name = f"writer-{kill}"
        process, heard = start_writer(database_url, name, 10_000)
        said = [heard.recv() for _ in range(generator.randrange(1, 4))]
        heard.poll(generator.random() * LONGEST_S)  # then a moment, drawn by chance
        process.kill()
        said += hear_all(heard)
        process.join()
        safe[name] = said[-1] + 1
    store.add(entries(draft(1, "after")), origin="api")  # waits for what the last one began
    found = Counter(stored.annotation.annotator for stored in store.all())
    assert found.pop("after") == 1
    with store.database.reading() as connection:
        query = select(requests.c.key_id, func.count()).group_by(requests.c.key_id)
        answered = {row[0]: row[1] for row in connection.execute(query)}
    store.database.close()
    assert sum(safe.values()) > KILLS // 2
    assert found == {name: count * PART for name, count in answered.items()}
    for name, writes in safe.items():
        assert writes <= answered.get(name, 0) <= writes + 1, name


def test_a_process_killed_while_it_opens_the_store_harms_nobody(database_url: str) -> None:
    """The tables are made in one transaction."""
    generator = random.Random(SEED)
    for _ in range(KILLS // 2):
        process, heard = start_writer(database_url, "nobody", 0)
        heard.poll(generator.random() * LONGEST_S * 4)
        process.kill()
        process.join()
        heard.close()
    store = open_store(database_url)
    store.add(entries(draft(1)), origin="api")
    assert len(store.all()) == 1
    store.database.close()
