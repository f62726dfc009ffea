"""Several trainings side by side, each in a process of its own with one thread.

On two cores, two trainings of one thread each take three quarters of the time that the same two
take one after the other with two threads each.
"""

from __future__ import annotations

import multiprocessing
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any

from training.config import Recipe
from training.finetune import Step
from training.fit import Candidate, Training, fit_or_reuse, kept_below
from training.stages import FirstStage, learn_first

Progress = Callable[[str, Step], None]
_POLL_SECONDS = 0.5


def fit_all(
    recipe: Recipe, trainings: Sequence[Training], runs: Path, *, jobs: int, progress: Progress
) -> list[Candidate]:
    """Fit or reuse every training, `jobs` at a time, and return the candidates in order.

    What trainings learn first and have in common is learnt before, once.

    Raises:
        TrainingError: what a training raised; the others that had begun are finished and kept.
    """
    for stage in _missing_firsts(recipe, trainings, runs):
        learn_first(recipe, stage, runs, partial(progress, stage.name))
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


def _missing_firsts(recipe: Recipe, trainings: Sequence[Training], runs: Path) -> list[FirstStage]:
    """Return each first stage, once, of the trainings whose candidates are not kept."""
    firsts = {
        training.first.key(recipe): training.first
        for training in trainings
        if training.first is not None and not kept_below(runs, recipe, training).is_dir()
    }
    return list(firsts.values())


def _fit(recipe: Recipe, training: Training, runs: Path, progress: Progress) -> Candidate:
    return fit_or_reuse(recipe, training, runs, partial(progress, training.name))


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
