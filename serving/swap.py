"""Follow `models/CURRENT`: load the new bundle beside the old one, warm it, swap."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path

from diplophrase.bundle import current_bundle
from diplophrase.errors import BundleError
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
                if path.name == self.engine.classifier.bundle.path.name:
                    self.refused = None
                    return
                await self._swap(path)
            except BundleError as error:
                self._refuse(error.message)
            except Exception as error:  # nothing awaits `follow`: it would end unseen
                log.error("a look at CURRENT failed", exc_info=error)
                self._refuse(f"The look at CURRENT failed ({type(error).__name__}); see the log.")

    def _refuse(self, reason: str) -> None:
        if reason != self.refused:
            log.error("model refused, the old one serves on: %s", reason)
        self.refused = reason

    async def _swap(self, path: Path) -> None:
        old = self.engine.classifier
        settings, metrics = self.engine.settings, self.engine.metrics
        new = await asyncio.to_thread(load_warm, path, settings, metrics)
        self.engine.classifier = new
        metrics.model_in_use(new.bundle.version, new.labels)
        self.refused = None
        log.info("model %s answers, %s is dropped", path.name, old.bundle.version)
