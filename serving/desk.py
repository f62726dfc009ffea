"""Where the service asks the label store: off the event loop, bounded, opened at the first need."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from diplophrase.codebook import Codebook, load_codebook, own_files
from diplophrase.errors import DiplophraseError, InvalidData
from diplophrase.settings import Settings
from serving.store.conflicts import Claim, ReferenceFiles, stamp_of

if TYPE_CHECKING:  # imported at the first need: a start would take a tenth longer
    from serving.store.database import Database
    from serving.store.queue import ReviewQueue
    from serving.store.store import LabelStore

T = TypeVar("T")
log = logging.getLogger("diplophrase.serving")

_THREADS = 4
_MOST_WAITING = 64  # requests; more are refused at once


class Desk:
    """The label store of one process. A database that is down concerns nobody else."""

    def __init__(self, settings: Settings) -> None:
        """Check where the store is; it is opened when it is first needed.

        Raises:
            SettingsError: if `database` is no URL of SQLite or PostgreSQL.
            MissingExtra: if PostgreSQL's driver is not installed.
        """
        if settings.database is not None:
            from serving.store.database import parse_url

            parse_url(settings.database, settings.labels)
        self._settings = settings
        self._codebook = CodebookFile(settings.labels / "codebook.yaml")
        self._references = ReferenceFiles(settings.labels)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="label-store")
        self._opening = threading.Lock()
        self._database: Database | None = None
        self._waiting = 0

    async def ask(self, work: Callable[[], T]) -> T:
        """Run `work`, which may use this desk's store, in a thread of its own.

        Who stops waiting does not stop the work: what it writes is written whole.

        Raises:
            DiplophraseError: `overloaded` if too many wait, `database` if the store fails.
        """
        if self._waiting >= _MOST_WAITING:
            raise DiplophraseError(
                f"{self._waiting} requests wait for the label store. Try again in a second.",
                kind="overloaded",
            )
        self._waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        future.add_done_callback(self._leave)
        try:
            return await asyncio.shield(future)
        except DiplophraseError as error:
            if error.kind != "database":
                raise
            log.error("the label store failed: %s", error.message)
            raise DiplophraseError(
                "The label store cannot be used; the service's log says why. Labelling texts goes "
                "on. Try again later.",
                kind="database",
            ) from error

    def _leave(self, future: asyncio.Future[T]) -> None:
        self._waiting -= 1
        if not future.cancelled():
            future.exception()  # looked at, though nobody may wait for it any more

    @property
    def store(self) -> LabelStore:
        """Return the store; only for work that `ask` runs."""
        from serving.store.store import LabelStore

        return LabelStore(self._open())

    @property
    def queue(self) -> ReviewQueue:
        """Return the queue of texts to look at; only for work that `ask` runs."""
        from serving.store.queue import ReviewQueue

        return ReviewQueue(self._open())

    def codebook(self) -> Codebook:
        """Return the codebook as it stands now.

        Raises:
            DiplophraseError: `not_ready` if there is none that can be read.
        """
        try:
            return self._codebook.read()
        except InvalidData as error:
            log.error("no annotation can be taken in: %s", error.message)
            raise DiplophraseError(
                "The service has no codebook to hold annotations against: the setting `labels` "
                "must name a folder with codebook.yaml. Its log says more.",
                kind="not_ready",
            ) from error

    def references(self) -> dict[str, Claim]:
        """Return what the annotations beside the store say of each text, by its key."""
        return self._references.claims()

    def close(self) -> None:
        """Finish what has begun, and close the database."""
        self._pool.shutdown()
        if self._database is not None:
            self._database.close()

    def _open(self) -> Database:
        with self._opening:
            if self._database is None:
                from serving.store.database import Database, parse_url

                settings = self._settings
                self._database = Database(parse_url(settings.database, settings.labels))
            return self._database


class CodebookFile:
    """A codebook that is read again when its file changes, or one of a user's own labels."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[object, Codebook] | None = None

    def read(self) -> Codebook:
        """Return the codebook.

        Raises:
            InvalidData: if the file is missing or no codebook.
        """
        try:
            stamp = stamp_of([self._path, *own_files(self._path)])
        except OSError:
            return load_codebook(self._path)  # which says what is wrong
        if self._seen is None or self._seen[0] != stamp:
            self._seen = (stamp, load_codebook(self._path))
        return self._seen[1]
