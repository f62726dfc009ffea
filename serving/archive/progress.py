"""How far a run is: a bar on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from diplophrase.progress import ProgressFile

_LINE_EVERY_S = 60.0
_STEPS = 1000


class Reporter:
    """Tells people on stderr how many sentences are done, how fast, and how long is left.

    `quiet` says nothing at all, for calls from Python. The share that is read goes to the file
    `progress`, too, in thousandths.
    """

    def __init__(
        self,
        console: Console | None = None,
        *,
        quiet: bool = False,
        progress: ProgressFile | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console or Console(stderr=True)
        self._quiet = quiet
        self._progress = progress
        self._clock = clock
        self._start = self._last = clock()
        self._first_share: float | None = None
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if not self._quiet and self._console.is_terminal:
            self._bar = Progress(
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("{task.description}"),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._bar.start()
            self._task = self._bar.add_task("reading", total=1.0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if kind is None:
            self._note(1.0)

    def update(self, sentences: int, share: float) -> None:
        """Report `sentences` done in this run and the `share` (0 to 1) of all input that is read.

        A share of 0 says that there is no telling, as with a pipe.
        """
        self._note(share)
        if self._quiet:
            return
        now = self._clock()
        if self._first_share is None:
            self._first_share = share
        rate = sentences / max(now - self._start, 1e-9)
        if self._bar is not None and self._task is not None:
            words = f"{sentences} sentences, {rate:.0f}/s"
            known = share if share > 0 else None
            self._bar.update(self._task, completed=known, total=1.0 if known else None)
            self._bar.update(self._task, description=words)
        elif now - self._last >= _LINE_EVERY_S:
            self._last = now
            self._console.print(self._line(now, sentences, rate, share), highlight=False)

    def _note(self, share: float) -> None:
        if self._progress is not None:
            self._progress.update("scoring", int(share * _STEPS), _STEPS)

    def _line(self, now: float, sentences: int, rate: float, share: float) -> str:
        line = f"{sentences} sentences, {rate:.0f} a second"
        done = share - (self._first_share or 0.0)
        if share <= 0:
            return line
        left = (now - self._start) * (1 - share) / done if done > 0 else None
        return f"{line}, {share:.0%} read" + (f", {left / 60:.0f} min left" if left else "")
