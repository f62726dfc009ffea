"""A process that writes to the store until it is done, or killed."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

from serving.store.records import Once
from tests.integration.store_fixtures import draft, entries, open_store

PART = 5  # annotations of one write
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__])  # a new writer starts in a moment


def write(url: str, name: str, writes: int, safe: Connection) -> None:
    """Open the store, then write parts of annotations; say the number of each that is safe."""
    store = open_store(url)
    safe.send(-1)
    for number in range(writes):
        rows = entries(*(draft(number * PART + place, name) for place in range(PART)))
        store.add(rows, origin="api", once=Once(name[:16], str(number), "0" * 64))
        safe.send(number)
    safe.close()


def start_writer(url: str, name: str, writes: int) -> tuple[ForkServerProcess, Connection]:
    """Start a writer and return it, with what it says is safe."""
    heard, said = _processes.Pipe(duplex=False)
    process = _processes.Process(target=write, args=(url, name, writes, said), daemon=True)
    process.start()
    said.close()
    return process, heard


def hear_all(heard: Connection) -> list[int]:
    """Return what a writer says until it ends."""
    found = []
    while True:
        try:
            found.append(heard.recv())
        except EOFError:
            return found
