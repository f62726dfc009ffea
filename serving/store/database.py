"""Opening the store's database, bringing it up to date, and its transactions."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, create_engine, event, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from diplophrase.errors import DiplophraseError, MissingExtra, SettingsError

DEFAULT_FILE = "store.db"  # in the folder of labels
_BUSY_S = 30.0  # a writer waits so long for the one before it
_CONNECT_S = 5  # for PostgreSQL to answer
_LOCK = 0x6469706C  # of PostgreSQL's advisory locks, the one that this store's writers take
_WRITES = "diplophrase_writes"


def parse_url(url: str | None, labels: Path) -> URL:
    """Return where the store lives; without `url` that is a SQLite file in the folder `labels`.

    Raises:
        SettingsError: if it is no URL of SQLite or PostgreSQL.
        MissingExtra: if PostgreSQL's driver is not installed.
    """
    rule = (
        "database: must be a URL such as sqlite:///labels/store.db or "
        "postgresql://user:password@host/name"
    )
    if url is None:
        return URL.create("sqlite", database=str(labels / DEFAULT_FILE))
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, ValueError):
        raise SettingsError(f"{rule}; what is given is no URL.") from None
    if backend == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return parsed.set(drivername="sqlite")
    if backend not in ("postgresql", "postgres"):
        raise SettingsError(f"{rule}; found {parsed.render_as_string(hide_password=True)}.")
    if find_spec("psycopg") is None:
        raise MissingExtra("a label store in PostgreSQL", "postgres", "psycopg")
    return parsed.set(drivername="postgresql+psycopg")


def database_exists(url: URL) -> bool:
    """Tell whether there may be a store; a database server is taken to have one."""
    return url.get_backend_name() != "sqlite" or Path(url.database or "").is_file()


class Database:
    """A database that is up to date; safe to use from several threads."""

    def __init__(self, url: URL) -> None:
        """Connect and bring the tables up to date.

        Raises:
            DiplophraseError: `database` if it does not answer, is not ours, or is newer.
        """
        self.url = url
        self.name = url.render_as_string(hide_password=True)
        self._is_sqlite = url.get_backend_name() == "sqlite"
        if self._is_sqlite:
            options: dict[str, Any] = {"connect_args": {"timeout": _BUSY_S}}
        else:
            connect = {"connect_timeout": _CONNECT_S}
            options = {"connect_args": connect, "pool_pre_ping": True}
        self.engine = create_engine(url, **options)
        if self._is_sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        try:
            self._migrate()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection in a transaction that only reads.

        Raises:
            DiplophraseError: `database` if the database fails.
        """
        with self._translated(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a connection in a transaction that no other writer shares time with.

        So events are numbered in the order in which they appear to readers, and what is read
        here still holds when it is written. All of the block is kept, or nothing of it.

        Raises:
            DiplophraseError: `database` if the database fails.
        """
        writer = self.engine.execution_options(**{_WRITES: True})
        with self._translated(), writer.begin() as connection:
            if not self._is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            yield connection

    def _migrate(self) -> None:
        with self._one_at_a_time():
            if self._is_sqlite:
                self._use_wal()
            from serving.store.migrate import upgrade  # here, as it slows a start down

            with self.writing() as connection:
                unknown = upgrade(connection)
                if unknown is not None:
                    raise DiplophraseError(
                        f"The label store {self.name} has revision {unknown!r}, which this version "
                        f"of diplophrase does not know. Update diplophrase.",
                        kind="database",
                    )

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """Let one process open a SQLite file at a time: turning WAL on waits for nobody."""
        if not self._is_sqlite:
            yield
            return
        path = Path(self.url.database or "")
        try:
            lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise self._unusable(error.strerror or type(error).__name__) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _use_wal(self) -> None:
        with self._translated():
            raw = self.engine.raw_connection()
            try:
                raw.cursor().execute("PRAGMA journal_mode=WAL")
            finally:
                raw.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (DataError, IntegrityError, ProgrammingError):
            raise  # a fault of ours
        except DBAPIError as error:
            raise self._unusable(str(error.orig).strip().partition("\n")[0]) from error
        except PoolTimeout as error:
            raise self._unusable("all its connections are in use") from error
        except sqlite3.Error as error:  # of what is said before SQLAlchemy has the connection
            raise self._unusable(str(error)) from error

    def _unusable(self, reason: str) -> DiplophraseError:
        return DiplophraseError(
            f"The label store {self.name} cannot be used: {reason}. Check that the database is "
            f"there and takes writes, or name another with the setting `database`.",
            kind="database",
        )


def _prepare_sqlite(connection: Any, record: object) -> None:
    connection.isolation_level = None  # BEGIN is said by `_begin_sqlite` and nobody else
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=FULL")  # what was acknowledged survives a power cut
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
