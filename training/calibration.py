"""Scores that are probabilities, and the thresholds that turn them into labels.

Platt scaling (Platt 1999) per label, drawn towards the scaling shared by all labels, because a
label with a handful of positives cannot carry two parameters of its own. A label is given where
the network itself leans to it: the threshold is the calibrated score of logit 0. Thresholds
picked for F1 were tried and lost three points of macro-F1 out of fold: a label's positives come
in events, and what is best for some events is not for the others. A label of a user's own is the
exception: see `fit`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from diplophrase.bundle import PRECISIONS, Calibration, OperatingPoint

Floats = npt.NDArray[np.float64]
# What a hit of the lexicon is worth against none, as a difference of logits. Fitted on the seeds it
# is 3.3, but they are set phrases in the strict sense, which other texts are not.
PHRASE_WEIGHT = 2.5
_PRIOR = 4.0  # strength of the pull towards the shared scaling
_TRUST = 5.0  # texts' worth of belief in the calibrated scores, beside what was observed


@dataclass(frozen=True, slots=True)
class Fitted:
    """Calibration, threshold and operating points for each of L labels."""

    calibrations: tuple[Calibration, ...]
    thresholds: Floats  # [L]
    points: tuple[tuple[OperatingPoint, ...], ...]  # [L] of one for each of PRECISIONS

    def scores(self, logits: npt.NDArray[np.floating]) -> Floats:
        """Turn logits [N, L] into probabilities [N, L]."""
        slopes = np.array([c.slope for c in self.calibrations])
        intercepts = np.array([c.intercept for c in self.calibrations])
        return _sigmoid(slopes * logits + intercepts)

    def decide(
        self, logits: npt.NDArray[np.floating], precision: float | None = None
    ) -> npt.NDArray[np.bool_]:
        """Turn logits [N, L] into given labels [N, L]; `precision` is one of PRECISIONS."""
        if precision is None:
            return self.scores(logits) >= self.thresholds
        column = PRECISIONS.index(precision)
        return self.scores(logits) >= np.array([row[column].threshold for row in self.points])


def fit(
    logits: npt.NDArray[np.floating],
    targets: npt.NDArray[np.floating],
    usable: npt.NDArray[np.bool_] | None = None,
    scarce: npt.NDArray[np.bool_] | None = None,
) -> Fitted:
    """Fit calibration and thresholds on out-of-fold logits [N, L] and targets [N, L].

    Only the cells that are `usable` [N, L] count; without it, all do. A label that is `scarce` [L],
    learnt from some dozen among thousands, is given from a score of a half on, if that is lower:
    the network leans away from it.
    """
    wide, truth = logits.astype(np.float64), targets.astype(np.float64)
    usable = np.ones(wide.shape, dtype=bool) if usable is None else usable
    shared = _fit_scaling(wide[usable], truth[usable], None)
    rows = [np.flatnonzero(column) for column in usable.T]
    scalings = [_fit_scaling(wide[row, k], truth[row, k], shared) for k, row in enumerate(rows)]
    calibrations = tuple(Calibration(slope=round(a, 6), intercept=round(b, 6)) for a, b in scalings)
    intercepts = np.array([calibration.intercept for calibration in calibrations])
    thresholds = np.round(_sigmoid(intercepts), 6)
    if scarce is not None:
        thresholds[scarce] = np.minimum(thresholds[scarce], 0.5)
    slopes = np.array([calibration.slope for calibration in calibrations])
    scores = _sigmoid(slopes * wide + intercepts)
    points = tuple(find_points(scores[row, k], truth[row, k]) for k, row in enumerate(rows))
    return Fitted(calibrations, thresholds, points)


def find_points(scores: Floats, targets: Floats) -> tuple[OperatingPoint, ...]:
    """Return for each of PRECISIONS the lowest score [N] from which it is kept.

    The precision above a score is what was observed, drawn towards the mean of the scores above
    it. A score of the precision itself always serves, as scores are probabilities.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, right = scores[order], targets[order]
    count = np.arange(1, len(ranked) + 1)
    believed = np.cumsum(ranked) / count
    kept = (np.cumsum(right) + _TRUST * believed) / (count + _TRUST)
    kept[:-1][ranked[:-1] == ranked[1:]] = 0.0  # equal scores are given together
    points = []
    for precision in PRECISIONS:
        lowest = ranked[np.flatnonzero(kept >= precision)[-1:]]
        threshold = min([precision, *lowest.tolist()])
        points.append(OperatingPoint(precision=precision, threshold=round(threshold, 6)))
    return tuple(points)


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(values, -60.0, 60.0))))


def _fit_scaling(
    logits: Floats, targets: Floats, prior: tuple[float, float] | None
) -> tuple[float, float]:
    """Minimise log loss over (slope, intercept), with a Gaussian pull towards `prior`."""

    def objective(values: Floats) -> float:
        slope, intercept = np.exp(values[0]), values[1]
        margins = slope * logits + intercept
        loss = np.logaddexp(0.0, margins).sum() - (targets * margins).sum()
        if prior is not None:
            distance = (values[0] - np.log(prior[0])) ** 2 + (intercept - prior[1]) ** 2
            loss += 0.5 * _PRIOR * distance
        return float(loss)

    start = np.array([0.0, 0.0]) if prior is None else np.array([np.log(prior[0]), prior[1]])
    found = minimize(objective, start, method="L-BFGS-B", bounds=[(-3.0, 3.0), (-10.0, 10.0)])
    return float(np.exp(found.x[0])), float(found.x[1])
