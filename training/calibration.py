"""Scores that are probabilities, and the thresholds that turn them into labels.

Platt scaling (Platt 1999) per label, drawn towards the scaling shared by all labels, because a
label with a handful of positives cannot carry two parameters of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from diplophrase.bundle import Calibration

Floats = npt.NDArray[np.float64]
_PRIOR = 4.0  # strength of the pull towards the shared scaling
_FEW = 10  # positives under which a label takes the shared threshold
_GRID = np.round(np.arange(0.15, 0.86, 0.01), 2)


@dataclass(frozen=True, slots=True)
class Fitted:
    """Calibration and threshold for each of L labels."""

    calibrations: tuple[Calibration, ...]
    thresholds: Floats  # [L]

    def scores(self, logits: npt.NDArray[np.floating]) -> Floats:
        """Turn logits [N, L] into probabilities [N, L]."""
        slopes = np.array([c.slope for c in self.calibrations])
        intercepts = np.array([c.intercept for c in self.calibrations])
        return _sigmoid(slopes * logits + intercepts)

    def decide(self, logits: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
        """Turn logits [N, L] into given labels [N, L]."""
        return self.scores(logits) >= self.thresholds


def fit(logits: npt.NDArray[np.floating], targets: npt.NDArray[np.floating]) -> Fitted:
    """Fit calibration and thresholds on out-of-fold logits [N, L] and targets [N, L]."""
    wide, truth = logits.astype(np.float64), targets.astype(np.float64)
    shared = _fit_scaling(wide.ravel(), truth.ravel(), None)
    scalings = [_fit_scaling(wide[:, k], truth[:, k], shared) for k in range(wide.shape[1])]
    calibrations = tuple(Calibration(slope=round(a, 6), intercept=round(b, 6)) for a, b in scalings)
    draft = Fitted(calibrations, np.zeros(wide.shape[1]))
    return Fitted(calibrations, pick_thresholds(draft.scores(wide), truth))


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


def pick_thresholds(scores: Floats, targets: Floats) -> Floats:
    """Return for each label the threshold of the best F1; ties go to the one nearest 0.5.

    A label with fewer than ten positives takes the threshold that is best for all together.
    """
    curves = np.stack([_f1(scores >= grid, targets) for grid in _GRID])  # [G, L]
    central = -np.abs(_GRID - 0.5) * 1e-6
    frequent = targets.sum(0) >= _FEW
    pooled = curves[:, frequent].mean(1) if frequent.any() else curves.mean(1)
    shared = _GRID[int(np.argmax(pooled + central))]
    own = _GRID[np.argmax(curves + central[:, None], axis=0)]
    return np.asarray(np.where(frequent, own, shared))


def _f1(given: npt.NDArray[np.bool_], targets: Floats) -> Floats:
    hits = (given * targets).sum(0)
    return np.asarray(2 * hits / np.maximum(given.sum(0) + targets.sum(0), 1))


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
