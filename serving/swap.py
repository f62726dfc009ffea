"""Follow `models/CURRENT`, and move it: load the new bundle beside the old, warm it, swap."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from diplophrase.bundle import current_bundle
from diplophrase.classifier import Classifier
from diplophrase.errors import BundleError, DiplophraseError
from diplophrase.gate import carry_out, decide, earlier, roll_back
from diplophrase.promotions import Promotion
from diplophrase.versions import find_version
from serving.engine import Engine, load_warm

log = logging.getLogger("diplophrase.serving")


@dataclass(frozen=True, slots=True)
class Moved:
    """A decision that was carried out, and the version that answered here until then."""

    record: Promotion
    previous: str


@dataclass(slots=True)
class ModelWatcher:
    """Keeps the engine on the version that CURRENT names.

    A bundle that does not load is refused: the old one serves on, and `refused` says why until
    CURRENT names one that loads.
    """

    engine: Engine
    refused: str | None = None
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _checking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _moving: set[asyncio.Task[Moved]] = field(default_factory=set)

    @property
    def serving(self) -> str:
        """Return the name of the version that answers."""
        return self.engine.classifier.bundle.path.name

    def wake(self) -> None:
        """Look at CURRENT now; for signal handlers of the event loop."""
        self._wake.set()

    async def follow(self) -> None:
        """Look at CURRENT every `model_poll_s` seconds, and when woken, until cancelled."""
        interval = self.engine.settings.model_poll_s
        while True:
            try:
                async with asyncio.timeout(interval):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            await self.check()

    async def check(self) -> None:
        """Swap if CURRENT names another version than the one that answers."""
        async with self._checking:
            settings = self.engine.settings
            try:
                path = current_bundle(settings.models)
                if path.name != self.serving:
                    self._answer_with(await self._load(path))
                self._note(None)
            except BundleError as error:
                self._note(error.message)
            except Exception as error:  # nothing awaits `follow`: it would end unseen
                log.error("a look at CURRENT failed", exc_info=error)
                self._note(f"The look at CURRENT failed ({type(error).__name__}); see the log.")

    async def promote(self, version: str, *, by: str, force: str | None = None) -> Moved:
        """Make `version` current if it passes the gate, and return once it answers here.

        It is compared, loaded and warmed up before CURRENT moves, so that CURRENT never names a
        broken one. Who stops waiting does not stop the swap.

        Raises:
            DiplophraseError: `not_found` if there is no such version, `bundle_refused` if it is
                not whole, `gate_refused` if it is worse and not forced, `conflict` if CURRENT
                moved meanwhile, `storage` if CURRENT or the log cannot be written; the old one
                serves on.
        """
        return await self._finish(self._promote(version, by, force))

    async def roll_back(self, *, by: str) -> Moved:
        """Make the version that answered before current again, without the gate.

        Raises:
            DiplophraseError: `conflict` if there is none; otherwise as `promote`.
        """
        return await self._finish(self._roll_back(by))

    async def _finish(self, work: Coroutine[Any, Any, Moved]) -> Moved:
        task = asyncio.create_task(work)
        self._moving.add(task)
        task.add_done_callback(self._moving.discard)
        return await asyncio.shield(task)

    async def _promote(self, version: str, by: str, force: str | None) -> Moved:
        settings = self.engine.settings
        find_version(settings.models, version)
        with self._serving_on():
            decision = await asyncio.to_thread(
                decide, settings.models, version, test=settings.frozen_test
            )
            move = partial(carry_out, settings.models, decision, by=by, force=force)
            if decision.faults and force is None:
                await asyncio.to_thread(move)  # records it and raises
            return await self._move(version, move)

    async def _roll_back(self, by: str) -> Moved:
        models = self.engine.settings.models
        with self._serving_on():
            version = await asyncio.to_thread(earlier, models)
            return await self._move(version, partial(roll_back, models, by=by, to=version))

    async def _move(self, version: str, move: Callable[[], Promotion]) -> Moved:
        """Load `version`, let `move` make it current, and answer with it."""
        async with self._checking:
            before = self.serving
            path = self.engine.settings.models / version
            new = None if version == before else await self._load(path)
            record = await asyncio.to_thread(move)
            if new is not None:
                self._answer_with(new)
            self._note(None)
            return Moved(record, before)

    @contextmanager
    def _serving_on(self) -> Iterator[None]:
        try:
            yield
        except BundleError as error:
            disk = isinstance(error.__cause__, OSError)
            raise DiplophraseError(
                f"{error.message} {self.serving} serves on.",
                kind="storage" if disk else "bundle_refused",
            ) from error

    def _note(self, refused: str | None) -> None:
        if refused is not None and refused != self.refused:
            log.error("model refused, the old one serves on: %s", refused)
        self.refused = refused
        self.engine.metrics.model_refused(refused is not None)

    async def _load(self, path: Path) -> Classifier:
        settings, metrics = self.engine.settings, self.engine.metrics
        return await asyncio.to_thread(load_warm, path, settings, metrics)

    def _answer_with(self, new: Classifier) -> None:
        old, self.engine.classifier = self.engine.classifier, new
        self.engine.metrics.model_in_use(new.bundle.version, new.labels)
        log.info("model %s answers, %s is dropped", new.bundle.version, old.bundle.version)
