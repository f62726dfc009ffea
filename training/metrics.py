"""Figures of quality for multi-label decisions, from scikit-learn where it has them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import f1_score, precision_recall_fscore_support

Bools = npt.NDArray[np.bool_]
_WORD = re.compile(r"\w+")


def label_table(
    given: Bools, targets: Bools, labels: Sequence[str], *, min_support: int = 1
) -> dict[str, Any]:
    """Return support, precision, recall and F1 per label, micro, macro and exact match.

    `given` and `targets` are [N, L]. The macro figures are means over labels with
    `min_support` positives or more, and 0 where there is none.
    """
    given, targets = _multilabel(given), _multilabel(targets)
    precision, recall, f1, support = precision_recall_fscore_support(
        targets, given, average=None, zero_division=0
    )
    rows = {
        label: {
            "support": int(support[k]),
            "precision": round(float(precision[k]), 4),
            "recall": round(float(recall[k]), 4),
            "f1": round(float(f1[k]), 4),
        }
        for k, label in enumerate(labels)
    }
    counted = np.flatnonzero(support[: len(labels)] >= min_support)
    micro = precision_recall_fscore_support(targets, given, average="micro", zero_division=0)
    return {
        "labels": rows,
        "micro": dict(zip(("precision", "recall", "f1"), _rounded(micro[:3]), strict=True)),
        "macro": dict(
            zip(
                ("precision", "recall", "f1"),
                _rounded([_mean(x[counted]) for x in (precision, recall, f1)]),
                strict=True,
            )
        ),
        "samples_f1": _rounded([f1_score(targets, given, average="samples", zero_division=1)])[0],
        "exact_match": _rounded([(given == targets).all(1).mean()])[0],
        "texts": len(targets),
        "macro_labels": len(counted),
    }


def _multilabel(table: Bools) -> Bools:
    """Add an empty column, counted nowhere: scikit-learn takes [N, 1] for a two-class problem."""
    return np.pad(table, ((0, 0), (0, 1)))


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else 0.0


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(float(value), 4) for value in values]


def macro_f1(given: Bools, targets: Bools, min_support: int = 1) -> float:
    """Return the mean F1 of the labels with `min_support` positives or more; 0 without any."""
    scores = f1_score(_multilabel(targets), _multilabel(given), average=None, zero_division=0)
    return _mean(scores[:-1][targets.sum(0) >= min_support])


def bootstrap_intervals(
    given: Bools, targets: Bools, labels: Sequence[str], *, seed: int, rounds: int = 1000
) -> dict[str, list[float]]:
    """Return 95% percentile intervals of F1 per label, `micro` and `macro`, over texts."""
    random = np.random.default_rng(seed)
    draws: list[list[float]] = []
    for _ in range(rounds):
        rows = random.integers(0, len(targets), len(targets))
        hits = (given[rows] & targets[rows]).sum(0)
        sizes = given[rows].sum(0) + targets[rows].sum(0)
        f1 = np.where(sizes > 0, 2 * hits / np.maximum(sizes, 1), 0.0)
        counted = targets[rows].any(0)
        micro = 2 * hits.sum() / max(int(sizes.sum()), 1)
        draws.append([*f1, micro, _mean(f1[counted])])
    low, high = np.percentile(np.array(draws), [2.5, 97.5], axis=0)
    names = [*labels, "micro", "macro"]
    return {name: _rounded([low[k], high[k]]) for k, name in enumerate(names)}


def span_f1(text: str, one: tuple[int, int], other: tuple[int, int]) -> float:
    """Return the F1 of the words that two spans of `text` cover."""
    words = [match.span() for match in _WORD.finditer(text)]
    first, second = (
        {word for word in words if word[0] < span[1] and word[1] > span[0]} for span in (one, other)
    )
    if not first or not second:
        return 0.0
    return 2 * len(first & second) / (len(first) + len(second))
