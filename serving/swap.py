"""Follow `models/CURRENT`, and move it: load the new bundle beside the old, warm it, swap."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path

from diplophrase.bundle import current_bundle, set_current
from diplophrase.classifier import Classifier
from diplophrase.errors import BundleError, DiplophraseError
from diplophrase.versions import find_version
from serving.engine import Engine, load_warm

log = logging.getLogger("diplophrase.serving")


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
    _promoting: set[asyncio.Task[str]] = field(default_factory=set)

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

    async def promote(self, version: str) -> str:
        """Make `version` current and return, once it answers here, the one that did before.

        It is loaded and warmed up before CURRENT moves, so that CURRENT never names a broken one.
        Who stops waiting does not stop the swap.

        Raises:
            DiplophraseError: `not_found` if there is no such version, `bundle_refused` if it is
                not whole, `storage` if CURRENT cannot be written; the old one serves on.
        """
        task = asyncio.create_task(self._promote(version))
        self._promoting.add(task)
        task.add_done_callback(self._promoting.discard)
        return await asyncio.shield(task)

    async def _promote(self, version: str) -> str:
        async with self._checking:
            models, before = self.engine.settings.models, self.serving
            path = find_version(models, version)
            try:
                new = None if version == before else await self._load(path)
                await asyncio.to_thread(set_current, models, version)
            except BundleError as error:
                disk = isinstance(error.__cause__, OSError)
                raise DiplophraseError(
                    f"{error.message} {before} serves on.",
                    kind="storage" if disk else "bundle_refused",
                ) from error
            if new is not None:
                self._answer_with(new)
            self._note(None)
            return before

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
