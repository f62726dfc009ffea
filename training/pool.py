"""Several trainings side by side, each in a process of its own with one thread.

On two cores, two trainings of one thread each take three quarters of the time that the same two
take one after the other with two threads each.
"""

from __future__ import annotations

import multiprocessing
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diplophrase.annotations import Annotation
from training.finetune import Step, TrainConfig
from training.fit import Candidate, Recipe, fit_or_reuse

Progress = Callable[[str, Step], None]
_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Training:
    """What one training learns from, and how; `name` is what its progress is shown under."""

    name: str
    annotations: Sequence[Annotation]
    config: TrainConfig


def fit_all(
    recipe: Recipe, trainings: Sequence[Training], runs: Path, *, jobs: int, progress: Progress
) -> list[Candidate]:
    """Fit or reuse every training, `jobs` at a time, and return the candidates in order.

    Raises:
        TrainingError: what a training raised; the others that had begun are finished and kept.
    """
    if jobs == 1:
        return [_fit(recipe, training, runs, progress) for training in trainings]
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        steps = manager.Queue()
        with ProcessPoolExecutor(jobs, mp_context=context) as pool:
            futures = [
                pool.submit(_fit_in_child, recipe, training, runs, steps) for training in trainings
            ]
            while wait(futures, timeout=_POLL_SECONDS).not_done:
                _show(steps, progress)
                _stop_early(futures)
            _show(steps, progress)
            return [future.result() for future in futures]


def _fit(recipe: Recipe, training: Training, runs: Path, progress: Progress) -> Candidate:
    def show(step: Step) -> None:
        progress(training.name, step)

    return fit_or_reuse(recipe, training.annotations, training.config, runs, show)


def _fit_in_child(recipe: Recipe, training: Training, runs: Path, steps: Any) -> Candidate:
    return _fit(recipe, training, runs, lambda name, step: steps.put((name, step)))


def _show(steps: Any, progress: Progress) -> None:
    while True:
        try:
            progress(*steps.get_nowait())
        except queue.Empty:
            return


def _stop_early(futures: Sequence[Future[Candidate]]) -> None:
    """Raise what a training raised, after taking the ones that wait off the list."""
    for future in futures:
        if future.done() and not future.cancelled() and future.exception() is not None:
            for other in futures:
                other.cancel()
            future.result()
