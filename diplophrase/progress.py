"""How far long work is, in a file that another program may read at any time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

EVERY_S = 0.5


class ProgressFile:
    """Writes `{"fraction", "stage", "step", "of"}`, whole each time, at most twice a second.

    `fraction` counts the stages of the work as equally long; `stages` is how many there are to be.
    """

    def __init__(
        self, path: Path, *, stages: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.path = path
        self.stages = stages
        self._clock = clock
        self._shares: dict[str, float] = {}
        self._written_s = float("-inf")

    def update(self, stage: str, step: int, of: int) -> None:
        """Note that `step` of the `of` steps of a stage are done."""
        self._shares[stage] = step / of
        if step == of or self._clock() - self._written_s >= EVERY_S:
            fraction = sum(self._shares.values()) / max(self.stages, len(self._shares))
            self._write({"fraction": round(fraction, 4), "stage": stage, "step": step, "of": of})

    def _write(self, content: dict[str, object]) -> None:
        scratch = self.path.with_name(f".{self.path.name}")
        scratch.write_text(json.dumps(content), encoding="utf-8")
        scratch.replace(self.path)
        self._written_s = self._clock()
