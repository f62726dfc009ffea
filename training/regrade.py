"""The same answers out of fold, held against the hand labels of then and against those of today."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diplophrase.annotations import Annotation
from diplophrase.predictions import Prediction
from training.metrics import label_table

Bools = npt.NDArray[np.bool_]
Pair = tuple[float, float]  # by the labels of then, by those of today


@dataclass(frozen=True, slots=True)
class LabelShift:
    """What corrections changed about one label; figures are of then and of today."""

    added: int  # sentences that have it now and had not
    removed: int
    support: tuple[int, int]
    f1: Pair


@dataclass(frozen=True, slots=True)
class Regraded:
    """F1 of the same answers before and after corrections; `labels` holds those that changed."""

    macro_f1: Pair
    micro_f1: Pair
    labels: Mapping[str, LabelShift]


def regrade(
    predictions: Mapping[str, Prediction], notes: Sequence[Annotation], labels: Sequence[str]
) -> Regraded | None:
    """Hold what was answered for `notes` against both, or return None if nothing changed.

    No model runs: the decisions are those of the version, of `labels` only. Every one of `notes`
    is answered in `predictions`.
    """
    rows = [predictions[note.id] for note in notes]
    given = mark_labels([row.given for row in rows], labels)
    then = mark_labels([row.gold for row in rows], labels)
    now = mark_labels([note.labels for note in notes], labels)
    if (then == now).all():
        return None
    one, other = (label_table(given, targets, labels) for targets in (then, now))
    shifts = {
        label: LabelShift(
            added=int((now & ~then)[:, k].sum()),
            removed=int((then & ~now)[:, k].sum()),
            support=(one["labels"][label]["support"], other["labels"][label]["support"]),
            f1=(one["labels"][label]["f1"], other["labels"][label]["f1"]),
        )
        for k, label in enumerate(labels)
        if (then != now)[:, k].any()
    }
    return Regraded(
        macro_f1=(one["macro"]["f1"], other["macro"]["f1"]),
        micro_f1=(one["micro"]["f1"], other["micro"]["f1"]),
        labels=shifts,
    )


def mark_labels(given: Sequence[Sequence[str]], labels: Sequence[str]) -> Bools:
    """Return which of `labels` each of N lists holds, as [N, L]; others are passed over."""
    return np.array([[label in row for label in labels] for row in given], dtype=bool)
