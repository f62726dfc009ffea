"""Figures that compare two sets of answers to the same sentences: pure functions of arrays.

N sentences, L labels, U units. A unit is what chance draws whole: an event, whose sentences
resemble one another, or else a single sentence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

DRAWS = 10_000
SEED = 7
ERROR_RATE = 0.05  # how often chance alone may put a difference outside its interval
_CHUNK = 1_000  # draws at a time, which bounds the memory


@dataclass(frozen=True, slots=True)
class Answers:
    """What one version answered: labels given [N, L] and calibrated scores [N, L]."""

    given: Bools
    scores: Floats


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure of both versions, from 0 to 1, and B less A with its 95% interval."""

    a: float
    b: float
    difference: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Recall:
    """The recall of one label, which `support` sentences carry.

    `joint_interval` is wider than the interval: for no difference at all, some label of the table
    lies outside its own in at most a twentieth of the comparisons. With twenty labels, the plain
    intervals would let chance alone condemn one in most.
    """

    label: str
    support: int
    recall: Difference
    joint_interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Paired:
    """Two versions on the same sentences; `macro_labels` have enough support to be counted."""

    sentences: int
    units: int
    macro_labels: int
    macro_f1: Difference
    recalls: tuple[Recall, ...]
    calibration_error: tuple[float, float]  # of A, of B


@dataclass(frozen=True, slots=True)
class _Counts:
    """Right answers, answers and hand labels, counted along the last axis [..., L]."""

    hits: Floats  # [2, ..., L], of A and of B
    given: Floats  # [2, ..., L]
    gold: Floats  # [..., L]

    def f1(self) -> Floats:
        """Return F1 [2, ..., L], 0 where nothing is right."""
        return 2 * self.hits / np.maximum(self.given + self.gold, 1)

    def recall(self) -> Floats:
        """Return recall [2, ..., L], 0 where there is no hand label."""
        return self.hits / np.maximum(self.gold, 1)

    def macro_f1(self, counted: Bools) -> Floats:
        """Return the mean F1 [2, ...] of the `counted` labels [L] that have a hand label."""
        held = counted & (self.gold > 0)
        return np.asarray((self.f1() * held).sum(-1) / np.maximum(held.sum(-1), 1))


def compare_answers(
    a: Answers,
    b: Answers,
    gold: Bools,
    labels: Sequence[str],
    units: Sequence[str],
    *,
    min_support: int = 1,
    draws: int = DRAWS,
    seed: int = SEED,
) -> Paired:
    """Compare two versions on N sentences by a paired bootstrap over `units` [N].

    Every draw takes as many units as there are, with replacement, the same for both versions, so
    that what makes a sentence hard for both cancels out (Berg-Kirkpatrick et al. 2012). A draw in
    which a label does not occur shows no difference of its recall: a label is not condemned by
    sentences that most draws do not hold. The macro figures count labels with `min_support` hand
    labels or more.
    """
    whole, per_unit = _count(a, b, gold, units)
    counted = gold.sum(0) >= min_support
    macros, recalls = [], []
    for drawn in _draw(per_unit, draws, seed):
        macro, recall = drawn.macro_f1(counted), drawn.recall()
        macros.append(macro[1] - macro[0])
        recalls.append(recall[1] - recall[0])
    macro_a, macro_b = whole.macro_f1(counted)
    return Paired(
        sentences=len(gold),
        units=len(per_unit.gold),
        macro_labels=int((counted & gold.any(0)).sum()),
        macro_f1=_difference(macro_a, macro_b, np.concatenate(macros)),
        recalls=_recalls(whole, np.concatenate(recalls), labels),
        calibration_error=(
            round(expected_calibration_error(a.scores, gold.astype(float)), 4),
            round(expected_calibration_error(b.scores, gold.astype(float)), 4),
        ),
    )


def _count(a: Answers, b: Answers, gold: Bools, units: Sequence[str]) -> tuple[_Counts, _Counts]:
    """Return the counts over all sentences [L], and those of each unit [U, L]."""
    names, rows = np.unique(np.array(units), return_inverse=True)
    member = np.zeros((len(names), len(rows)))
    member[rows, np.arange(len(rows))] = 1.0
    given = np.stack([a.given, b.given])
    per_unit = _Counts(member @ (given & gold), member @ given, member @ gold)
    whole = _Counts(*(table.sum(-2) for table in (per_unit.hits, per_unit.given, per_unit.gold)))
    return whole, per_unit


def _draw(per_unit: _Counts, draws: int, seed: int) -> Iterator[_Counts]:
    """Yield the counts [D, L] of draws of units, with replacement."""
    random = np.random.default_rng(seed)
    size = len(per_unit.gold)
    for start in range(0, draws, _CHUNK):
        rounds = min(_CHUNK, draws - start)
        times = random.multinomial(size, np.full(size, 1 / size), rounds).astype(np.float64)
        yield _Counts(times @ per_unit.hits, times @ per_unit.given, times @ per_unit.gold)


def _recalls(whole: _Counts, draws: Floats, labels: Sequence[str]) -> tuple[Recall, ...]:
    """Return the recall of each label that occurs; `draws` [D, L] are differences."""
    one, other = whole.recall()
    occurring = np.flatnonzero(whole.gold)
    rate = ERROR_RATE / max(len(occurring), 1)
    return tuple(
        Recall(
            labels[int(k)],
            int(whole.gold[k]),
            _difference(one[k], other[k], draws[:, k]),
            _interval(draws[:, k], rate),
        )
        for k in occurring
    )


def _difference(a: float, b: float, draws: Floats) -> Difference:
    interval = _interval(draws, ERROR_RATE)
    return Difference(
        round(float(a), 4), round(float(b), 4), round(float(b) - float(a), 4), interval
    )


def _interval(draws: Floats, rate: float) -> tuple[float, float]:
    low, high = np.quantile(draws, [rate / 2, 1 - rate / 2])
    return round(float(low), 4), round(float(high), 4)


def expected_calibration_error(scores: Floats, targets: Floats, bins: int = 15) -> float:
    """Return the mean gap of score and frequency over equal-width bins, weighted by size.

    All labels' scores [N, L] are pooled (Naeini et al. 2015).
    """
    flat, truth = scores.ravel(), targets.ravel()
    index = np.minimum((flat * bins).astype(int), bins - 1)
    gaps = [
        abs(flat[index == k].mean() - truth[index == k].mean()) * (index == k).mean()
        for k in range(bins)
        if (index == k).any()
    ]
    return float(sum(gaps))
